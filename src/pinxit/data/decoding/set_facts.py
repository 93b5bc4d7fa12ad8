"""What all images of a set say together: the conversion of its values, and notes for the user."""

from __future__ import annotations

from collections import Counter

import numpy as np

from pinxit.console import pluralize
from pinxit.data.decoding.background import choose_background
from pinxit.data.decoding.conversion import (
    BACKGROUNDS,
    FULL,
    KINDS,
    Conversion,
    Kind,
    Range,
    choose_range,
    describe_range,
)
from pinxit.data.decoding.pixels import USUAL, ImageFacts

MIN_LEVELS = 32  # an eighth of 256; images that use fewer get a note,
FLAT_SHARE = 0.1  # if they are more than this share of the set
MAX_PLAIN_LEVELS = 1  # by which the pixels of an image of one color may differ
NUM_SAMPLED = 256  # values per image in the histogram
NEARLY_ALL = 0.99  # of the values of deep images should not be in an eighth of the levels
NUM_PROBES = 16  # pixels that are compared before all are


class SetFacts:
    """Collects the facts of a set, image by image."""

    def __init__(self, given: Conversion) -> None:
        self.given = given  # by the load options
        self.has_full_range = False  # some image of 8 bits uses more than 0 and 1
        self.low: dict[Kind, float] = {}
        self.high: dict[Kind, float] = {}
        self.integers: dict[Kind, bool] = {}
        self.hidden: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.levels = (255, 0)  # extremes of the decoded pixels
        self.histogram = np.zeros(256, np.int64)  # of some of them
        self.first: dict[str, str] = {}  # name of the first image that is flat or of one color

    def add(self, facts: ImageFacts) -> None:
        """Add an image."""
        if facts is USUAL:
            self.has_full_range = True
            return
        if facts.low is None or facts.high is None:
            self.has_full_range |= facts.kind == "uint8"
        else:
            self._add_extremes(facts.kind, facts.low, facts.high, facts.integers)
        self.counts.update(
            transparent=facts.hidden is not None,
            gaps=facts.has_gaps,
            files_with_frames=facts.num_frames > 1,
            frames_left=facts.num_frames - 1,
        )
        self.counts[f"profile {facts.profile}"] += 1
        self.hidden.update(name for name, is_hidden in (facts.hidden or {}).items() if is_hidden)

    def _add_extremes(self, kind: Kind, low: float, high: float, integers: bool) -> None:
        self.low[kind] = min(low, self.low.get(kind, low))
        self.high[kind] = max(high, self.high.get(kind, high))
        self.integers[kind] = integers and self.integers.get(kind, True)
        if range_ := self.given.range_of(kind):
            self.counts["cut"] += low < range_[0] or high > range_[1]

    def add_pixels(self, pixels: np.ndarray, names: list[str]) -> None:
        """Add the decoded pixels `[k, height, width, channel]` of images."""
        rows = pixels.reshape(len(pixels), -1)
        darkest, brightest = rows.min(axis=1).astype(int), rows.max(axis=1).astype(int)
        self.levels = (
            min(self.levels[0], int(darkest.min())),
            max(self.levels[1], int(brightest.max())),
        )
        sample = rows[:, :: max(1, rows.shape[1] // NUM_SAMPLED)]
        self.histogram += np.bincount(sample.ravel(), minlength=256)
        is_plain = _find_plain(pixels)
        is_flat = ~is_plain & (brightest - darkest < MIN_LEVELS)
        for name, which in (("plain", is_plain), ("flat", is_flat)):
            if which.any():
                self.counts[name] += int(which.sum())
                self.first.setdefault(name, names[int(which.argmax())])

    # -- results -------------------------------------------------------------------------------

    def conversion(self) -> Conversion:
        """Return the conversion of the set: what is given, and the rest from its images."""
        ranges: dict[Kind, Range] = {}
        for kind, high in self.high.items():
            if kind == "uint8" and high == 0:
                continue  # black, whatever the range
            ranges[kind] = choose_range(kind, self.low[kind], high, self.integers[kind])
        if self.has_full_range:
            ranges["uint8"] = FULL
        background = None
        if self.counts["transparent"]:
            hidden = {name: self.hidden[name] for name in BACKGROUNDS}
            background = choose_background(hidden, self.counts["transparent"])
        found = Conversion(
            ranges.get("uint8"), ranges.get("integer"), ranges.get("floating"), background
        )
        return self.given.merge(found)

    def notes(self, count: int) -> list[str]:
        """Return what the user should know about the values of the set, of `count` images."""
        notes = [*self._range_notes(), *self._color_notes(), *self._content_notes(count)]
        if number := self.counts["files_with_frames"]:
            left = self.counts["frames_left"]
            notes.append(
                f"{pluralize(number, 'file')} of several frames or pages: the first is read, "
                f"{left:,} {'is' if left == 1 else 'are'} not"
            )
        return notes

    def _range_notes(self) -> list[str]:
        conversion = self.conversion()
        notes = []
        for kind in KINDS:
            range_ = conversion.range_of(kind)
            if range_ and kind in self.high and not self.given.range_of(kind):
                notes.append(describe_range(kind, range_))
        if number := self.counts["cut"]:
            notes.append(
                f"{pluralize(number, 'image')} with values outside of the range: they are cut off"
            )
        if number := self.counts["gaps"]:
            notes.append(
                f"{pluralize(number, 'image')} with values that are not numbers: they are black"
            )
        return [note for note in notes if note]

    def _color_notes(self) -> list[str]:
        notes = []
        background = self.conversion().background
        if self.counts["transparent"] and background not in (None, BACKGROUNDS["white"]):
            name = next((n for n, color in BACKGROUNDS.items() if color == background), "a color")
            notes.append(
                f"transparent pixels are shown on {name}, where the images are visible; "
                "choose another color with --background"
                if self.given.background is None
                else f"transparent pixels are shown on {name}"
            )
        if number := self.counts["profile applied"]:
            notes.append(f"the color profile of {pluralize(number, 'image')} is applied")
        if number := self.counts["profile invalid"]:
            notes.append(
                f"the color profile of {pluralize(number, 'image')} cannot be applied; "
                "the colors are read as sRGB"
            )
        return notes

    def _content_notes(self, count: int) -> list[str]:
        notes = []
        if number := self.counts["plain"]:
            notes.append(
                f"{number:,} of {pluralize(count, 'image')} {'is' if number == 1 else 'are'} of "
                f"one color, the first is {self.first['plain']}"
            )
        low, high = self.levels
        is_given = any(self.given.range_of(kind) for kind in KINDS)
        advice = "" if is_given else "; choose the values of black and white with --range"
        if count > number and high - low < MIN_LEVELS:
            notes.append(f"the images only use levels {low} to {high} of 0 to 255{advice}")
        elif window := self._narrow_window():
            notes.append(f"nearly all values become levels {window[0]} to {window[1]}{advice}")
        elif self.counts["flat"] > FLAT_SHARE * count:
            notes.append(
                f"{self.counts['flat']:,} of {pluralize(count, 'image')} with less than an eighth "
                f"of the levels, the first is {self.first['flat']}{advice}"
            )
        return notes

    def _narrow_window(self) -> tuple[int, int] | None:
        """Return the levels that nearly all values of a deep set get, if they are few."""
        if not {"integer", "floating"} & self.high.keys():
            return None
        counts = np.convolve(self.histogram, np.ones(MIN_LEVELS), "valid")
        first = int(counts.argmax())
        is_narrow = counts[first] >= NEARLY_ALL * self.histogram.sum()
        return (first, first + MIN_LEVELS - 1) if is_narrow else None


def _find_plain(pixels: np.ndarray) -> np.ndarray:
    """Return which images `[k, height, width, channel]` are of one color, as a mask `[k]`."""
    colors = pixels.reshape(len(pixels), -1, pixels.shape[-1])
    probes = np.linspace(0, colors.shape[1] - 1, NUM_PROBES).astype(int)
    is_plain = np.ptp(colors[:, probes].astype(np.int16), axis=1).max(axis=1) <= MAX_PLAIN_LEVELS
    for row in np.flatnonzero(is_plain):
        is_plain[row] = np.ptp(colors[row].astype(np.int16), axis=0).max() <= MAX_PLAIN_LEVELS
    return is_plain
