"""Default names of the files that commands write: other options and texts give other names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pinxit.data.slugs import short_hash, slug
from pinxit.models.generation import GenerationParams, Reranker

MAX_TEXT_LENGTH = 40  # of a text in a name, in characters
SHORT_NAMES = {
    **{"guidance": "g", "temperature": "t", "top_k": "k", "top_p": "p", "solver": ""},
    **{"level_temperatures": "t", "best_of": "best-of", "reranker": "reranked-by-"},
}
# those of names that earlier versions wrote come first, in their order
ORDER = ("seed", "start", "guidance", "temperature", "level_temperatures", "top_k", "top_p")


def params_suffix(params: GenerationParams) -> str:
    """Return the parameters that were set, as the end of a file name.

    >>> params_suffix(GenerationParams(temperature=0.5, top_k=3, steps=8))
    '-t0.5-k3-steps8'
    """
    changed = params.overrides()
    names = [name for name in (*ORDER, *changed) if name in changed]
    return "".join(_param_suffix(name, changed[name]) for name in dict.fromkeys(names))


def _param_suffix(name: str, value: object) -> str:
    short = SHORT_NAMES.get(name, name)
    if name == "reranker":
        value = slug(reranker_name(value) or "model")  # type: ignore[arg-type]
    if name == "level_temperatures" and isinstance(value, tuple) and len(value) == 1:
        short = "level-t"  # one level is not the temperature of all
    values = value if isinstance(value, tuple) else (value,)
    return "".join(f"-{short}{format_number(item)}" for item in values)


def format_number(value: object) -> str:
    """Return a number with as many digits as it has, anything else as text."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)


def texts_slug(texts: Sequence[str]) -> str:
    """Return texts as part of a file name, with a hash where the name does not say them all."""
    texts = [text.strip() for text in texts]
    name = slug(texts[0])[:MAX_TEXT_LENGTH].strip("-.")
    is_whole = len(texts) == 1 and name.replace("-", " ") == texts[0]
    name += f"-and-{len(texts) - 1}-more" if len(texts) > 1 else ""
    return name if is_whole else f"{name}-{short_hash(texts)}"


def label_slug(label: str) -> str:
    """Return a label as part of a file name, with a hash where the name is not the label's."""
    name = slug(label)
    return name if name == label else f"{name}-{short_hash([label])}"


def names_slug(names: Sequence[str]) -> str:
    """Return files, or names of images, as part of a file name, without their folders and suffixes.

    With a hash, unless each is a single word or a number.

    >>> names_slug(["3", "17"])
    '3-17'
    """
    name = join_slugs([Path(name).stem for name in names])
    is_whole = name == "-".join(names) and all(re.fullmatch(r"\w+", name) for name in names)
    return name if is_whole else f"{name}-{short_hash(names)}"


def join_slugs(texts: Sequence[str]) -> str:
    """Return texts as part of a file name, cut where they are long."""
    length = MAX_TEXT_LENGTH // len(texts)
    return "-".join(slug(text)[:length].strip("-.") for text in texts)


def option_suffix(name: str, value: object, default: object = None) -> str:
    """Return `-NAME` and a value as the end of a file name; "" for the default."""
    return "" if value == default else f"-{name}{format_number(value)}"


def reranker_name(reranker: Reranker | None) -> str | None:
    """Return the name of a reranker's run; None if it has none."""
    from pinxit.runs import run_of

    run = run_of(reranker)
    return None if run is None else run.name
