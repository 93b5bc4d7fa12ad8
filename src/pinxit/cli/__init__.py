"""The command line. `pinxit --help` needs only the table below.

The module of a command is imported when the command is called; torch when it runs.
"""

from __future__ import annotations

import codecs
import importlib
import os
import shlex
import sys
from collections.abc import Sequence

from pinxit.console import is_first_process
from pinxit.errors import PinxitError, UsageError, describe_os_error

OUT_OF_MEMORY = (
    "there is not enough memory.\n"
    "Use a smaller --batch-size, --size or model, or a machine with more memory."
)
# group -> command -> (module with a function of the command's name, one line of help)
GROUPS = {
    "train a model": {
        "train": ("train", "train a model on images, in the minutes you choose"),
        "runs": ("runs", "list your trained models"),
        "look": ("data", "show a data set: a contact sheet, labels, captions, splits"),
        "cache": ("cache", "show, bound or clear the decoded images on disk"),
        "shard": ("shard", "write a data set as WebDataset shards"),
        "sources": ("data", "list what DATA may be, with examples"),
        "recipe": ("recipe", "list, show or run recipes: named runs and what they reached"),
    },
    "generate images": {
        "sample": ("sample", "generate new images"),
        "draw": ("draw", "generate images from text"),
        "edit": ("draw", "change an image as a text says"),
        "complete": ("complete", "fill in the missing part of images"),
        "reconstruct": ("sample", "encode images and decode them again"),
        "interpolate": ("latents", "morph one image, or sample, into another"),
        "traverse": ("latents", "vary single latents of a VAE"),
    },
    "describe images": {
        "caption": ("caption", "describe images in words"),
        "translate": ("caption", "translate texts into another language"),
        "embed": ("embed", "compute a feature vector for each image"),
        "score": ("embed", "compute the log-likelihood of each image"),
        "map": ("map", "do one of these, or reconstruct, for any number of images"),
    },
    "take it elsewhere": {
        "export": ("export", "write a run as ONNX files"),
    },
    "measure and serve": {
        "evaluate": ("evaluate", "measure how good a run is"),
        "compare": ("compare", "compare the metrics of several runs"),
        "report": ("evaluate", "write one HTML page that shows a run"),
        "explain": ("explain", "explain why the samples of a VAE are blurry"),
        "serve": ("serve", "serve runs through the OpenAI API, with a web page"),
        "mcp": ("serve", "serve runs as tools of the Model Context Protocol"),
        "completion": ("completion", "print a completion script for bash, zsh or fish"),
    },
}
COMMANDS = {
    name: (f"pinxit.cli.{module}", text)
    for group in GROUPS.values()
    for name, (module, text) in group.items()
}


def overview() -> str:
    """Return the page that `pinxit --help` prints."""
    lines = [
        "usage: pinxit COMMAND ...",
        "",
        "Train a generative model on a folder of images, then use and measure it.",
        "",
        "first steps:",
        "  pinxit train vae digits --minutes 0.2",
        "  pinxit sample runs/digits-vae",
    ]
    for title, group in GROUPS.items():
        lines += ["", f"{title}:", *(f"  {name:<13}{text}" for name, (_, text) in group.items())]
    return "\n".join(
        [
            *lines,
            "",
            "pinxit help COMMAND     shows examples and options of a command",
            "pinxit help FAMILY      shows the options of training a family, for example vae",
            "pinxit --version        shows the version",
            "pinxit COMMAND --debug  shows where in the code a command fails",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0: success, 1: failure, 2: invalid usage, 130: interrupted, 141: broken pipe.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    # how often a waiting OpenMP thread checks for work before it sleeps: beside two busy processes
    # on two cores a training step takes 210 ms with GNU OpenMP's 300,000, and 7 ms with this
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    _replace_unencodable_characters()
    debug = "--debug" in args
    args = [arg for arg in args if arg != "--debug"]
    try:
        code = _dispatch(args)
        sys.stdout.flush()  # a full disk shows here
        return code
    except PinxitError as error:
        if debug:
            raise
        from pinxit.training import launcher

        if not launcher.is_lost(error):
            print(f"pinxit: {error}", file=sys.stderr)
        launcher.leave_if_lost(error)
        return launcher.exit_code(error)
    except KeyboardInterrupt as interrupt:
        if not is_first_process():
            return 130  # the first one says it
        print(f"pinxit: {interrupt}" if interrupt.args else "pinxit: interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # for example `| head` has read enough
        _discard_stdout()
        return 141
    except OSError as error:
        if debug:
            raise
        print(f"pinxit: {describe_os_error(error)}", file=sys.stderr)
        _discard_stdout()
        return 1
    except Exception as error:
        if debug:
            raise
        if is_out_of_memory(error):
            print(f"pinxit: {OUT_OF_MEMORY}", file=sys.stderr)
            return 1
        first = (str(error).splitlines() or [""])[0]
        print(
            f"pinxit: {type(error).__name__}: {first}\n"
            "pinxit: this is a bug. Run the command again with --debug to see where.",
            file=sys.stderr,
        )
        return 1


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error says that memory is used up, in any library's words."""
    text = str(error)
    known = ("can't allocate memory", "out of memory", "not enough memory")
    return isinstance(error, MemoryError) or any(words in text for words in known)


def _discard_stdout() -> None:
    """Write nowhere what is still to be written, so that the interpreter ends quietly."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _replace_unencodable_characters() -> None:
    """Print `?` for characters that the console cannot encode, instead of failing.

    The bytes of file names that are not UTF-8 are printed as they are.
    """
    codecs.register_error("pinxit", _replace_characters)
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            utf8 = (stream.encoding or "").lower().replace("-", "") == "utf8"
            reconfigure(errors="pinxit" if utf8 else "replace")


def _replace_characters(error: UnicodeError) -> tuple[str | bytes, int]:
    assert isinstance(error, UnicodeEncodeError)
    parts = [
        bytes([ord(char) - 0xDC00]) if "\udc80" <= char <= "\udcff" else b"?"
        for char in error.object[error.start : error.end]
    ]
    return b"".join(parts), error.end


def _help_topic(args: list[str]) -> list[str]:
    """`help vae` is `help train vae`."""
    if args and args[0] not in COMMANDS:
        from pinxit.models import list_families

        if args[0].lower() in list_families():
            return ["train", args[0].lower()]
    return args


def _dispatch(args: list[str]) -> int:
    if args[:1] == ["help"]:
        args = [*_help_topic(args[1:]), "--help"]
    if not args or args[0] in ("-h", "--help"):
        print(overview())
        return 0 if args else 2
    if args[0] in ("-V", "--version", "version"):
        from importlib.metadata import version

        print(f"pinxit {version('pinxit')}")
        return 0
    command, rest = args[0], args[1:]
    if command.startswith("-"):
        raise UsageError(
            f"the command comes first: pinxit COMMAND {shlex.join(args)}. See: pinxit --help"
        )
    if command not in COMMANDS:
        from pinxit.cli.suggest import unknown_command
        from pinxit.data.sources import list_source_names
        from pinxit.models import list_families

        rest = [arg for arg in rest if arg not in ("-h", "--help")]
        raise unknown_command(command, COMMANDS, list_families(), list_source_names(), rest)
    module = importlib.import_module(COMMANDS[command][0])
    if special := getattr(module, f"{command}_command", None):
        return special(rest)  # the options of `train` depend on the family
    from pinxit.cli.parse import run_command

    return run_command(command, getattr(module, command), rest)
