"""What a run shows of its data: images with captions, or else words that it knows.

A run records examples (`examples.json`). For one that has none, they come from its data if these
are a built-in set: a path in the config.json of a stranger's run is not opened. All of it is
untrusted text: bounded here, and shown by the page as text.
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from pinxit.data.sources import list_source_names
from pinxit.data.text_tokenizer import TextTokenizer
from pinxit.data.typed_json import decode_json
from pinxit.models.generation import GenerationParams
from pinxit.models.protocols import HasText
from pinxit.runs import EXAMPLES_FILE
from pinxit.sampling.inputs import load_run_data
from pinxit.serve.inference.loading import LoadedRun
from pinxit.serve.inference.requests import GenerationRequest, Route
from pinxit.serve.inference.router import Router
from pinxit.serve.pools import read_in_thread
from pinxit.serve.studio.text import clean_text, to_base64_png
from pinxit.training.examples import MAX_EXAMPLES, describe_examples

log = logging.getLogger("pinxit.serve")

MAX_FILE_BYTES = 16 * 2**20
MAX_IMAGE_BYTES = 2 * 2**20
MAX_CAPTION_CHARS = 300
MAX_COUNT_DIGITS = 5  # of a built-in set with a number of images, `shapes:500`
NUM_SAMPLES = 8  # in the place of a run's images, if there are none
NUM_WORDS, MIN_WORD_LENGTH, MAX_WORDS_READ = 24, 3, 2_000


async def load_examples(run: LoadedRun) -> dict[str, Any]:
    """Return `source` (where the images are from), `images`, `captions` and `words`."""
    record, source = await read_in_thread(_read_examples, run)
    images = [example for example in map(_check_example, record) if example]
    captions = list(_list_captions(run, images))
    words = [] if captions or not isinstance(run.model, HasText) else list_words(run.model)
    if not images and "sample" in run.abilities:
        images, source = await _sample(run), "samples of this run: its data are not here"
    return {"source": source, "images": images, "captions": captions, "words": words}


def _read_examples(run: LoadedRun) -> tuple[list[Any], str]:
    """Return the records of examples.json, or of the run's data, and what they are."""
    try:
        record = _read_file(run) or _read_data(run)
        images, split = record.get("images"), clean_text(record.get("split"), 20)
        if isinstance(images, list) and images:
            return images[:MAX_EXAMPLES], f"{split or 'some'} images of {describe_source(run)}"
    except Exception as error:  # a stranger's file, or data that are gone: the page does without
        log.warning("run %s has no examples: %s", run.name, type(error).__name__)
    return [], ""


def _read_file(run: LoadedRun) -> dict[str, Any]:
    file = run.run.path / EXAMPLES_FILE
    if not file.is_file() or file.stat().st_size > MAX_FILE_BYTES:
        return {}
    record = decode_json(file.read_text(encoding="utf-8"))
    return record if isinstance(record, dict) else {}


def _read_data(run: LoadedRun) -> dict[str, Any]:
    """Return examples of a run's data, if these are a built-in set that is on this machine."""
    record = run.run.config.get("data") or {}
    name, _, count = str(record.get("source")).partition(":")
    is_named = name in list_source_names() and not record.get("files")
    is_small = not count or (count.isascii() and count.isdigit() and len(count) < MAX_COUNT_DIGITS)
    if not is_named or not is_small:
        return {}
    return describe_examples(load_run_data(run.run, progress=False))


def describe_source(run: LoadedRun) -> str:
    """Return the name of a run's data; of a path only its last part."""
    source = clean_text((run.run.config.get("data") or {}).get("source"), 200)
    return source.rstrip("/\\").replace("\\", "/").split("/")[-1] or "its data"


def _check_example(record: Any) -> dict[str, Any]:
    """Return a valid record of an example with bounded texts; {} if it has no image."""
    if not isinstance(record, Mapping) or not _is_png(record.get("png")):
        return {}
    captions = record.get("captions")
    items = list(captions.items())[:20] if isinstance(captions, Mapping) else []
    example = {
        "png": record["png"],
        "captions": {clean_text(k, 20): clean_text(v, MAX_CAPTION_CHARS) for k, v in items},
        "label": clean_text(record.get("label"), 100),
    }
    before = record.get("before")
    return example | ({"before": before} if _is_png(before) else {})


def _is_png(text: Any) -> bool:
    if not isinstance(text, str) or len(text) > MAX_IMAGE_BYTES:
        return False
    try:
        return base64.b64decode(text, validate=True).startswith(b"\x89PNG")
    except (binascii.Error, ValueError):
        return False


def _list_captions(run: LoadedRun, images: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the captions that the model reads whole, each once, with the number of their image."""
    model, texts = run.model, set()
    if not isinstance(model, HasText):
        return
    for i, example in enumerate(images):
        for language, text in example["captions"].items():
            is_read = language in model.text_tokenizer.languages and text not in texts
            if is_read and text and model.truncate_text(text) == text:
                texts.add(text)
                yield {"text": text, "language": language, "image": i}


def list_words(model: HasText) -> list[str]:
    """Return frequent words of the training captions, by the rarest of their tokens."""
    vocabulary: TextTokenizer = model.text_tokenizer
    counts = np.sum(list(vocabulary.token_counts.values()), 0)
    words = sorted({word.strip() for word in vocabulary.words if word.strip().isalpha()})
    words = [word for word in words if len(word) >= MIN_WORD_LENGTH][:MAX_WORDS_READ]
    first = vocabulary.num_special_tokens
    found = {word: [token - first for token in vocabulary.encode(word)] for word in words}
    frequency = {word: int(counts[tokens].min()) for word, tokens in found.items() if tokens}
    return sorted(frequency, key=lambda word: -frequency[word])[:NUM_WORDS]


async def _sample(run: LoadedRun) -> list[dict[str, Any]]:
    request = GenerationRequest(
        "", NUM_SAMPLES, None, None, GenerationParams(), Route("sample", run)
    )
    result = await Router([run]).generate(request)
    return [{"png": to_base64_png(p), "captions": {}, "label": ""} for p in result.images]
