"""Join the images of a shard with the files that describe them, wherever these stand.

Files of one sample share the name up to the first dot. A text whose name is that of one image
describes this image (`a.left.txt` of `a.left.png`), any other one each image of the sample. If a
name occurs several times, as in archives that were joined, the first text is of the first image.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pinxit.data.captions import UNDETERMINED, normalize_language
from pinxit.data.formats import SUFFIXES, describe_unsupported
from pinxit.data.imagefolder.listing import CAPTION_SUFFIXES
from pinxit.data.language_codes import is_language
from pinxit.data.shards.tar_members import Member
from pinxit.data.skipped import SkippedFile

MAX_TEXT_BYTES = 16 << 20  # of a caption or a JSON file
LABEL_SUFFIXES = (".cls", ".cls2", ".label")
TEXT_SUFFIXES = (*CAPTION_SUFFIXES, *LABEL_SUFFIXES, ".json")

_LANGUAGE = re.compile(r"[a-z]{2,3}(?:[-_](?:[a-z]{2}|hans|hant|latn|cyrl))?", re.IGNORECASE)


@dataclass
class Sample:
    """An image of a shard, and the texts that describe it."""

    image: Member
    position: int  # in the shard
    siblings: int = 1  # images of the same sample
    texts: list[tuple[Member, str]] = field(default_factory=list)  # with the captions' language


def join_samples(members: Sequence[Member | SkippedFile]) -> Iterator[Sample | SkippedFile]:
    """Yield the samples of a shard, in the order of their images, and the files not used."""
    samples: list[Sample] = []
    texts: list[tuple[int, Member]] = []
    for position, member in enumerate(members):
        if isinstance(member, SkippedFile):
            yield member
        elif suffix_of(member.name) in SUFFIXES:
            samples.append(Sample(member, position))
        elif suffix_of(member.name) not in TEXT_SUFFIXES:
            yield _skip(member, describe_unsupported(member.name) or "not an image or a text")
        elif member.size > MAX_TEXT_BYTES:
            yield _skip(member, f"a text of more than {MAX_TEXT_BYTES >> 20} MB")
        else:
            texts.append((position, member))
    yield from _SampleIndex(samples).add_texts(texts)
    yield from samples


class _SampleIndex:
    """The samples by the name of their image."""

    def __init__(self, samples: list[Sample]) -> None:
        self.by_stem: dict[str, list[Sample]] = defaultdict(list)
        self.by_key: dict[str, list[Sample]] = defaultdict(list)
        for sample in samples:
            self.by_stem[stem_of(sample.image.name)].append(sample)
            self.by_key[key_of(sample.image.name)].append(sample)
        for images in self.by_key.values():
            number = len({sample.image.name for sample in images})
            for sample in images:
                sample.siblings = number

    def add_texts(self, texts: list[tuple[int, Member]]) -> Iterator[SkippedFile]:
        """Add each text to the samples that it describes."""
        by_name: dict[str, list[tuple[int, Member]]] = defaultdict(list)
        for position, member in texts:
            by_name[member.name].append((position, member))
        for copies in by_name.values():
            samples, language = self._find(copies[0][1].name)
            images: dict[str, list[Sample]] = defaultdict(list)
            for sample in samples:
                images[sample.image.name].append(sample)
            for number, (position, member) in enumerate(copies):
                for candidates in images.values():
                    chosen = _choose(candidates, position, number, len(copies))
                    chosen.texts.append((member, language))
                if not images:
                    yield _skip(member, "without an image of its name")

    def _find(self, name: str) -> tuple[list[Sample], str]:
        """Return the samples that a text describes, and the language of its captions."""
        stem = stem_of(name)
        if stem in self.by_stem:
            return self.by_stem[stem], UNDETERMINED
        if suffix_of(stem) in SUFFIXES and stem_of(stem) in self.by_stem:  # a.png.txt
            return [s for s in self.by_stem[stem_of(stem)] if s.image.name == stem], UNDETERMINED
        outer, _, word = stem.rpartition(".")
        is_code = _LANGUAGE.fullmatch(word) and is_language(word)
        language = normalize_language(word) if is_code else UNDETERMINED
        if outer in self.by_stem:
            return self.by_stem[outer], language
        return self.by_key.get(key_of(name), []), language if outer else UNDETERMINED


def _choose(samples: list[Sample], position: int, number: int, num_texts: int) -> Sample:
    """Return the sample of an image's name that a text describes.

    With as many texts as images the first is of the first; else it is the one in front of the text.
    """
    if num_texts == len(samples):
        return samples[number]
    before = [sample for sample in samples if sample.position < position]
    return before[-1] if before else samples[0]


def _skip(member: Member, reason: str) -> SkippedFile:
    return SkippedFile(f"{member.shard.name}/{member.name}", reason)


def key_of(name: str) -> str:
    """Return the path up to the first dot in the file's name.

    >>> key_of("v1.2/0001.left.png")
    'v1.2/0001'
    """
    folder, slash, file = name.rpartition("/")
    return f"{folder}{slash}{file.partition('.')[0]}"


def stem_of(name: str) -> str:
    """Return the path up to the last dot in the file's name."""
    folder, slash, file = name.rpartition("/")
    return f"{folder}{slash}{file.rpartition('.')[0]}" if "." in file else name


def suffix_of(name: str) -> str:
    """Return the last suffix of a file's name, in lower case."""
    file = name.rpartition("/")[2]
    return f".{file.rpartition('.')[2].lower()}" if "." in file else ""
