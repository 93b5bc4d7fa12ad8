"""`pinxit completion SHELL`: a script that completes commands, families, options, runs and files.

The scripts hold all words, so that pressing Tab starts no Python.
"""

from __future__ import annotations

import importlib
import shlex
from collections.abc import Iterator
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from pinxit.cli import COMMANDS
from pinxit.cli.help import HELP
from pinxit.cli.options import Option, read_options

Shell = Annotated[Positional[Literal["bash", "zsh", "fish"]], arg(metavar="bash|zsh|fish")]


def completion(shell: Shell) -> None:
    """Print a completion script for bash, zsh or fish.

    Examples:
        eval "$(pinxit completion bash)"                 # in ~/.bashrc
        eval "$(pinxit completion zsh)"                  # in ~/.zshrc, after compinit
        pinxit completion fish > ~/.config/fish/completions/pinxit.fish

    Args:
        shell: your shell
    """
    print({"bash": bash_script, "zsh": zsh_script, "fish": fish_script}[shell]())


def all_options() -> dict[str, tuple[Option, ...]]:
    """The options of each command, by `sample` or `train FAMILY`."""
    from pinxit.cli.train import family_command, resume
    from pinxit.models import list_families

    options = {f"train {name}": read_options(family_command(name)) for name in list_families()}
    options["train --resume"] = read_options(resume)
    for command, (module, _) in COMMANDS.items():
        if command != "train":
            function = getattr(importlib.import_module(module), command)
            options[command] = read_options(function)
    return {key: (*some, HELP) for key, some in options.items()}


def _data_names() -> list[str]:
    from pinxit.data.sources import list_source_names

    return sorted(list_source_names())


def _first_words() -> list[str]:
    """What stands behind `train`."""
    from pinxit.models import list_families

    return [*list_families(), "--resume", "--help"]


def _summary(option: Option) -> str:
    """The first clause of an option's help, for a menu."""
    text = option.help.split("; ")[0].split(". ")[0].split(" (")[0]
    return text if len(text) <= 60 else f"{text[:57].rsplit(' ', 1)[0]} ..."


def _flags(option: Option) -> list[str]:
    off = [option.negative] if option.negative and option.default is True else []
    return [*option.flags, *off]


def _expected(options: tuple[Option, ...]) -> str:
    """What the arguments by position may be: choices, or `runs`, `data` and `files`."""
    positional = [option for option in options if not option.flags]
    metavars = " ".join(option.metavar for option in positional)
    kinds = [kind for kind, word in (("runs", "RUN"), ("data", "DATA")) if word in metavars]
    choices = [word for option in positional for word in option.choices]
    return " ".join(choices or ([*kinds, "files"] if positional else []))


# -- bash --

BASH = """\
# completion of pinxit for bash; in ~/.bashrc: eval "$(pinxit completion bash)"
_pinxit_options() {
    case "$1" in
@OPTIONS@
    esac
}
_pinxit_choices() {  # of an option of a command
    case "$1 $2" in
@CHOICES@
    esac
}
_pinxit_arguments() {
    case "$1" in
@ARGUMENTS@
    esac
}
_pinxit_runs() {
    local config
    for config in runs/*/config.json; do
        if [ -f "$config" ]; then printf '%s\\n' "${config%/config.json}"; fi
    done
}
_pinxit() {
    local IFS=$'\\n' word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
    local key=${COMP_WORDS[1]} words="" kind candidate
    COMPREPLY=()
    if [ "$COMP_CWORD" = 1 ] || [ "$key" = help ]; then
        words=@COMMANDS@
    elif [ "$key" = train ] && [ "$COMP_CWORD" = 2 ]; then
        words=@FIRST@
    else
        if [ "$key" = train ]; then key="train ${COMP_WORDS[2]}"; fi
        words=$(_pinxit_choices "$key" "$previous")
        if [ -z "$words" ] && [ "${word:0:1}" = - ]; then
            words=$(_pinxit_options "$key")
        elif [ -z "$words" ]; then
            compopt -o filenames 2>/dev/null
            COMPREPLY=($(compgen -f -- "$word"))
            if [ "$previous" = "--resume" ]; then words=$(_pinxit_runs); fi
            if [ "${previous:0:1}" != - ]; then
                for kind in $(_pinxit_arguments "$key"); do
                    case "$kind" in
                        files) ;;
                        runs) words+=$'\\n'$(_pinxit_runs) ;;
                        data) words+=$'\\n'@DATA@ ;;
                        *) words+=$'\\n'$kind ;;
                    esac
                done
            fi
            if [ "${word%/*}" != "$word" ]; then words=""; fi  # a path: its files are there
        fi
    fi
    for candidate in $words; do
        if [ "${candidate:0:${#word}}" = "$word" ]; then COMPREPLY+=("$candidate"); fi
    done
}
complete -F _pinxit pinxit"""


def bash_script() -> str:
    """The completion script for bash, 3.2 and newer."""
    options = all_options()
    lines = {
        "OPTIONS": [
            _case(key, "\n".join(flag for option in some for flag in _flags(option)))
            for key, some in options.items()
        ],
        "CHOICES": [
            _case(f"{key} {flag}", "\n".join(option.choices))
            for key, some in options.items()
            for option in some
            for flag in option.flags
            if option.choices
        ],
        "ARGUMENTS": [
            _case(key, _expected(some).replace(" ", "\n")) for key, some in options.items()
        ],
        "COMMANDS": [shlex.quote("\n".join([*COMMANDS, "help", "--help", "--version"]))],
        "FIRST": [shlex.quote("\n".join(_first_words()))],
        "DATA": [shlex.quote("\n".join(_data_names()))],
    }
    return _insert(BASH, lines)


