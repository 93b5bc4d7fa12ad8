"""`pinxit caption` and `pinxit translate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import tyro

from pinxit.cli.common import (
    Data,
    NumImages,
    RunFolder,
    check_at_least,
    image_names,
    load_images_for,
    load_model,
    print_json,
)
from pinxit.errors import UsageError

if TYPE_CHECKING:
    from pinxit.models.results import ScoredText
from pinxit.cli.draw import Flag, Texts, _warn


def caption(
    run: RunFolder,
    data: Data = (),
    language: str | None = None,
    number: NumImages = 8,
    count: int = 1,
    num_beams: int = 4,
    length_penalty: float = 0.6,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    json: Annotated[bool, Flag] = False,
) -> None:
    """Images in words, with the log-probability of each text in nats.

    Args:
        run: the run's folder
        data: DATA or image files; without it the test split of the run's own data
        language: to write in; English unless given, or the first that the model knows
        number: images, at even distances over all
        count: texts of each image, the best first
        beams: texts that beam search keeps while they grow
        length_penalty: 0 prefers short texts, above 0 longer ones (Wu 2016)
        temperature: draw by chance in place of beam search: 1 as learned, 0 the likeliest piece
        top_k: draw from so many of the likeliest pieces alone
        top_p: draw from the likeliest pieces of so much probability together
        seed: of the chance
        json: print JSON
    """
    check_at_least(1, number, "images")
    check_at_least(1, count, "texts of each image")
    check_at_least(1, num_beams, "beams")
    if temperature is None and (top_k is not None or top_p is not None):
        raise UsageError("--top-k and --top-p are of chance: give a --temperature too.")
    model = load_model(run, "caption")

    language = language or model.text_tokenizer.default_language
    images = load_images_for(model, run, data).evenly_spaced(number)
    found = model.caption(
        images,
        language=language,
        num_beams=max(num_beams, count),
        num_captions=count,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        length_penalty=length_penalty,
    )
    named = list(zip(image_names(images), found, strict=True))
    if json:
        rows = [{"name": name, "captions": [_record(said) for said in row]} for name, row in named]
        print_json({"language": language, "images": rows})
        return
    for name, row in named:
        for said in row:
            print(f"{name}: {said.text}  ({said.log_prob:.2f})")


def translate(
    run: RunFolder,
    texts: Texts,
    source: Annotated[str | None, tyro.conf.arg(name="from")] = None,
    target: Annotated[str | None, tyro.conf.arg(name="to")] = None,
    num_beams: int = 4,
    json: Annotated[bool, Flag] = False,
) -> None:
    """Words in another language.

    Args:
        run: the run's folder
        texts: what to translate
        source: language of the words; told from them unless given
        target: language to write in; the other one, where the model knows two
        beams: texts that beam search keeps while they grow
        json: print JSON
    """
    check_at_least(1, num_beams, "beams")
    if not texts:
        raise UsageError('say what to translate: pinxit translate RUN "a red circle" --to fr')
    model = load_model(run, "translate")
    _warn(model, texts)
    read = source or model.text_tokenizer.detect_language(" ".join(texts))
    target = target or _other(model, read)
    found = model.translate(texts, source=read, target=target, num_beams=num_beams)
    if json:
        rows = [{"source": text, **_record(said)} for text, said in zip(texts, found, strict=True)]
        print_json({"from": read, "to": target, "texts": rows})
        return
    for said in found:
        print(f"{said.text}  ({said.log_prob:.2f})")


def _other(model: Any, source: str) -> str:
    others = [name for name in model.text_tokenizer.languages if name != source]
    if len(others) != 1:
        raise UsageError(f"translate to which language? --to {' or --to '.join(others)}")
    return others[0]


def _record(said: ScoredText) -> dict[str, Any]:
    return {"text": said.text, "log_prob": round(said.log_prob, 4)}
