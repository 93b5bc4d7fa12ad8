"""The options of a command, read from its function: the source of help, errors and completion.

Each parameter is an option. A parameter that is a dataclass stands for the dataclass's fields.
The help text of an option is its entry in the docstring's `Args:`, or the comment above its field.
tyro reads the same signature to build the values (`pinxit.cli.parse`). Imports no torch.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tyro.conf import FlagCreatePairsOff, Positional, Suppress

Kind = Literal["flag", "integer", "number", "choice", "path", "text"]
REQUIRED = inspect.Parameter.empty

# options that everybody needs; help shows them first, in this order
COMMON = ("minutes", "num_images", "size", "out")
SECTIONS = ("options", "data", "model", "training", "generation", "evaluation", "output", "general")
SECTION_OF_DATACLASS = {
    "LoadOptions": "data",
    "Config": "model",
    "TrainingSettings": "training",
    "GenerationParams": "generation",
    "EvalOptions": "evaluation",
}
SECTION_OF_NAME = {
    **dict.fromkeys(("report", "overwrite", "live", "only_completions", "gif"), "output"),
    **dict.fromkeys(("device", "quiet", "json", "dry_run"), "general"),
}
HIDDEN = ("start",)  # for programs: generate images start, start + 1, ...
METAVARS = {
    **dict.fromkeys(("image_tokenizer", "reranker", "feature_run", "resume"), "RUN"),
    **dict.fromkeys(("label", "language", "size", "data"), ""),  # "": the name in capitals
}


@dataclass(frozen=True, eq=False)  # a key of dicts, by identity
class Option:
    """One argument of a command, by position or by name."""

    name: str  # of the parameter or field
    flags: tuple[str, ...]  # ("-o", "--out"); () if given by position
    kind: Kind
    help: str = ""
    section: str = "options"
    default: Any = REQUIRED
    choices: tuple[str, ...] = ()
    count: int | None = 1  # values it takes; None: any number
    metavar: str = ""
    negative: str | None = None  # "--no-report", for a flag that is on by default

    @property
    def flag(self) -> str:
        """The long spelling, `--out`; the metavar of an argument given by position."""
        return self.flags[-1] if self.flags else self.metavar

    @property
    def spellings(self) -> tuple[str, ...]:
        """Every flag that names it, the one that turns it off included."""
        return (*self.flags, self.negative) if self.negative else self.flags

    @property
    def required(self) -> bool:
        return self.default is REQUIRED and self.count is not None


@dataclass(frozen=True)
class Docstring:
    """The parts of a docstring in Google style."""

    summary: str  # the first paragraph
    description: str = ""  # the other paragraphs
    examples: tuple[str, ...] = ()
    args: dict[str, str] = dataclasses.field(default_factory=dict)


def read_options(function: Callable[..., Any]) -> tuple[Option, ...]:
    """Return the options of a command in the order of its parameters, dataclasses expanded."""
    parameters = inspect.signature(function).parameters.values()
    hints, args = _type_hints(function), read_docstring(function).args
    options = []
    for parameter in parameters:
        hint = hints.get(parameter.name, str)
        if dataclasses.is_dataclass(hint):
            options += _field_options(typing.cast(type, hint), parameter.default)
        else:
            text = args.get(parameter.name, "")
            section = SECTION_OF_NAME.get(parameter.name, "options")
            options += _make_option(parameter.name, hint, parameter.default, text, section)
    return tuple(options)


def _field_options(kind: type, default: Any) -> Iterator[Option]:
    """The options of a dataclass's fields, nested dataclasses expanded."""
    hints, comments = _type_hints(kind), _field_comments(kind)
    for field in dataclasses.fields(kind):
        value = _field_default(field, default)
        hint = hints.get(field.name, str)
        if field.name in HIDDEN:
            continue
        if dataclasses.is_dataclass(hint):
            yield from _field_options(typing.cast(type, hint), value)
            continue
        section = SECTION_OF_DATACLASS.get(kind.__name__, "options")
        section = "options" if field.name in COMMON else section
        yield from _make_option(field.name, hint, value, comments.get(field.name, ""), section)


def _field_default(field: dataclasses.Field[Any], owner: Any) -> Any:
    if dataclasses.is_dataclass(owner):
        return getattr(owner, field.name)
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return REQUIRED if field.default is dataclasses.MISSING else field.default


