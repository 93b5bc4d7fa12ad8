"""Runs on the Hugging Face Hub: `hf:owner/name`."""

from __future__ import annotations

import re
from pathlib import Path

from pinxit import runs
from pinxit.errors import PinxitError, UsageError
from pinxit.extras import require_extra

PREFIX = "hf:"
# what a model and its display need; a checkpoint is not downloaded
FILES = ("*.json", "*.safetensors", "metrics.csv", "README.md", "samples/*", "report.html")
NOT_NEEDED = ("checkpoint/*", "tensorboard/*")


def find_run(run: runs.Run | str | Path) -> Path:
    """Return the folder of a run: a run, a path, or `hf:owner/name`, which is downloaded.

    Raises UsageError for a folder that does not exist, PinxitError if nothing can be downloaded.
    """
    if isinstance(run, runs.Run):
        return run.path
    text = str(run)
    if text.startswith(PREFIX):
        return download(text)
    path = Path(text).expanduser()
    if not path.exists():
        raise UsageError(f"no run at {path}: no such folder.{_suggest(path)}")
    return path


def _suggest(path: Path) -> str:
    """Return the run of a similar name, or that it may be a name of the hub."""
    if hint := runs.suggest_run(path):
        return hint
    if not path.parent.is_dir() and re.fullmatch(r"[\w.-]+/[\w.-]+", path.as_posix()):
        return f" A model of the Hugging Face Hub is {PREFIX}{path.as_posix()}."
    return " List your runs with: pinxit.list_runs()"


def download(name: str) -> Path:
    """Download a run from the hub, unless it is in the hub's cache, and return its folder.

    Raises UsageError for a name of another form, PinxitError if it cannot be downloaded.
    """
    match = re.fullmatch(rf"{PREFIX}([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", name)
    if match is None:
        raise UsageError(f"a model of the hub is hf:owner/name or hf:owner/name@REV, not '{name}'.")
    require_extra("hub", name)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            match[1],
            revision=match[2],
            allow_patterns=list(FILES),
            ignore_patterns=list(NOT_NEEDED),
        )
    except LocalEntryNotFoundError:
        raise PinxitError(
            f"{name} cannot be downloaded: there is no network, and no earlier download."
        ) from None
    except HfHubHTTPError as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise PinxitError(f"{name} cannot be downloaded: {reason}.") from None
    except OSError as error:
        raise PinxitError(f"{name} cannot be downloaded: {error.strerror or error}.") from None
    if not (Path(folder) / "config.json").is_file():
        raise PinxitError(f"{name} is not a run of pinxit: it has no config.json.")
    return Path(folder)
