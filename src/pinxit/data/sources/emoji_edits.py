"""Pairs of emoji that differ only in skin tone or gender, with the instruction as caption.

Made from the set `emoji`, by its columns `base` and `variant`.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pinxit.data.groups import parse_group
from pinxit.data.records import Record, Source, SourceType, hash_files
from pinxit.data.sources.named import find_named_set
from pinxit.data.splits import parse_split
from pinxit.errors import PinxitError
from pinxit.extras import require_extra

# variant: English and French adjective of the skin tone
SKIN_TONES = {
    "light skin tone": ("light", "claire"),
    "medium-light skin tone": ("medium-light", "moyennement claire"),
    "medium skin tone": ("medium", "légèrement mate"),
    "medium-dark skin tone": ("medium-dark", "mate"),
    "dark skin tone": ("dark", "foncée"),
}
GENDER_SYMBOLS = {"woman": ("♀", "👩"), "man": ("♂", "👨")}
GENDER_INSTRUCTIONS = {
    "woman": {"en": "make it a woman", "fr": "fais-en une femme"},
    "man": {"en": "make it a man", "fr": "fais-en un homme"},
}


def open_emoji_edits(data: str, seed: int) -> Source | None:
    if data != "emoji-edits":
        return None
    path = find_named_set("emoji")
    require_extra("parquet", f"reading {path}")
    return Source(
        data, lambda: f"emoji-edits 1 {hash_files(path, [path])}", lambda: _list_records(path)
    )


def _list_records(path: Path) -> Iterator[Record]:
    import pyarrow.parquet as pq  # takes 0.1 s

    columns = ["image", "caption_en", "emoji", "base", "variant", "split"]
    try:
        rows = pq.read_table(path, columns=columns).to_pylist()
    except (OSError, ValueError, KeyError) as error:
        raise PinxitError(f"{path} has no pairs of emoji: {str(error).splitlines()[0]}") from None
    variants: dict[str, list[dict[str, Any]]] = defaultdict(list)  # by their base emoji
    for row in rows:
        if row["variant"] in ("", *SKIN_TONES) and detect_gender(row["emoji"]) is not None:
            variants[row["base"]].append(row)
    for base, members in variants.items():
        for number, (before, after) in enumerate(itertools.permutations(members, 2)):
            instruction = instruction_between(before, after)
            if instruction is not None:
                yield from _pair(f"{base}-{number:03d}", before, after, instruction)


def _pair(
    name: str, before: dict[str, Any], after: dict[str, Any], instruction: dict[str, str]
) -> Iterator[Record]:
    split = parse_split(after["split"]) if after["split"] is not None else None
    group = parse_group(after)
    yield Record(f"{name}/before", lambda: before["image"]["bytes"], split=split, group=group)
    yield Record(
        f"{name}/after",
        lambda: after["image"]["bytes"],
        captions=instruction,
        split=split,
        group=group,
    )


def detect_gender(emoji: str) -> str | None:
    """Return `woman`, `man` or `neutral`; None if several people are shown."""
    people = [
        gender
        for gender, symbols in GENDER_SYMBOLS.items()
        for symbol in symbols
        for _ in range(emoji.count(symbol))
    ]
    if len(people) > 1:
        return None
    return people[0] if people else "neutral"


def instruction_between(before: dict[str, Any], after: dict[str, Any]) -> dict[str, str] | None:
    """Return the instruction, by language, that turns one emoji into the other.

    None if they differ in more than one attribute, or if there is no instruction.
    """
    gender = detect_gender(after["emoji"])
    same_gender = detect_gender(before["emoji"]) == gender
    if before["variant"] != after["variant"]:
        if not same_gender or after["variant"] == "":
            return None
        english, french = SKIN_TONES[after["variant"]]
        return {"en": f"make the skin {english}", "fr": f"rends la peau {french}"}
    return None if same_gender or gender is None else GENDER_INSTRUCTIONS.get(gender)


SOURCE_TYPE = SourceType(
    pattern="emoji-edits",
    description="Pairs of emoji that differ only in skin tone or gender, with the instruction in "
    "English and French. Made from the set `emoji`.",
    examples=("emoji-edits",),
    open=open_emoji_edits,
    list_names=lambda: ("emoji-edits",),
    match_order=0,
)
