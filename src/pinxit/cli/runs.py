"""`pinxit runs`: list the runs in a folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from pinxit import console
from pinxit.cli.common import Json
from pinxit.errors import UsageError

Folder = Annotated[Positional[Path], arg(metavar="[FOLDER]")]


def runs(folder: Folder = Path("runs"), json: Json = False) -> None:
    """List runs, the newest first.

    The score is the first metric of `pinxit evaluate`, or else the best validation loss.

    Examples:
        pinxit runs
        pinxit runs experiments/ --json

    Args:
        folder: folder that holds run folders
        json: print JSON
    """
    if not folder.is_dir() and folder != Path("runs"):
        raise UsageError(f"there is no folder {folder}.")
    from pinxit.reports.run_list import list_runs

    summaries = list_runs(folder)
    if json:
        console.out_json([dataclasses.asdict(summary) for summary in summaries])
        return
    if not summaries:
        console.out(f"no runs in {folder}. Train one with: pinxit train vae digits --minutes 0.2")
        return
    console.out(str(summaries))
