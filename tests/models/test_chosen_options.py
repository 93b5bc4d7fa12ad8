"""What each family chooses for options that are left open, against a list.

The same command on the same images trains the same model in the next version. Who changes a choice
changes the list too, by `python -m tests.models.test_chosen_options`, and says why in docs/log.md.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pinxit.data.batch import DatasetInfo
from pinxit.errors import UsageError
from pinxit.models import get_family, list_families

LIST = Path(__file__).with_name("chosen_options.txt")

# below, at and above the sizes and numbers where a choice changes
SIDES = ((8, 8), (16, 16), (28, 28), (31, 31), (32, 32), (48, 48), (64, 64), (64, 96), (128, 128))
NUMBERS = (5, 300, 9_999, 60_000)
LATENTS = ("auto", "vector", "grid", "ladder")
OPTIONS: dict[str, tuple[dict[str, Any], ...]] = {
    "vae": (*({"latents": latents} for latents in LATENTS), {"prior": "vamp"}),
    "flow": ({}, {"vae": "runs/any"}, {"vae": "runs/any", "condition": "cluster"}),
    "seq2seq": ({"source": "text", "target": "image"}, {"source": "image", "target": "text"}),
}


def list_images() -> Iterator[tuple[str, DatasetInfo]]:
    """Yield images of each size, a thousand of them, and of each number, 32 x 32."""
    cases = [(sides, 1_000) for sides in SIDES] + [((32, 32), number) for number in NUMBERS]
    for (height, width), number in cases:
        for channels in (1, 3):
            binary = 0.9 if channels == 1 and height == 28 else 0.1
            color = "grey" if channels == 1 else "color"
            name = f"{number} images of {height} x {width}, {color}"
            more = {"binary_fraction": binary, "near_binary_fraction": binary}
            texts = {"label_names": ("a", "b", "c"), "languages": ("en", "fr")}
            yield name, DatasetInfo(number, height, width, channels, **more, **texts)


def choose(config: Any, info: DatasetInfo) -> str:
    """Return the options that are chosen, or why none can be."""
    try:
        resolved = config.resolve(info)
    except UsageError as error:
        return f"refused: {error}"
    given, chosen = dataclasses.asdict(config), dataclasses.asdict(resolved)
    return ", ".join(f"{name} {chosen[name]}" for name in chosen if chosen[name] != given[name])


def list_choices() -> Iterator[str]:
    for name in list_families():
        family = get_family(name)
        for options in OPTIONS.get(name, ({},)):
            yield f"[{' '.join([name, *(f'{k}={v}' for k, v in options.items())])}]"
            for images, info in list_images():
                yield f"{images}: {choose(family.Config(**options), info)}"


def test_options_that_are_left_open_are_chosen_as_listed():
    listed = LIST.read_text("utf-8").splitlines()
    changed = list(difflib.unified_diff(listed, list(list_choices()), "listed", "now", n=0))
    assert not changed, "\n".join(changed)


if __name__ == "__main__":
    LIST.write_text("\n".join(list_choices()) + "\n", "utf-8")
