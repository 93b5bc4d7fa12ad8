"""The command line: the only place that knows every room, and it is thin.

`pinxit --help` is answered from the table below alone; a command's module is imported when it is
called, torch only when it runs.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from pinxit.errors import PinxitError, did_you_mean

# command -> (module, what it does); the module has a function of the command's name
COMMANDS = {
    "train": ("pinxit.cli.train", "a model from images, in a time you choose"),
    "sample": ("pinxit.cli.sample", "new images out of nothing"),
    "reconstruct": ("pinxit.cli.sample", "images through the model and back, beside the originals"),
    "draw": ("pinxit.cli.draw", "an image from words"),
    "edit": ("pinxit.cli.draw", "an image changed as words say"),
    "caption": ("pinxit.cli.caption", "images in words"),
    "translate": ("pinxit.cli.caption", "words in another language"),
    "complete": ("pinxit.cli.complete", "the missing part of images, painted"),
    "interpolate": ("pinxit.cli.latents", "the way from one image, or seed, to another"),
    "traverse": ("pinxit.cli.latents", "what each of the most active latents does"),
    "embed": ("pinxit.cli.embed", "a vector for each image, as parquet"),
    "score": ("pinxit.cli.embed", "log-likelihood of each image, most unusual first"),
    "evaluate": ("pinxit.cli.evaluate", "how good a run is: a table and evaluation.json"),
    "compare": ("pinxit.cli.compare", "the figures of several runs side by side, or as a curve"),
    "report": ("pinxit.cli.evaluate", "one HTML page that shows a run"),
    "serve": ("pinxit.cli.serve", "runs behind the OpenAI API, and a page to play with them"),
    "mcp": ("pinxit.cli.serve", "runs as tools of the Model Context Protocol"),
    "look": ("pinxit.cli.data", "a contact sheet of images, and what is known of them"),
    "sources": ("pinxit.cli.data", "what DATA may be, with examples"),
}


def overview() -> str:
    """The page that `pinxit --help` prints."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: pinxit COMMAND ... [--debug]",
            "",
            "Turns a folder of images into a model that paints.",
            "",
            *lines,
            "",
            "  pinxit COMMAND --help    its options",
            "  pinxit --version         the version",
            "",
            "first steps: pinxit train vae digits --minutes 0.2",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 a failure, 2 bad usage, 130 interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    # a thread that waits for its turn beside other programs' work: by GNU OpenMP's own 300,000
    # turns a training step took 210 ms beside two busy processes on two cores, so 7 (alone 2)
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        return _dispatch(words)
    except PinxitError as error:
        if debug:
            raise
        print(f"pinxit: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("pinxit: interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, `head` say, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        if debug:
            raise
        first = (str(error).splitlines() or [""])[0]
        print(
            f"pinxit: {type(error).__name__}: {first}\n"
            "pinxit: this should not happen; --debug shows where.",
            file=sys.stderr,
        )
        return 1


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return 0 if words else 2
    if words[0] in ("-V", "--version"):
        from importlib.metadata import version

        print(f"pinxit {version('pinxit')}")
        return 0
    name, rest = words[0], words[1:]
    if name not in COMMANDS:
        print(
            f"pinxit: no command '{name}'.{did_you_mean(name, COMMANDS)} See: pinxit --help",
            file=sys.stderr,
        )
        return 2
    module = importlib.import_module(COMMANDS[name][0])
    # a command may have a front of its own, for words that choose its options (`train FAMILY`)
    front = getattr(module, f"{name}_command", None)
    if front is not None:
        return front(rest) or 0

    import tyro

    from pinxit.cli.common import PARSE

    return tyro.cli(getattr(module, name), args=rest, prog=f"pinxit {name}", **PARSE) or 0
