"""Drawn scenes of one to three objects, with captions in English and French and known factors.

Unlimited and the same for a seed on any machine: scene `i` of a seed does not depend on how many
are drawn, nor on the size they are drawn at.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

from pinxit.data.records import Kind, Record, Source
from pinxit.data.scenes.scene import SIZE, draw, scene
from pinxit.data.sizes import parse_size
from pinxit.errors import UsageError

COUNT = 4_000  # scenes, unless `shapes:5000` asks for others


def find(text: str, seed: int) -> Source | None:
    count = counted(text, "shapes")
    return None if count is None else shapes(text, count, seed)


def counted(text: str, name: str) -> int | None:
    """How many `name` or `name:5000` asks for; None for another text.

    Raises UsageError for what is no number.
    """
    if text == name:
        return COUNT
    if not text.startswith(f"{name}:"):
        return None
    number = text.removeprefix(f"{name}:").replace("_", "").replace(",", "")
    if not number.isdecimal() or int(number) == 0:
        raise UsageError(f"how many {name} is a number, as in {name}:5000; not '{text}'.")
    return int(number)


def shapes(text: str, count: int, seed: int, size: str | tuple[int, int] | None = None) -> Source:
    """`count` scenes of a seed, drawn at a size (64 x 64 unless given)."""
    drawn = parse_size(size) or SIZE
    return Source(
        text,
        lambda: f"shapes 3 {count} {seed} {drawn}",
        lambda: _records(count, seed, drawn),
        at_size=lambda asked: shapes(text, count, seed, asked),
    )


def _records(count: int, seed: int, size: tuple[int, int]) -> Iterator[Record]:
    for number in range(count):
        shown = scene(seed, number)
        yield Record(
            f"shapes-{seed}-{number:06d}",
            functools.partial(draw, seed, number, size),
            label=shown.things[0].form if len(shown.things) == 1 else None,
            captions=shown.captions(),
            split="test" if shown.held_out else None,
        )


KIND = Kind(
    data="shapes[:COUNT]",
    says="Drawn scenes with captions in English and French and known factors, at any --size; "
    "--seed draws others. A scene of one object has its form as label; "
    "twelve things, as a small red star, are for the test split alone. Needs nothing.",
    examples=("shapes", "shapes:20000"),
    find=find,
    names=lambda: ("shapes",),
    rank=0,
)
