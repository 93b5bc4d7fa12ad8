"""The page that shows a run: one HTML file, made from the run folder, that opens anywhere.

Its sections appear by what the model can do (`models/contract.py`), by what was measured and by
what can be opened; whatever is missing is named at the top, with what to do about it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pinxit.data.atomic_write import write_atomically
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
) -> Path:
    """Write the page of a run and return its path: `out`, or `report.html` in the run's folder.

    `images` are the run's data where they are at hand; else they are opened from what
    config.json says, and without them all is shown that does not need them. `umap` adds a map of
    the latents by UMAP to the one by PCA (ten seconds or more). Raises UsageError where there is
    no such run, PinxitError where UMAP is asked for and not installed.
    """
    from pinxit.reports.attention_maps import attended
    from pinxit.reports.context import open_material
    from pinxit.reports.inpainting import completed, generative
    from pinxit.reports.latents import mapped, priced, traversed
    from pinxit.reports.layer_probe import layered
    from pinxit.reports.metrics_table import judged, repeated
    from pinxit.reports.outliers import unusual
    from pinxit.reports.page import render
    from pinxit.reports.reconstructions import reconstructed
    from pinxit.reports.samples import painted
    from pinxit.reports.sections import Maker
    from pinxit.reports.spectrum import sharp
    from pinxit.reports.text_and_images import worded
    from pinxit.reports.training_curves import trained
    from pinxit.reports.why_blurry import blurry

    run = run if isinstance(run, Run) else Run(Path(run))
    path = run.path / "report.html" if out is None else Path(out)
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name the HTML file to write, as {path}/report.html.")
    material = open_material(run, images, umap=umap)
    makers: tuple[Maker, ...] = (
        *(painted, worded, attended, reconstructed, completed, generative, blurry),
        *(sharp, traversed, mapped, priced),
        *(layered, unusual, judged, trained, repeated),
    )
    sections = [section for make in makers if (section := make(material)) is not None]
    return write_atomically(path, render(material, sections))
