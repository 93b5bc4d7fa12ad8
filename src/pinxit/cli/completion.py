"""`pinxit completion SHELL`: print a script that completes commands, options, runs and files.

The script contains all commands and options, so that pressing Tab does not start Python.
"""

from __future__ import annotations

import importlib
import shlex
from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from pinxit.cli import COMMANDS
from pinxit.cli.help import HELP
from pinxit.cli.options import Option, read_options

OptionsByCommand = dict[str, tuple[Option, ...]]
Shell = Annotated[Positional[Literal["bash", "zsh", "fish"]], arg(metavar="SHELL")]


def completion(shell: Shell) -> None:
    """Print a completion script for bash, zsh or fish.

    Examples:
        eval "$(pinxit completion bash)"                 # in ~/.bashrc
        eval "$(pinxit completion zsh)"                  # in ~/.zshrc, after compinit
        pinxit completion fish > ~/.config/fish/completions/pinxit.fish

    Args:
        shell: your shell: bash, zsh or fish
    """
    print({"bash": bash_script, "zsh": zsh_script, "fish": fish_script}[shell]())


def all_options() -> OptionsByCommand:
    """Return the options of each command; the keys are `sample`, `train vae`, `train --resume`."""
    from pinxit.cli.train import family_command, resume
    from pinxit.models import list_families

    options = {f"train {name}": read_options(family_command(name)) for name in list_families()}
    options["train --resume"] = read_options(resume)
    for command, (module, _) in COMMANDS.items():
        if command != "train":
            function = getattr(importlib.import_module(module), command)
            options[command] = read_options(function)
    return {command: (*command_options, HELP) for command, command_options in options.items()}


def _data_names() -> list[str]:
    from pinxit.data.sources import list_source_names

    return sorted(list_source_names())


def _after_train() -> list[str]:
    """Return the words that complete `pinxit train `."""
    from pinxit.models import list_families

    return [*list_families(), "--resume", "--help"]


def _summary(option: Option) -> str:
    """Return the first clause of an option's help text, for a menu."""
    text = option.help.split("; ")[0].split(". ")[0].split(" (")[0]
    return text if len(text) <= 60 else f"{text[:57].rsplit(' ', 1)[0]} ..."


def _flags(option: Option) -> list[str]:
    off = [option.negative] if option.negative and option.default is True else []
    return [*option.flags, *off]


