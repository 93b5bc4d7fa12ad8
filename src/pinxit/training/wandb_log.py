"""Curves, images and options in Weights & Biases.

A run is a run there too: its id is in RUN/wandb.json, so that a resumed training goes on in it.
Without a login, or where the server does not answer, the files are kept in RUN/wandb and
`wandb sync` sends them. Of the machine and of the code nothing is recorded but the versions of
Python and wandb.
"""

from __future__ import annotations

import netrc
import os
import secrets
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pinxit.data.typed_json import read_json
from pinxit.errors import PinxitError
from pinxit.runs import Run

if TYPE_CHECKING:
    import wandb

PROJECT = "pinxit"  # unless WANDB_PROJECT names another
RECORD = "wandb.json"
INIT_SECONDS = 30.0  # for the server to answer
FINISH_SECONDS = 60.0  # for the last values to be sent
API_HOST = "api.wandb.ai"


class WandbLog:
    """A run of Weights & Biases. Raises an error of `wandb` if it cannot be started."""

    def __init__(self, run: Run, config: Mapping[str, Any], say: Callable[[str], None]) -> None:
        import wandb

        os.environ.setdefault("WANDB_SILENT", "true")
        mode, reason = os.environ.get("WANDB_MODE") or None, ""
        if mode is None and not _has_login():
            mode, reason = "offline", "no login (wandb login, or WANDB_API_KEY); "
        try:
            self.run = _start(wandb, run, config, mode)
        except wandb.Error as error:
            if mode == "offline":
                raise
            reason = f"{next(iter(str(error).splitlines()), 'no connection')[:120].rstrip('.')}; "
            mode, self.run = "offline", _start(wandb, run, config, "offline")
        if mode == "offline":
            files = f"{shlex.quote(str(run.path / 'wandb'))}/offline-run-*"
            say(f"wandb: {reason}kept on disk, to send it: wandb sync {files}")
        elif self.run.url:
            say(f"wandb: {self.run.url}")

    def append(self, row: Mapping[str, float], step: int) -> None:
        """Write a value of each curve; those of a step that it has already are left out there."""
        self.run.log(dict(row), step=step)

    def append_images(self, files: Mapping[str, Path], step: int) -> None:
        """Write PNG files as images."""
        import wandb

        self.run.log({name: wandb.Image(str(file)) for name, file in files.items()}, step=step)

    def describe(self, config: Mapping[str, Any]) -> None:
        """The options are written at the start."""

    def close(self) -> None:
        self.run.finish()


def _start(wandb: Any, run: Run, config: Mapping[str, Any], mode: str | None) -> wandb.Run:
    """Start a run, or go on with the one of RUN/wandb.json."""
    record = _read_record(run)
    owner = run.owner
    name = run.name if owner is run else f"{owner.name}/{run.name}"
    started = wandb.init(
        project=record["project"],
        id=record["id"],
        name=name,
        mode=mode or None,
        dir=str(run.path),
        config=dict(config),
        reinit="create_new",
        resume=None if mode == "offline" else "allow",
        settings=wandb.Settings(
            silent=True, console="off", disable_git=True, disable_code=True, host="",
            program="pinxit", x_disable_meta=True, x_disable_stats=True, x_save_requirements=False,
            init_timeout=INIT_SECONDS, finish_timeout=FINISH_SECONDS, finish_timeout_raises=True,
        ),
    )  # fmt: skip
    run.write(RECORD, record)
    return started


def _read_record(run: Run) -> dict[str, str]:
    """Return the id and the project of a run: new ones, if it has none yet."""
    project = os.environ.get("WANDB_PROJECT") or PROJECT
    try:
        record = read_json(run.path / RECORD)
        return {"id": str(record["id"]), "project": str(record["project"])}
    except (OSError, PinxitError, KeyError, TypeError):
        return {"id": secrets.token_hex(6), "project": project}


def _has_login() -> bool:
    """Return whether wandb would find a key; it asks for one at the terminal otherwise."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "")).hostname or API_HOST
    names = [os.environ.get("NETRC"), "~/.netrc", "~/_netrc"]
    for file in (Path(name).expanduser() for name in names if name):
        try:
            if file.is_file() and netrc.netrc(file).authenticators(host):
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False
