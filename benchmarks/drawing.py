"""Text to image: time for one image and for many at once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.measure import median_seconds
from benchmarks.tables import Table
from pinxit.data.load import load_images
from pinxit.models import build_model, get_family

CAPTION = "a small red circle above a large blue square"


def drawing(quick: bool) -> Iterator[Table]:
    """One table: 32 x 32 images of 64 tokens from a model of the default size.

    Its weights are random, which takes as long as trained ones.
    """
    images = load_images("shapes:200", size="32", progress=False)
    rows = images.split_indices("train")
    tokenizer = build_model(get_family("tokenizer").Config(patch_size=4), images, rows)[0].eval()
    config = get_family("seq2seq").Config(image_tokenizer="a tokenizer", depth=2, decoder_depth=3)
    model = build_model(config, images, rows, component=tokenizer)[0].eval()
    calls = {
        "one": partial(model.draw, [CAPTION]),
        "one, with guidance": partial(model.draw, [CAPTION], guidance=2.0),
        "one, best of 8": partial(model.draw, [CAPTION], best_of=8),
        "16 of one caption": partial(model.draw, [CAPTION] * 16),
        "64 of one caption": partial(model.draw, [CAPTION] * 64),
    }
    rounds = 3 if quick else 21
    yield Table(
        "Text to image, 64 tokens per image, ms, warm (must, one: 150; goal: 30)",
        ("images", "median"),
        tuple((name, 1000 * median_seconds(draw, rounds)) for name, draw in calls.items()),
    )
