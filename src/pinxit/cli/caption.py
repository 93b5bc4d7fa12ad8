"""`pinxit caption` and `pinxit translate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg

from pinxit import console
from pinxit.cli.common import (
    Data,
    Json,
    NumOfData,
    Quiet,
    RunFolder,
    SplitOrAll,
    check_at_least,
    choose_count,
    load_model,
    load_rows_for,
    shell_join,
)
from pinxit.cli.draw import Texts, warn_of_unknown_words
from pinxit.errors import UsageError
from pinxit.models.generation import GenerationParams
from pinxit.models.text_options import resolve_beam_search
from pinxit.nn.device import Device

if TYPE_CHECKING:
    from pinxit.models.protocols import CanCaption, CanTranslate
    from pinxit.models.results import ScoredText


def caption(
    run: RunFolder,
    data: Data = (),
    split: SplitOrAll | None = None,
    num_images: NumOfData = None,
    language: str | None = None,
    num_captions: int = 1,
    num_beams: int | None = None,
    length_penalty: float | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    device: Device = "auto",
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Describe images in words, with the log-probability of each text in nats.

    Examples:
        pinxit caption runs/shapes-captions
        pinxit caption runs/photos-captions dog.jpg --language fr --num-captions 3

    Args:
        run: run folder
        data: DATA or image files (default: the run's own data)
        split: use this split only (default: test of the run's own data, all of DATA)
        num_images: number of images, evenly spaced over all (default: all of DATA, 8 of the run's
            own data)
        language: language of the captions (default: English, or else the model's first)
        num_captions: number of captions of each image, the most likely first
        num_beams: beam width of beam search (default: 4, or --num-captions if that is more)
        length_penalty: exponent of the length penalty of beam search, 0 to 10; above 0 favours
            longer texts (Wu 2016; default: 0.6)
        temperature: sample in place of beam search; 1 samples from the model, 0 takes the most
            likely token
        top_k: with --temperature, sample from the K most likely tokens only
        top_p: with --temperature, nucleus sampling: the smallest set of tokens whose probabilities
            sum to P
        seed: with --temperature, random seed of sampling (default: 0)
        device: where to compute; auto is cuda if there is a GPU, or else cpu
        quiet: print no progress and no notes
        json: print JSON
    """
    check_at_least(1, 1 if num_images is None else num_images, "--num-images")
    check_at_least(1, num_captions, "--num-captions")
    if temperature is None and (top_k is not None or top_p is not None):
        raise UsageError("--top-k and --top-p need --temperature: beam search does not sample.")
    if temperature is None and seed is not None:
        raise UsageError("--seed needs --temperature: beam search does not sample.")
    params = GenerationParams(seed=seed or 0, temperature=temperature, top_k=top_k, top_p=top_p)
    resolve_beam_search(params, num_beams, length_penalty, num_captions)  # before a model is loaded
    model: CanCaption = load_model(run, "caption", device)
    from pinxit.sampling.captions import caption_by_name, select_captioned

    language = language or model.text_tokenizer.default_language
    images = load_rows_for(model, run, data, split, quiet)
    num_images = choose_count(images, num_images, None if data else 8, quiet)
    images = select_captioned(images, split or ("all" if data else "test"), num_images)
    options = {
        "language": language,
        "num_beams": num_beams,
        "num_captions": num_captions,
        "length_penalty": length_penalty,
    }
    rows = caption_by_name(model, images, params, **options)
    if json:
        records = [{"name": name, "captions": [_record(c) for c in row]} for name, row in rows]
        console.out_json({"language": language, "images": records})
        return
    for name, row in rows:
        for text in row:
            console.out(f"{name}: {_line(text)}")


def translate(
    run: RunFolder,
    texts: Texts,
    source: Annotated[str | None, arg(name="from")] = None,
    target: Annotated[str | None, arg(name="to")] = None,
    num_beams: int = 4,
    device: Device = "auto",
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Translate texts into another language.

    Examples:
        pinxit translate runs/shapes-translate "a small green star" --to fr

    Args:
        run: run folder
        texts: what to translate
        source: language of the texts (default: detected)
        target: language to translate into (default: the other one, if the model knows two)
        num_beams: beam width of beam search
        device: where to compute; auto is cuda if there is a GPU, or else cpu
        quiet: print no notes
        json: print JSON
    """
    check_at_least(1, num_beams, "--num-beams")
    if not texts:
        example = shell_join("pinxit", "translate", run, "a red circle", "--to", "fr")
        raise UsageError(f'translate needs a "TEXT", for example: {example}')
    model: CanTranslate = load_model(run, "translate", device)
    if not quiet:
        warn_of_unknown_words(model, texts)
    from pinxit.models.inputs import translation_languages

    source, target = translation_languages(model, texts, source, target)
    translations = model.translate(texts, source=source, target=target, num_beams=num_beams)
    if json:
        pairs = zip(texts, translations, strict=True)
        records = [{"source": text, **_record(translation)} for text, translation in pairs]
        console.out_json({"from": source, "to": target, "texts": records})
        return
    for translation in translations:
        console.out(_line(translation))


def _line(text: ScoredText) -> str:
    return f"{text.text}  ({text.log_prob:.2f})"


def _record(text: ScoredText) -> dict[str, Any]:
    return {"text": text.text, "log_prob": round(text.log_prob, 4)}
