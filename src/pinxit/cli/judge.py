"""`pinxit evaluate` and `pinxit report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg


def report(
    run: Annotated[Positional[Path], arg(metavar="RUN")],
    out: Annotated[Path | None, arg(aliases=("-o",))] = None,
    umap: bool = False,
) -> None:
    """One HTML page that shows a run; it opens without a network.

    Args:
        run: the run's folder
        out: the page; without it report.html in the run's folder
        umap: also a map of the latents by UMAP (needs umap-learn; takes ten seconds or more)
    """
    from pinxit.reports import report

    print(report(run, out, umap=umap))
