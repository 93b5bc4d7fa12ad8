"""An image of a caption: how long one takes, and many together."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.measure import median_seconds
from benchmarks.tables import Table

CAPTION = "a small red circle above a large blue square"


def drawing(quick: bool) -> Iterator[Table]:
    """One table: 32 x 32 images of 64 codes by a model of the default size.

    Its weights are of chance, which takes as long as learned ones.
    """
    from pinxit.data.load import load_images
    from pinxit.models import build_model, get_family

    images = load_images("shapes:200", size="32", progress=False)
    rows = images.split_indices("train")
    tokenizer = build_model(get_family("tokenizer").Config(factor=4), images, rows)[0].eval()
    config = get_family("seq2seq").Config(image_tokenizer="a tokenizer", depth=2, decoder_depth=3)
    model = build_model(config, images, rows, tokenizer=tokenizer)[0].eval()
    asked = {
        "one": partial(model.draw, [CAPTION]),
        "one, with guidance": partial(model.draw, [CAPTION], guidance=2.0),
        "one, the likeliest of 8": partial(model.draw, [CAPTION], best_of=8),
        "16 of one caption": partial(model.draw, [CAPTION] * 16),
        "64 of one caption": partial(model.draw, [CAPTION] * 64),
    }
    times = 3 if quick else 21
    yield Table(
        "Milliseconds of images of 64 codes from words, warm (must, of one: 150; goal: 30)",
        ("images", "median"),
        tuple((name, 1000 * median_seconds(draw, times)) for name, draw in asked.items()),
    )
