"""Errors of the Hugging Face Hub and of the connection to it, as one or two lines."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from pinxit.errors import PinxitError, describe_os_error
from pinxit.notebook import in_notebook

# packages whose errors are those of a connection
TRANSPORTS = {"httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3", "hf_xet", "ssl"}
LOG_IN = "hf auth login, or HF_TOKEN"


@contextmanager
def quiet_hub() -> Iterator[None]:
    """Print the hub's bars in a terminal or a notebook only, and none of its warnings."""
    from huggingface_hub import utils
    from huggingface_hub.utils import logging

    level, hides = logging.get_verbosity(), not (in_notebook() or sys.stderr.isatty())
    hides = hides and not utils.are_progress_bars_disabled()
    logging.set_verbosity_error()
    if hides:
        utils.disable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if hides:
            utils.enable_progress_bars()


@contextmanager
def explain_failure(what: str, repo_id: str) -> Iterator[None]:
    """Turn errors of the hub into PinxitError; `what` begins it, such as "X is not published"."""
    try:
        with quiet_hub():
            yield
    except PinxitError:
        raise
    except Exception as error:  # each of several libraries has its own
        reason = describe_failure(error, repo_id)
        if reason is None:
            raise
        raise PinxitError(f"{what}: {reason}") from None


def describe_failure(error: BaseException, repo_id: str) -> str | None:
    """Return what is wrong and what to do; None for an error that is not the hub's."""
    from huggingface_hub import errors

    if isinstance(error, errors.LocalTokenNotFoundError):
        return f"there is no login. Log in first: {LOG_IN}."
    if isinstance(error, errors.GatedRepoError):
        return (
            f"access is granted by its owner only.\nAsk for it at https://huggingface.co/{repo_id},"
            f" then log in: {LOG_IN}."
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"{repo_id} is not on the Hub, or it is private (then log in: {LOG_IN})."
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{repo_id} has no such branch, tag or commit."
    if isinstance(error, errors.LocalEntryNotFoundError):
        cause = error.__cause__
        if isinstance(cause, errors.HfHubHTTPError):
            return describe_failure(cause, repo_id)
        return "there is no network, and no earlier download."
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set: unset it to reach the Hub."
    if isinstance(error, errors.HfHubHTTPError):
        return _describe_status(error.response.status_code, str(error), repo_id)
    if isinstance(error, RuntimeError) and error.__cause__ is not None:  # of an upload in a thread
        return describe_failure(error.__cause__, repo_id)
    if _is_transport(error):
        return f"the connection failed ({_first_line(error)}).\nTry again."
    if isinstance(error, OSError):
        if error.errno is None:
            return f"{_first_line(error)}.\nTry again."
        return describe_os_error(error)
    if isinstance(error, ValueError):  # what the hub says of the front matter, or of a file
        return f"{' '.join(str(error).split())[:200].rstrip('.')}."
    return None


def _describe_status(status: int, text: str, repo_id: str) -> str:
    """Return what an HTTP status means."""
    if status == 401:
        return f"the login is missing or not valid. Log in: {LOG_IN}."
    if status == 403:
        return f"you may not do that in {repo_id}.\nUse a token with the right to write: {LOG_IN}."
    if status == 404:
        return f"{repo_id} is not on the Hub, or it is private (then log in: {LOG_IN})."
    if status in (409, 412):
        return f"{repo_id} was changed at the same time.\nTry again."
    if status == 413:
        return "a file is larger than the Hub takes."
    if status == 429:
        return "the Hub's rate limit is reached.\nTry again in a few minutes."
    if status >= 500:
        return f"the Hub fails at the moment (status {status}).\nTry again later."
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return f"the Hub refuses it (status {status}): {line[:160].rstrip('.')}."


def _is_transport(error: BaseException) -> bool:
    modules = (kind.__module__.partition(".")[0] for kind in type(error).__mro__)
    return isinstance(error, ConnectionError | TimeoutError) or not TRANSPORTS.isdisjoint(modules)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "")[:160].rstrip(".") or type(error).__name__
