"""The words of the project: the field's terms in code, help and docs, and verbs for functions."""

from __future__ import annotations

import ast
import contextlib
import io
import re
import tokenize
from pathlib import Path

import pytest

from pinxit.cli import COMMANDS, main
from pinxit.models import list_families

ROOT = Path(__file__).parent.parent
CODE = sorted(p for d in ("src", "tests", "benchmarks") for p in (ROOT / d).rglob("*.py"))
DOCS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("recipes/*")])

# a reader of this field would have to translate them; the usual word is in brackets
BANNED = {
    "told": "predicted, reported, given",
    "paint": "generate, sample",
    "chances": "probabilities",
    "judge": "evaluate, reranker",
    "tries": "candidates, best_of",
    "pieces": "tokens",
    "yardstick": "baseline",
    "looking": "attention",
    "wanted": "options, requested",
    "asked": "requested",
}
INFLECTED = re.compile(
    rf"(?:{'|'.join(set(BANNED) - {'paint', 'judge'})}|paint(?:s|ed|er|ers|ing|ings)?"
    r"|judge[sd]?|judging)",
    re.IGNORECASE,
)
# `image` in code; "picture" may stand in running prose
CODE_ONLY = re.compile(r"pictures?", re.IGNORECASE)

PARTICIPLES = {
    "begun", "bound", "built", "chosen", "done", "drawn", "fallen", "forgotten", "found", "given",
    "gone", "grown", "held", "hidden", "kept", "known", "laid", "left", "lost", "made", "met",
    "seen", "sent", "shown", "said", "sought", "spent", "spoken", "taken", "thought", "thrown",
    "told", "understood", "worn", "won", "written",
}  # fmt: skip
NOT_PARTICIPLES = {"embed", "exceed", "feed", "need", "proceed", "seed", "speed", "red"}
# functions that may begin with a past participle, and why
ALLOWED = {
    "bound": "the verb: to limit to a range",
    "fixed_batches": "a noun phrase: batches of one fixed size",
    "masked_mse": "the metric's name",
    "hidden_states": "the name in transformers",
}


def words_of(identifier: str) -> list[str]:
    """`RotaryCache` -> rotary, cache; `max_text_tokens` -> max, text, tokens."""
    return [w.lower() for w in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", identifier)]


def find_banned_identifiers(source: str) -> set[str]:
    names = {
        token.string
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.NAME
    }
    return {
        name
        for name in names
        if any(INFLECTED.fullmatch(w) or CODE_ONLY.fullmatch(w) for w in words_of(name))
    }


@pytest.mark.parametrize("file", CODE, ids=lambda file: str(file.relative_to(ROOT)))
def test_identifiers_use_the_terms_of_the_field(file):
    if file == Path(__file__):
        return
    assert not find_banned_identifiers(file.read_text())


def test_a_banned_identifier_is_detected():
    source = (
        "def paint_all(x): return x.judged + pieces\nclass PictureTold: ...\nprinted = seed = 1\n"
    )
    assert find_banned_identifiers(source) == {"paint_all", "judged", "pieces", "PictureTold"}


def find_banned_words(text: str) -> set[str]:
    """Banned words of a text, code and links aside."""
    text = re.sub(r"https?://\S+|\]\([^)]*\)", " ", text)
    return {m[0].lower() for m in re.finditer(rf"\b(?:{INFLECTED.pattern})\b", text, re.IGNORECASE)}


# what the name means is said once
TAGLINE = re.compile(r"\(?\*Pinxit\*[^.)]*[.)]|painted this")


@pytest.mark.parametrize("file", DOCS, ids=lambda file: str(file.relative_to(ROOT)))
def test_docs_use_the_terms_of_the_field(file):
    assert not find_banned_words(TAGLINE.sub("", file.read_text()))


def test_a_banned_word_of_the_docs_is_detected():
    assert find_banned_words("A judged painting, told by pieces.") == {
        "judged",
        "painting",
        "told",
        "pieces",
    }
    assert not find_banned_words("[why](docs/what-is-told.md) the model samples images")


PAGES = [[], *([command] for command in COMMANDS), *(["train", f] for f in list_families())]


@pytest.mark.parametrize("command", PAGES, ids=" ".join)
def test_help_uses_the_terms_of_the_field(command, capsys):
    with contextlib.suppress(SystemExit):
        main([*command, "--help"])
    page = capsys.readouterr().out
    assert len(page) > 100
    assert not find_banned_words(page)


def participles(source: str) -> set[str]:
    """Functions that begin with a past participle: a function that acts is an imperative verb."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        first = (words_of(node.name) or [""])[0]
        ends = first.endswith("ed") and first not in NOT_PARTICIPLES
        if (ends or first in PARTICIPLES) and node.name not in ALLOWED:
            names.add(node.name)
    return names


@pytest.mark.parametrize("file", CODE, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_function_begins_with_a_past_participle(file):
    assert not participles(file.read_text())


def test_a_participle_is_detected():
    source = "def painted(): ...\ndef _found_all(): ...\ndef embed(): ...\ndef seed_all(): ...\n"
    assert participles(source) == {"painted", "_found_all"}