def _make_option(name: str, hint: Any, default: Any, text: str, section: str) -> Iterator[Option]:
    """The option of one parameter or field; none if tyro is not to show it."""
    hint, metadata = _unwrap(hint)
    if Suppress in metadata:
        return
    settings = [item for item in metadata if hasattr(item, "metavar")]  # tyro.conf.arg(...)
    kind, choices, count = _kind_of(hint)
    long = next((s.name for s in settings if s.name), name).replace("_", "-")
    aliases = [alias for s in settings for alias in s.aliases or ()]
    negatable = kind == "flag" and FlagCreatePairsOff not in metadata
    metavar = next((s.metavar for s in settings if s.metavar), None)
    yield Option(
        name=name,
        flags=() if Positional in metadata else (*aliases, f"--{long}"),
        kind=kind,
        help=text or next((s.help for s in settings if s.help), ""),
        section=section,
        default=default,
        choices=choices,
        count=count,
        metavar=metavar or _metavar(name, kind, choices, count),
        negative=f"--no-{long}" if negatable else None,
    )


def _unwrap(hint: Any) -> tuple[Any, list[Any]]:
    """A type without `Annotated`, and all of its metadata."""
    metadata: list[Any] = []
    while typing.get_origin(hint) is typing.Annotated:
        hint, *more = typing.get_args(hint)
        metadata += more
    return hint, metadata


def _kind_of(hint: Any) -> tuple[Kind, tuple[str, ...], int | None]:
    """What the words of an option are, its choices, and how many words it takes."""
    hint, _ = _unwrap(hint)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        members = [arg for arg in args if arg is not type(None)]
        plain = [arg for arg in members if typing.get_origin(arg) is None] or members
        # of several types the one that all words are of: a size is 64 or 96x64
        return _kind_of(str if str in plain else plain[0])
    if origin is tuple:
        kind, choices, _ = _kind_of(args[0])
        return kind, choices, None if Ellipsis in args else len(args)
    if origin is Literal:
        return "choice", tuple(map(str, args)), 1
    kinds: dict[Any, Kind] = {bool: "flag", int: "integer", float: "number", Path: "path"}
    kind = kinds.get(hint, "text")
    return kind, (), 0 if kind == "flag" else 1


def _metavar(name: str, kind: Kind, choices: Sequence[str], count: int | None) -> str:
    words = {"integer": "N", "number": "N", "path": "PATH", "text": "TEXT", "flag": ""}
    word = "|".join(choices) or METAVARS.get(name, words.get(kind, "")) or name.upper()
    if kind == "flag":
        return ""
    return f"{word} ..." if count is None else " ".join([word] * count)


def _type_hints(owner: Any) -> dict[str, Any]:
    """Resolved annotations; one that only a type checker can resolve is left out."""
    try:
        return typing.get_type_hints(owner, include_extras=True)
    except NameError:
        names = vars(inspect.getmodule(owner)) if inspect.getmodule(owner) else {}
        return {
            name: hint
            for name, text in owner.__annotations__.items()
            if (hint := _evaluate(text, names)) is not None
        }


def _evaluate(annotation: Any, names: dict[str, Any]) -> Any:
    try:
        return eval(annotation, names) if isinstance(annotation, str) else annotation
    except NameError:
        return None


def read_docstring(function: Callable[..., Any]) -> Docstring:
    """Return the parts of a function's docstring."""
    lines = inspect.cleandoc(function.__doc__ or "").splitlines()
    sections: dict[str, list[str]] = {"": []}
    name = ""
    for line in lines:
        if line in ("Args:", "Examples:"):
            name = line
        sections.setdefault(name, []).append(line)
    summary, _, description = "\n".join(sections[""]).partition("\n\n")
    examples = [line.strip() for line in sections.get("Examples:", [])[1:] if line.strip()]
    return Docstring(
        summary=" ".join(summary.split()),
        description=description.strip(),
        examples=tuple(examples),
        args=_read_args(sections.get("Args:", [])[1:]),
    )


def _read_args(lines: Sequence[str]) -> dict[str, str]:
    """`name: text` entries, indented by 4; a deeper line continues the entry above."""
    args: dict[str, str] = {}
    name = ""
    for line in lines:
        if entry := re.match(r" {4}(\w+): (.*)", line):
            name, text = entry.groups()
            args[name] = text.strip()
        elif line.strip() and name:
            args[name] += " " + line.strip()
    return args


def _field_comments(kind: type) -> dict[str, str]:
    """The comment above each field of a dataclass, inherited fields included."""
    comments: dict[str, str] = {}
    for base in reversed(kind.__mro__[:-1]):
        if not dataclasses.is_dataclass(base):
            continue
        above: list[str] = []
        for line in inspect.getsource(base).splitlines():
            text = line.strip()
            if text.startswith("#"):
                above.append(text.lstrip("# "))
                continue
            if field := re.match(r"(\w+):", text):
                comments[field[1]] = " ".join(above)
            above = []
    return comments
