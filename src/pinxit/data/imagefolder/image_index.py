"""Find the images that a name in metadata, or the name of a caption file, means."""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from pinxit.data.captions import UNDETERMINED, normalize_language
from pinxit.data.formats import SUFFIXES
from pinxit.data.language_codes import is_language

_LANGUAGE = re.compile(r"(?i)[a-z]{2,3}(?:[-_](?:[a-z]{4}|[a-z]{2}|\d{3}))?")
_ABSOLUTE = re.compile(r"[A-Za-z]:/|[~/]")


@dataclass(frozen=True)
class Match:
    """The images that a name means; `by_case` if it differs from theirs in case."""

    images: tuple[str, ...]
    by_case: bool = False
    language: str = UNDETERMINED  # of a caption file


def to_nfc(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _fold(name: str) -> str:
    return to_nfc(to_nfc(name).casefold())


def split_suffix(name: str) -> tuple[str, str]:
    return os.path.splitext(name)  # noqa: PTH122 (faster, for millions of files)


class ImageIndex:
    """The images of a folder by path. Names are compared in Unicode form C, then without case."""

    def __init__(self, images: Sequence[str], root_name: str = "") -> None:
        self.images = images
        self.root_name = root_name
        self._exact = frozenset(images)

    # -- metadata ------------------------------------------------------------------------------

    def find(self, name: str, folder: str = "") -> Match | None:
        """Return the image that a name in the metadata file of a folder means.

        The name is relative to that folder or to the root, may be absolute, and may lack the
        suffix of the image; or its folder, if no image lies beside the metadata. Returns None if
        there is no such image, or no single one.
        """
        paths = list(self._candidate_paths(name, folder))
        for path in paths:
            if path in self._exact:
                return Match((path,))
        for index, by_case in ((self._by_path, False), (self._by_folded_path, True)):
            for path in paths:
                if len(images := index.get(_fold(path) if by_case else to_nfc(path), ())) == 1:
                    return Match(images, by_case)
        for path in paths:
            if images := self._by_stem.get(to_nfc(path)):
                return Match(images)
        return self._find_below(name, folder)

    def _find_below(self, name: str, folder: str) -> Match | None:
        """Return the one image of this name in any folder, if the metadata lies beside none."""
        if folder in self._folders or "/" in name:
            return None
        images = self._by_name.get(to_nfc(name.strip()), ())
        return Match(images) if len(images) == 1 else None

    def _candidate_paths(self, name: str, folder: str) -> Iterator[str]:
        for text in dict.fromkeys([name, name.strip(), name.strip().replace("\\", "/")]):
            for path in self._relative_paths(text):
                yield from dict.fromkeys(
                    posixpath.normpath(posixpath.join(base, path)) for base in (folder, "")
                )

    def _relative_paths(self, name: str) -> Iterator[str]:
        """Yield the name; of an absolute path, or one that begins with the root, its ends."""
        first, *rest = name.split("/")
        if _ABSOLUTE.match(name):
            yield from ("/".join(rest[i:]) for i in range(len(rest)))
            return
        yield name
        if rest and first == self.root_name:
            yield "/".join(rest)

    # -- caption files -------------------------------------------------------------------------

    def find_captioned(self, name: str) -> Match | None:
        """Return the images whose caption is in a text file: `cat.txt`, `cat.fr.txt` of cat.png.

        What stands before `.txt` is the stem of an image, or its whole name; if it is neither, its
        last part may be a language.
        """
        stem = split_suffix(name)[0]
        if match := self._find_stem(stem):
            return match
        stem, language = split_suffix(stem)
        is_code = _LANGUAGE.fullmatch(language[1:]) and is_language(language[1:])
        is_code = is_code and language.lower() not in SUFFIXES
        if is_code and (match := self._find_stem(stem)):
            return Match(match.images, match.by_case, normalize_language(language[1:]))
        return None

    def _find_stem(self, stem: str) -> Match | None:
        if images := self._by_stem.get(to_nfc(stem)) or self._by_path.get(to_nfc(stem)):
            return Match(images)
        folded = _fold(stem)
        if images := self._by_folded_stem.get(folded) or self._by_folded_path.get(folded):
            return Match(images, by_case=True)
        return None

    # -- indexes, built when they are needed -----------------------------------------------------

    def _group(self, key: Callable[[str], str]) -> dict[str, tuple[str, ...]]:
        groups: dict[str, list[str]] = {}
        for name in self.images:
            groups.setdefault(key(name), []).append(name)
        return {key: tuple(names) for key, names in groups.items()}

    @cached_property
    def _folders(self) -> frozenset[str]:
        return frozenset(name.rpartition("/")[0] for name in self.images)

    @cached_property
    def _by_name(self) -> dict[str, tuple[str, ...]]:
        return self._group(lambda name: to_nfc(name.rpartition("/")[2]))

    @cached_property
    def _by_path(self) -> dict[str, tuple[str, ...]]:
        return self._group(to_nfc)

    @cached_property
    def _by_folded_path(self) -> dict[str, tuple[str, ...]]:
        return self._group(_fold)

    @cached_property
    def _by_stem(self) -> dict[str, tuple[str, ...]]:
        return self._group(lambda name: to_nfc(split_suffix(name)[0]))

    @cached_property
    def _by_folded_stem(self) -> dict[str, tuple[str, ...]]:
        return self._group(lambda name: _fold(split_suffix(name)[0]))
