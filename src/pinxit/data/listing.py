"""What a source lists, by type."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from pinxit.data.records import Listed, Note, Record, Source, UsedFile
from pinxit.data.skipped import SkippedFile


@dataclass
class Listing:
    """The images of a source, and what lies beside them."""

    records: list[Record] = field(default_factory=list)
    skipped: list[SkippedFile] = field(default_factory=list)
    used: Counter[str] = field(default_factory=Counter)  # files that are no images, by role
    notes: list[str] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)  # those of the notes that --strict refuses

    def add(self, item: Listed) -> None:
        match item:
            case Record():
                self.records.append(item)
            case SkippedFile():
                self.skipped.append(item)
            case UsedFile():
                self.used[item.role] += 1
            case Note():
                self.notes.append(item.text)
                self.losses += [item.text] if item.is_loss else []

    def count_files(self, num_selected: int, num_decoded: int) -> dict[str, int]:
        """Return the number of files that are used, by role; `limit` leaves out some images."""
        excluded = len(self.records) - num_selected
        by_limit = {"excluded by limit": excluded} if excluded else {}
        return {"images": num_decoded, **by_limit, **self.used}


def list_source(source: Source) -> Listing:
    """List a source once."""
    listing = Listing()
    for item in source.list_records():
        listing.add(item)
    return listing
