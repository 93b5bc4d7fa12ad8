"""The options of a command, read from its function: the source of help, errors and completion.

Each parameter is an option; a parameter that is a dataclass becomes one option per field. The help
text is the entry in the docstring's `Args:`, or else the comment above the field. tyro builds the
values from the same signature (`pinxit.cli.parse`). Imports no torch.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tyro.conf import FlagCreatePairsOff, Positional, Suppress

from pinxit.models import COMPONENTS

Kind = Literal["flag", "integer", "number", "choice", "path", "text"]
REQUIRED = inspect.Parameter.empty

# options that help shows first, in this order
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
    **dict.fromkeys(("report", "overwrite", "watch_port", "live"), "output"),
    **dict.fromkeys(("config", "save_config"), "output"),
    **dict.fromkeys(("only_completions", "gif"), "output"),
    **dict.fromkeys(("device", "quiet", "json", "dry_run"), "general"),
}
HIDDEN = ("start",)  # fields that are options only where `Only` names them
METAVARS = {
    **dict.fromkeys((*COMPONENTS, "reranker", "feature_run", "resume"), "RUN"),
    **dict.fromkeys(("label", "language", "size", "data", "metric", "host", "port", "store"), ""),
    **{"alias": "NAME=RUN", "allow_host": "HOST", "allow_remote": "HOST", "api_key": "KEY"},
    **{"against": "OPTION", "captions": "labels|FILE", "llm": "URL", "llm_model": "MODEL"},
    **{"config": "FILE", "save_config": "FILE", "part": "NAME"},
    **{"shard": "I/N", "address": "HOST:PORT"},
    **{"compare": "RATIOS", "seeds": "SEED", "source": "LANGUAGE", "target": "LANGUAGE"},
}  # "": the name in capitals


@dataclass(frozen=True, eq=False)  # a key of dicts, by identity
class Option:
    """A positional argument or an option of a command."""

    name: str  # parameter or field
    flags: tuple[str, ...]  # ("-o", "--out"); () for a positional argument
    kind: Kind
    help: str = ""
    section: str = "options"
    default: Any = REQUIRED
    choices: tuple[str, ...] = ()
    count: int | None = 1  # number of values; None: any number
    metavar: str = ""
    negative: str | None = None  # "--no-report", for a flag that is on by default

    @property
    def flag(self) -> str:
        """The long flag, `--out`; the metavar of a positional argument."""
        return self.flags[-1] if self.flags else self.metavar

    @property
    def spellings(self) -> tuple[str, ...]:
        """All flags, with the negative one."""
        return (*self.flags, self.negative) if self.negative else self.flags

    @property
    def is_required(self) -> bool:
        return self.default is REQUIRED and self.count is not None


@dataclass(frozen=True)
class Only:
    """In `Annotated[SomeDataclass, Only(names)]`: the fields that are options of the command."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Docstring:
    """The parts of a docstring in Google style."""

    summary: str  # the first paragraph
    description: str = ""  # the other paragraphs
    examples: tuple[str, ...] = ()
    args: dict[str, str] = dataclasses.field(default_factory=dict)


def read_options(function: Callable[..., Any]) -> tuple[Option, ...]:
    """Return the options of a command in the order of its parameters; dataclasses are expanded."""
    parameters = inspect.signature(function).parameters.values()
    hints, args = _type_hints(function), read_docstring(function).args
    options = []
    for parameter in parameters:
        hint = hints.get(parameter.name, str)
        plain, metadata = _unwrap(hint)
        if dataclasses.is_dataclass(plain):
            only = next((item.names for item in metadata if isinstance(item, Only)), None)
            named = () if only is None else only
            fields = list(_field_options(typing.cast(type, plain), parameter.default, named))
            fields = [option for option in fields if only is None or option.name in only]
            options += [replace(field, help=args.get(field.name, field.help)) for field in fields]
        else:
            text = args.get(parameter.name, "")
            section = SECTION_OF_NAME.get(parameter.name, "options")
            options += _make_option(parameter.name, hint, parameter.default, text, section)
    return tuple(options)


def _field_options(kind: type, default: Any, named: Sequence[str] = ()) -> Iterator[Option]:
    """Yield the options of a dataclass, hidden ones if they are `named`; nested ones expanded."""
    hints, comments = _type_hints(kind), _field_comments(kind)
    for field in dataclasses.fields(kind):
        value = _field_default(field, default)
        hint = hints.get(field.name, str)
        if field.name in HIDDEN and field.name not in named:
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
    """Yield the option of one parameter or field; nothing if it is suppressed."""
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
    """Return a type without `Annotated`, and its metadata."""
    metadata: list[Any] = []
    while typing.get_origin(hint) is typing.Annotated:
        hint, *more = typing.get_args(hint)
        metadata += more
    return hint, metadata


def _kind_of(hint: Any) -> tuple[Kind, tuple[str, ...], int | None]:
    """Return the kind of an option, its choices and the number of its values."""
    hint, _ = _unwrap(hint)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        members = [arg for arg in args if arg is not type(None)]
        plain = [arg for arg in members if typing.get_origin(arg) is None] or members
        # str if it is among several types: a size is 64 or 96x64
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
    if kind == "flag":
        return ""
    of_kind = {"integer": "N", "number": "N", "path": "PATH", "text": "TEXT"}
    metavar = "|".join(choices) or METAVARS.get(name, of_kind.get(kind, "")) or name.upper()
    return f"{metavar} ..." if count is None else " ".join([metavar] * count)


def _type_hints(owner: Any) -> dict[str, Any]:
    """Return resolved annotations, without those that only a type checker can resolve."""
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
    """Split the docstring of a function into its parts."""
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
    """Read entries `name: text`, indented by 4; a deeper line continues the entry above."""
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
    """Return the comment above each field of a dataclass and its bases."""
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
