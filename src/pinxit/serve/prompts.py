"""Interpret English and French prompts by rules, without a language model.

`strip_request_phrase("Please draw me an image of a cat")` is "a cat".
"""

from __future__ import annotations

import re

_POLITE = r"(?:please\s+|can you\s+|could you\s+|s['’]il te plaît,?\s+|peux-tu\s+)"
_VERB = r"(?:generate|create|draw|paint|dessine|peins|crée|génère)"
_OTHER_VERB = r"(?:make|produce|show|render|fais|montre)"  # or a noun, or an edit: "make it red"
_FOR_WHOM = r"(?:[ -](?:me|us|moi|nous))"
# whole words only: "apples" begins with "a", "photo-realistic" with "photo"
_ARTICLE = r"(?:(?:an?|the|some|one|une?|des|les|la|le)\s+|l['’])"
_IMAGE_NOUN = (
    r"(?:(?:images?|pictures?|drawings?|photos?|paintings?|illustrations?|dessins?|tableaux?)"
    r"(?:\s*:\s*|\s+(?:(?:of|showing|with|that shows|de|du|avec)(?:\s+|$)|d['’])?|[.!]?\s*$))"
)
# "Please generate an image of ...", "Dessine-moi une image de ..."
_REQUEST_PHRASE = re.compile(
    rf"^\s*(?:{_POLITE}+(?:{_VERB}|{_OTHER_VERB}){_FOR_WHOM}?\s+|{_VERB}{_FOR_WHOM}?\s+"
    rf"|{_OTHER_VERB}(?:{_FOR_WHOM}\s+|\s+(?={_ARTICLE}|{_IMAGE_NOUN})))"
    rf"{_ARTICLE}?{_IMAGE_NOUN}?",
    re.IGNORECASE,
)
_REQUEST = re.compile(rf"^\s*{_POLITE}*(?:{_VERB}|{_OTHER_VERB})(?:\s+|-)\S", re.IGNORECASE)
_TEXT_REQUEST = re.compile(  # "give me a short caption"
    r"\b(?:generate|create|make|give|donne|génère|crée|fais)(?:[ -](?:me|us|moi|nous))?\s+"
    rf"{_ARTICLE}?(?:\w+\s+)?(?:captions?|descriptions?|légendes?)\b",
    re.IGNORECASE,
)
_QUESTION = re.compile(
    r"\b(?:what|which|who|where|how many|describe|caption|tell me|explain|read)\b"
    r"|\b(?:que|quoi|quel(?:le)?s?|combien|décri[st]|légende|raconte)\b|qu['’]",
    re.IGNORECASE,
)
_INSTRUCTION = re.compile(
    r"\b(?:generate|draw|paint|create|make|render|give|add|remove|turn|change|replace|put)\b"
    r"|\b(?:dessine|peins|crée|génère|fais|donne|ajoute|enlève|remplace|mets|rends)\b",
    re.IGNORECASE,
)
_LANGUAGE_NAMES = {
    "fr": r"fran[cç]ais|french",
    "en": r"english|anglais",
    "de": r"german|deutsch|allemand",
    "es": r"spanish|español|espagnol",
    "it": r"italian|italiano|italien",
}
_FRENCH = re.compile(
    r"\b(?:le|la|les|une?|des|du|est|dans|cette|que|quoi|qui|sur|avec|et|décris|dis)\b|qu['’]|d['’]",
    re.IGNORECASE,
)
_ENGLISH = re.compile(
    r"\b(?:the|a|an|is|in|of|this|what|with|and|on|describe|picture)\b", re.IGNORECASE
)


def strip_request_phrase(prompt: str) -> str:
    """Return the prompt without its opening request; unchanged if nothing else is left."""
    caption = _REQUEST_PHRASE.sub("", prompt, count=1).strip()
    return caption or prompt.strip()


def requests_image(prompt: str) -> bool:
    """Return whether a prompt opens with a request for an image."""
    return bool(_REQUEST.match(prompt)) and not _TEXT_REQUEST.search(prompt)


def instructs_edit(prompt: str) -> bool:
    """Return whether a prompt about an image is an instruction to edit it."""
    return bool(_INSTRUCTION.search(prompt)) and not _TEXT_REQUEST.search(prompt)


def wants_text(prompt: str) -> bool:
    """Return whether a prompt about an image is a question, not an instruction to edit."""
    is_question = bool(_QUESTION.search(prompt) or _TEXT_REQUEST.search(prompt))
    return is_question and not instructs_edit(prompt)


def answer_language(prompt: str) -> str:
    """Return the language to answer in: the one named ("en français"), else the prompt's own."""
    for language, names in _LANGUAGE_NAMES.items():
        if re.search(rf"\b(?:{names})\b", prompt, re.IGNORECASE):
            return language
    return "fr" if len(_FRENCH.findall(prompt)) > len(_ENGLISH.findall(prompt)) else "en"