def _argument_kinds(options: tuple[Option, ...]) -> list[str]:
    """Return what positional arguments may be: choices, or `runs`, `data` and `files`."""
    positional = [option for option in options if not option.flags]
    metavars = " ".join(option.metavar for option in positional)
    kinds = [kind for kind, name in (("runs", "RUN"), ("data", "DATA")) if name in metavars]
    choices = [choice for option in positional for choice in option.choices]
    return choices or ([*kinds, "files"] if positional else [])


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
    local key=${COMP_WORDS[1]} words="" files="" kind candidate
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
            if [ "${previous:0:1}" = - ]; then
                files=1
                if [ "$previous" = "--resume" ]; then words=$(_pinxit_runs); fi
            else
                for kind in $(_pinxit_arguments "$key"); do
                    case "$kind" in
                        files) files=1 ;;
                        runs) words+=$'\\n'$(_pinxit_runs) ;;
                        data) words+=$'\\n'@DATA@ ;;
                        *) words+=$'\\n'$kind ;;
                    esac
                done
            fi
            if [ -n "$files" ]; then
                compopt -o filenames 2>/dev/null
                COMPREPLY=($(compgen -f -- "$word"))
            fi
            if [ "${word%/*}" != "$word" ]; then words=""; fi  # a path: only files match
        fi
    fi
    for candidate in $words; do
        if [ "${candidate:0:${#word}}" = "$word" ]; then COMPREPLY+=("$candidate"); fi
    done
}
complete -F _pinxit pinxit"""


def bash_script() -> str:
    """Return the completion script for bash 3.2 and newer."""
    by_command = all_options()
    lines = {
        "OPTIONS": [
            _case_line(command, [flag for option in options for flag in _flags(option)])
            for command, options in by_command.items()
        ],
        "CHOICES": [
            _case_line(f"{command} {flag}", option.choices)
            for command, flag, option in _options_with_choices(by_command)
        ],
        "ARGUMENTS": [
            _case_line(command, _argument_kinds(options)) for command, options in by_command.items()
        ],
        "COMMANDS": [shlex.quote("\n".join([*COMMANDS, "help", "--help", "--version"]))],
        "FIRST": [shlex.quote("\n".join(_after_train()))],
        "DATA": [shlex.quote("\n".join(_data_names()))],
    }
    return _insert(BASH, lines)


def _case_line(pattern: str, candidates: Iterable[str]) -> str:
    text = "\n".join(candidates)
    return f"    {shlex.quote(pattern)}) echo {shlex.quote(text)} ;;"


def _options_with_choices(by_command: OptionsByCommand) -> Iterator[tuple[str, str, Option]]:
    """Yield command, flag and option."""
    for command, options in by_command.items():
        for option in options:
            if option.choices:
                yield from ((command, flag, option) for flag in option.flags)


def _insert(template: str, lines: dict[str, list[str]]) -> str:
    """Replace each `@NAME@` in a template by lines."""
    for name, texts in lines.items():
        template = template.replace(f"@{name}@", "\n".join(texts))
    return template


# -- zsh --

ZSH = """\
#compdef pinxit
# completion of pinxit for zsh; in ~/.zshrc, after compinit: eval "$(pinxit completion zsh)"
_pinxit_runs() {
    local -a folders
    folders=(runs/*/config.json(N:h))
    (( $#folders )) && compadd -a folders
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
    """Return the completion script for zsh."""
    by_command = all_options()
    lines = {
        "COMMANDS": [shlex.join(f"{name}:{text}" for name, (_, text) in COMMANDS.items())],
        "FIRST": [shlex.join(_after_train())],
        "CHOICES": [
            f"    {shlex.quote(f'{command} {flag}')}) compadd {choices}; return ;;"
            for command, flag, option in _options_with_choices(by_command)
            if (choices := shlex.join(option.choices))
        ],
        "OPTIONS": [
            f"        {shlex.quote(command)}) _pinxit_describe option {entries} ;;"
            for command, options in by_command.items()
            if (entries := shlex.join(_zsh_entries(options)))
        ],
        "ARGUMENTS": [
            f"    {shlex.quote(command)}) {'; '.join(additions)} ;;"
            for command, options in by_command.items()
            if (additions := _zsh_additions(options))
        ],
    }
    return _insert(ZSH, lines)


def _zsh_additions(options: tuple[Option, ...]) -> list[str]:
    """Return the zsh commands that offer what positional arguments may be."""
    data = f"compadd -- {shlex.join(_data_names())}"
    known = {"runs": "_pinxit_runs", "data": data, "files": "_files"}
    return [known.get(kind, f"compadd {kind}") for kind in _argument_kinds(options)]


def _zsh_entries(options: tuple[Option, ...]) -> Iterator[str]:
    """Yield `--flag:text` entries for zsh's `_describe`."""
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
    """Return the completion script for fish."""
    seen = "__fish_seen_subcommand_from"
    families = " ".join(_after_train()[:-2])
    after_train = f"{seen} train; and not {seen} {families}"
    lines = {
        "COMMANDS": [
            *(
                f"complete -c pinxit -n __fish_use_subcommand -a {name} -d {_quote_fish(text)}"
                for name, (_, text) in COMMANDS.items()
            ),
            f"complete -c pinxit -n '{seen} help' -a '{' '.join(COMMANDS)}'",
        ],
        "FAMILIES": [
            f"complete -c pinxit -n '{after_train}' -a '{families}'",
            f"complete -c pinxit -n '{seen} train' -l resume -r -F",
        ],
        "OPTIONS": [
            line
            for command, options in all_options().items()
            for line in _fish_lines(command, options)
        ],
    }
    return _insert(FISH, lines)


def _fish_lines(command: str, options: tuple[Option, ...]) -> Iterator[str]:
    words = [word for word in command.split() if not word.startswith("-")]
    test = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in words)
    start = f"complete -c pinxit -n '{test}'"
    for option in options:
        for flag in _flags(option):
            name = f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}"
            value = "" if option.kind == "flag" else " -r -F"
            if option.choices:
                # a tab ends a choice: without it each would have the option's description
                choices = " ".join(rf"{choice}\t" for choice in option.choices)
                value = f" -x -a '{choices}'"
            yield f"{start} {name}{value} -d {_quote_fish(_summary(option))}"
    kinds = _argument_kinds(options)
    if "runs" in kinds:
        yield f"{start} -a '(__pinxit_runs)'"
    if "data" in kinds:
        yield f"{start} -a '{' '.join(_data_names())}'"
    if choices := [kind for kind in kinds if kind not in ("runs", "data", "files")]:
        yield f"{start} -a '{' '.join(choices)}'"
    if "files" in kinds:
        yield f"{start} -F"


def _quote_fish(text: str) -> str:
    quoted = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{quoted}'"