def _case(pattern: str, words: str) -> str:
    return f"    {shlex.quote(pattern)}) echo {shlex.quote(words)} ;;"


def _insert(template: str, lines: dict[str, list[str]]) -> str:
    for name, text in lines.items():
        template = template.replace(f"@{name}@", "\n".join(text))
    return template


# -- zsh --

ZSH = """\
#compdef pinxit
# completion of pinxit for zsh; in ~/.zshrc, after compinit: eval "$(pinxit completion zsh)"
_pinxit_runs() {
    local -a found
    found=(runs/*/config.json(N:h))
    (( $#found )) && compadd -a found
}
_pinxit_describe() {
    local -a entries
    entries=("${@:2}")
    _describe "$1" entries
}
_pinxit() {
    local key=$words[2] previous=$words[CURRENT-1]
    if (( CURRENT == 2 )) || { [[ $key == help ]] && (( CURRENT == 3 )) }; then
        _pinxit_describe command @COMMANDS@
        return
    fi
    if [[ $key == train ]]; then
        if (( CURRENT == 3 )); then
            compadd -- @FIRST@
            return
        fi
        key="train $words[3]"
    fi
    case "$key $previous" in
@CHOICES@
    esac
    if [[ $words[CURRENT] == -* ]]; then
        case "$key" in
@OPTIONS@
        esac
        return
    fi
    if [[ $previous == -* ]]; then
        [[ $previous == --resume ]] && _pinxit_runs
        _files
        return
    fi
    case "$key" in
@ARGUMENTS@
    esac
}
if [[ $funcstack[1] == _pinxit ]]; then _pinxit "$@"; else compdef _pinxit pinxit; fi"""


def zsh_script() -> str:
    """The completion script for zsh."""
    options = all_options()
    data = f"compadd -- {shlex.join(_data_names())}"
    adds = {"runs": "_pinxit_runs", "data": data, "files": "_files"}
    lines = {
        "COMMANDS": [shlex.join(f"{name}:{text}" for name, (_, text) in COMMANDS.items())],
        "FIRST": [shlex.join(_first_words())],
        "CHOICES": [
            f"    {shlex.quote(f'{key} {flag}')}) compadd {shlex.join(option.choices)}; return ;;"
            for key, some in options.items()
            for option in some
            for flag in option.flags
            if option.choices
        ],
        "OPTIONS": [
            f"        {shlex.quote(key)}) _pinxit_describe option {shlex.join(_entries(some))} ;;"
            for key, some in options.items()
        ],
        "ARGUMENTS": [
            f"    {shlex.quote(key)}) {add} ;;"
            for key, some in options.items()
            if (add := "; ".join(adds.get(k, f"compadd {k}") for k in _expected(some).split()))
        ],
    }
    return _insert(ZSH, lines)


def _entries(options: tuple[Option, ...]) -> Iterator[str]:
    """`--flag:what it is`, as zsh's `_describe` takes them."""
    for option in options:
        for flag in _flags(option):
            yield f"{flag}:{_summary(option).replace(':', ' -')}"


# -- fish --

FISH = """\
# completion of pinxit for fish: pinxit completion fish > ~/.config/fish/completions/pinxit.fish
function __pinxit_runs
    for config in runs/*/config.json
        string replace /config.json '' $config
    end
end
complete -c pinxit -f
@COMMANDS@
@FAMILIES@
@OPTIONS@"""


def fish_script() -> str:
    """The completion script for fish."""
    seen = "__fish_seen_subcommand_from"
    families = " ".join(_first_words()[:-2])
    after_train = f"{seen} train; and not {seen} {families}"
    lines = {
        "COMMANDS": [
            *(
                f"complete -c pinxit -n __fish_use_subcommand -a {name} -d {_fish(text)}"
                for name, (_, text) in COMMANDS.items()
            ),
            f"complete -c pinxit -n '{seen} help' -a '{' '.join(COMMANDS)}'",
        ],
        "FAMILIES": [
            f"complete -c pinxit -n '{after_train}' -a '{families}'",
            f"complete -c pinxit -n '{seen} train' -l resume -r -F",
        ],
        "OPTIONS": [line for key, some in all_options().items() for line in _fish_lines(key, some)],
    }
    return _insert(FISH, lines)


def _fish_lines(key: str, options: tuple[Option, ...]) -> Iterator[str]:
    words = [word for word in key.split() if not word.startswith("-")]
    test = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in words)
    start = f"complete -c pinxit -n '{test}'"
    for option in options:
        for flag in _flags(option):
            name = f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}"
            value = "" if option.kind == "flag" else " -r -F"
            if option.choices:
                value = f" -x -a '{' '.join(option.choices)}'"
            yield f"{start} {name}{value} -d {_fish(_summary(option))}"
    kinds = _expected(options).split()
    if "runs" in kinds:
        yield f"{start} -a '(__pinxit_runs)'"
    if "data" in kinds:
        yield f"{start} -a '{' '.join(_data_names())}'"
    if choices := [kind for kind in kinds if kind not in ("runs", "data", "files")]:
        yield f"{start} -a '{' '.join(choices)}'"
    if "files" in kinds:
        yield f"{start} -F"


def _fish(text: str) -> str:
    quoted = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{quoted}'"
