"""Interpret English and French prompts by rules, without a language model.

`strip_request_phrase("Please draw me an image of a cat")` is "a cat".
"""

from __future__ import annotations

import re

# "Please generate an image of ...", "Dessine-moi une image de ..."
_REQUEST_PHRASE = re.compile(
    r"^\s*(?:please\s+|can you\s+|could you\s+|s'il te plaît,?\s+|peux-tu\s+)*"
    r"(?:generate|create|draw|make|paint|produce|show|render|dessine|peins|crée|génère|fais|montre)"
    r"(?:[ -](?:me|us|moi|nous))?\s+"
    r"(?:(?:an?|the|one|une?|la|le|l')\s*)?"
    r"(?:(?:image|picture|drawing|photo|painting|illustration|dessin|tableau)\s*"
    r"(?:of|showing|with|that shows|de|d'|avec|:)?\s*)?",
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
    return strip_request_phrase(prompt) != prompt.strip()


def wants_text(prompt: str) -> bool:
    """Return whether a prompt about an image is a question, not an instruction to edit."""
    return bool(_QUESTION.search(prompt)) and not _INSTRUCTION.search(prompt)


def answer_language(prompt: str) -> str:
    """Return the language to answer in: the one named ("en français"), else the prompt's own."""
    for language, names in _LANGUAGE_NAMES.items():
        if re.search(rf"\b(?:{names})\b", prompt, re.IGNORECASE):
            return language
    return "fr" if len(_FRENCH.findall(prompt)) > len(_ENGLISH.findall(prompt)) else "en"
