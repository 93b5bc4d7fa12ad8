"""What a prompt asks for, told from its words where no language model stands in between."""

from __future__ import annotations

import re

# "Please generate an image of ...", "Dessine-moi une image de ..."
_LEAD = re.compile(
    r"^\s*(?:please\s+|can you\s+|could you\s+|s'il te plaît,?\s+|peux-tu\s+)*"
    r"(?:generate|create|draw|make|paint|produce|show|render|dessine|peins|crée|génère|fais|montre)"
    r"(?:[ -](?:me|us|moi|nous))?\s+"
    r"(?:(?:an?|the|one|une?|la|le|l')\s*)?"
    r"(?:(?:image|picture|drawing|photo|painting|illustration|dessin|tableau)\s*"
    r"(?:of|showing|with|that shows|de|d'|avec|:)?\s*)?",
    re.IGNORECASE,
)
_ASKS = re.compile(
    r"\b(?:what|which|who|where|how many|describe|caption|tell me|explain|read)\b"
    r"|\b(?:que|quoi|quel(?:le)?s?|combien|décri[st]|légende|raconte)\b|qu['’]",
    re.IGNORECASE,
)
_PAINTS = re.compile(
    r"\b(?:generate|draw|paint|create|make|render|give|add|remove|turn|change|replace|put)\b"
    r"|\b(?:dessine|peins|crée|génère|fais|donne|ajoute|enlève|remplace|mets|rends)\b",
    re.IGNORECASE,
)
_NAMES = {
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


def caption_of(prompt: str) -> str:
    """The prompt without its lead-in: what the image is to show."""
    found = _LEAD.sub("", prompt, count=1).strip()
    return found or prompt.strip()


def asks_for_words(prompt: str) -> bool:
    """Whether a prompt about an image wants an answer in words rather than an image."""
    return bool(_ASKS.search(prompt)) and not _PAINTS.search(prompt)


def language_of(prompt: str) -> str:
    """The language to answer in: the one named ("en français"), else that of the prompt."""
    for language, names in _NAMES.items():
        if re.search(rf"\b(?:{names})\b", prompt, re.IGNORECASE):
            return language
    return "fr" if len(_FRENCH.findall(prompt)) > len(_ENGLISH.findall(prompt)) else "en"
