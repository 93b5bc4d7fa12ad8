"""Pairs of emoji that differ in skin tone or in being a man or a woman alone, and what to ask for.

From the well-known set `emoji`, by its columns `base` and `variant`.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pinxit.data.records import Kind, Record, Source, file_key
from pinxit.data.sources.named import on_disk
from pinxit.data.splits import parse_split
from pinxit.errors import PinxitError

# variant: English and French adjective of the skin
TONES = {
    "light skin tone": ("light", "claire"),
    "medium-light skin tone": ("medium-light", "moyennement claire"),
    "medium skin tone": ("medium", "légèrement mate"),
    "medium-dark skin tone": ("medium-dark", "mate"),
    "dark skin tone": ("dark", "foncée"),
}
WHO = {"woman": ("♀", "👩"), "man": ("♂", "👨")}
ASKED = {
    "woman": {"en": "make it a woman", "fr": "fais-en une femme"},
    "man": {"en": "make it a man", "fr": "fais-en un homme"},
}


def find(text: str, seed: int) -> Source | None:
    if text != "emoji-edits":
        return None
    path = on_disk("emoji")
    return Source(text, lambda: f"emoji-edits 1 {file_key(path, [path])}", lambda: _records(path))


def _records(path: Path) -> Iterator[Record]:
    import pyarrow.parquet as pq

    columns = ["image", "caption_en", "emoji", "base", "variant", "split"]
    try:
        rows = pq.read_table(path, columns=columns).to_pylist()
    except (OSError, ValueError, KeyError) as error:
        raise PinxitError(f"{path} has no pairs of emoji: {str(error).splitlines()[0]}") from None
    families: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["variant"] in ("", *TONES) and who(row["emoji"]) is not None:
            families[row["base"]].append(row)
    for base, members in families.items():
        for number, (before, after) in enumerate(itertools.permutations(members, 2)):
            asked = instruction(before, after)
            if asked is not None:
                yield from _pair(f"{base}-{number:03d}", before, after, asked)


def _pair(
    name: str, before: dict[str, Any], after: dict[str, Any], asked: dict[str, str]
) -> Iterator[Record]:
    split = parse_split(str(after.get("split")))
    yield Record(f"{name}/before", lambda: before["image"]["bytes"], split=split)
    yield Record(f"{name}/after", lambda: after["image"]["bytes"], captions=asked, split=split)


def who(emoji: str) -> str | None:
    """`woman`, `man` or `` for neither; None where there are several people."""
    found = [
        name for name, marks in WHO.items() for mark in marks for _ in range(emoji.count(mark))
    ]
    return None if len(found) > 1 else "".join(found)


def instruction(before: dict[str, Any], after: dict[str, Any]) -> dict[str, str] | None:
    """What turns one emoji into the other, by language; None where it is more than one thing."""
    same_person = who(before["emoji"]) == who(after["emoji"])
    if before["variant"] != after["variant"]:
        if not same_person or after["variant"] == "":
            return None
        english, french = TONES[after["variant"]]
        return {"en": f"make the skin {english}", "fr": f"rends la peau {french}"}
    return None if same_person else ASKED.get(who(after["emoji"]) or "")


KIND = Kind(
    data="emoji-edits",
    says="Pairs of emoji that differ in skin tone, or in a man's being a woman, with what is asked "
    "for in English and French; of the set `emoji`.",
    examples=("emoji-edits",),
    find=find,
    names=lambda: ("emoji-edits",),
    rank=0,
)
