"""The report of a run: one self-contained HTML file, written from the run folder.

A section appears if the model has the ability it needs (`models/protocols.py`) and the data is
available; the head of the page lists what is missing and how to get it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pinxit.data.atomic_write import write_atomically
from pinxit.data.home_folder import expand_home
from pinxit.errors import UsageError
from pinxit.runs import Run

if TYPE_CHECKING:
    from pinxit.data.images import Images


def report(
    run: str | Path | Run,
    out: str | Path | None = None,
    *,
    images: Images | None = None,
    umap: bool = False,
    live: bool = False,
) -> Path:
    """Write the report of a run and return its path: `out`, or `report.html` in the run folder.

    `images` is the run's data if it is loaded already; otherwise it is loaded from the source in
    config.json. `umap` adds a map of the latents by UMAP (ten seconds or more); `live` the decoder,
    which runs in the page (5 MB more). Raises UsageError if there is no such run, or no decoder of
    latents for `live`; PinxitError if the extra of an option is not installed.
    """
    from pinxit.reports.context import (
        load_context,  # imports torch, which `pinxit compare` does not need
    )
    from pinxit.reports.page import build_sections, render_page

    run = run if isinstance(run, Run) else Run(Path(run))
    path = run.path / "report.html" if out is None else expand_home(out)
    if path.is_dir():
        raise UsageError(f"{path} is a folder. Name the file to write, e.g. {path}/report.html.")
    context = load_context(run, images, umap=umap, live=live)
    return write_atomically(path, render_page(context, build_sections(context)))
