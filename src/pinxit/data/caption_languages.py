"""`--languages`: the captions and keywords of some languages."""

from __future__ import annotations

import dataclasses

from pinxit.data.captions import NoTexts, normalize_language
from pinxit.data.images import Images
from pinxit.errors import UsageError


def parse_languages(languages: str) -> tuple[str, ...]:
    """Return the codes of a list such as `en,fr`.

    Raises UsageError if it names none.
    """
    codes = [normalize_language(code.strip()) for code in languages.split(",") if code.strip()]
    if not codes:
        raise UsageError("--languages names languages of captions, such as en or en,fr.")
    return tuple(dict.fromkeys(codes))


def select_languages(images: Images, languages: str) -> Images:
    """Return the images with the captions and keywords of the languages alone.

    Raises NoTexts if there are neither captions nor keywords in one of the languages.
    """
    codes = parse_languages(languages)
    known = {**images.captions, **images.more_captions, **images.keywords}
    for code in codes:
        if code not in known:
            there = f"they are in {' '.join(sorted(known))}" if known else "there are no captions"
            text = f"{images.source}: no captions in '{code}'; {there}."
            raise NoTexts(text, languages=",".join(c for c in codes if c in known) or None)
    return dataclasses.replace(
        images,
        captions={name: texts for name, texts in images.captions.items() if name in codes},
        more_captions={name: t for name, t in images.more_captions.items() if name in codes},
        keywords={name: words for name, words in images.keywords.items() if name in codes},
    )
