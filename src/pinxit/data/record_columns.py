"""Texts of records as columns by language, as `Images` hold them."""

from __future__ import annotations

from collections.abc import Sequence

from pinxit.data.record import Record


def captions_by_language(records: Sequence[Record]) -> dict[str, Sequence[str]]:
    """Return the first caption of each record, "" for none, for languages that have any."""
    languages = sorted({language for record in records for language in record.captions})
    return {name: [record.captions.get(name, "") for record in records] for name in languages}


def more_captions_by_language(records: Sequence[Record]) -> dict[str, Sequence[tuple[str, ...]]]:
    """Return the captions of each record beyond the first one, for languages that have any."""
    languages = sorted({language for record in records for language in record.more_captions})
    return {name: [record.more_captions.get(name, ()) for record in records] for name in languages}
