"""Download a run from the Hugging Face Hub: the files that a model needs, and no pickle."""

from __future__ import annotations

from pathlib import Path

from pinxit.console import echo
from pinxit.errors import PinxitError
from pinxit.extras import require_extra
from pinxit.hub.contents import PRIORS, WEIGHTS
from pinxit.hub.failures import describe_failure, explain_failure
from pinxit.hub.names import HubName, parse_hub_name
from pinxit.runs import FITTED_FILE, Run

# what a model and its display need, by name: nothing else is downloaded
FILES = (
    *("config.json", WEIGHTS, FITTED_FILE, *PRIORS, "metrics.csv", "examples.json"),
    *("evaluation.json", "evaluation-validation.json", "evaluation-train.json"),
    *("evaluation-all.json", "samples/*.png", "samples/titles.json", "samples/captions.txt"),
)
# files that run code when they are loaded
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill")
MAX_NAMED = 3


def download(name: str) -> Path:
    """Download a run, unless it is in the hub's cache, and return its folder.

    A pickle in the repository is not downloaded, which is said; a repository with one in place of
    a run is refused. Raises UsageError for a name of another form, PinxitError if it cannot be
    downloaded, or if it is not a run.
    """
    target = parse_hub_name(name)
    require_extra("hub", name)
    with explain_failure(f"{target} cannot be downloaded", target.repo_id):
        folder, pickles = _download(target)
    if not (folder / "config.json").is_file() or not (folder / WEIGHTS).is_file():
        missing = "config.json" if not (folder / "config.json").is_file() else WEIGHTS
        hint = f"\nIt has {_name(pickles)}: pickles, which can run code, are not loaded."
        raise PinxitError(
            f"{target} is not a run of pinxit: it has no {missing}.{hint if pickles else ''}"
        )
    if pickles:
        echo(f"{target} also has {_name(pickles)}: pickles, which can run code; not downloaded")
    try:
        Run(folder).check()
    except PinxitError as error:
        text = str(error).replace(str(folder / "config.json"), f"config.json of {target}")
        raise error.with_text(text.replace(str(folder), str(target))) from None
    return folder


def _download(target: HubName) -> tuple[Path, list[str]]:
    """Return the folder of a snapshot, and the names of the pickles of the repository.

    Without a network it is the last one that was downloaded, whose other files are not known.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RevisionNotFoundError,
    )

    names: list[str] | None = None
    reason = ""
    try:
        info = HfApi().model_info(target.repo_id, revision=target.revision)
        names = [sibling.rfilename for sibling in info.siblings or []]
    except RevisionNotFoundError:
        raise
    except HfHubHTTPError as error:
        if error.response.status_code < 500 and error.response.status_code != 429:
            raise
        reason = describe_failure(error, target.repo_id) or ""
    except OfflineModeIsEnabled:
        reason = "HF_HUB_OFFLINE is set."
    except Exception as error:
        if not (reason := describe_failure(error, target.repo_id) or ""):
            raise
    try:
        folder = snapshot_download(
            target.repo_id,
            revision=target.revision,
            allow_patterns=list(FILES),
            local_files_only=names is None,
        )
    except LocalEntryNotFoundError:
        if names is not None or not reason:
            raise
        raise PinxitError(f"{target} cannot be downloaded, and was not before: {reason}") from None
    if reason:
        echo(f"{target}: {reason.splitlines()[0]} Using the last download.")
    return Path(folder), [name for name in names or [] if name.lower().endswith(PICKLES)]


def _name(files: list[str]) -> str:
    shown, more = files[:MAX_NAMED], len(files) - MAX_NAMED
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
