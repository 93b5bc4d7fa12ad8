"""The page: its sections, rendered by Jinja templates into one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version

from pinxit.reports.attention_maps import attention
from pinxit.reports.context import ReportContext
from pinxit.reports.explanation import explanation
from pinxit.reports.inpainting import inpainting
from pinxit.reports.is_generative import is_generative
from pinxit.reports.latents import kl_per_latent, latent_map, traversals
from pinxit.reports.layer_probe import layer_probe
from pinxit.reports.lecture import lecture
from pinxit.reports.levels import levels
from pinxit.reports.metrics_table import evaluation
from pinxit.reports.outliers import outliers
from pinxit.reports.reconstructions import reconstructions
from pinxit.reports.reproduce import reproduce
from pinxit.reports.samples import samples
from pinxit.reports.sections import Section, SectionBuilder
from pinxit.reports.spectrum import spectrum
from pinxit.reports.summary import collect_key_metrics, describe_run
from pinxit.reports.templating import create_environment
from pinxit.reports.text_and_images import captions
from pinxit.reports.training_curves import training_curves
from pinxit.reports.why_blurry import why_blurry

# in the order of the page
SECTIONS: tuple[SectionBuilder, ...] = (
    samples,
    captions,
    attention,
    reconstructions,
    levels,
    inpainting,
    is_generative,
    why_blurry,
    explanation,
    spectrum,
    traversals,
    latent_map,
    kl_per_latent,
    lecture,
    layer_probe,
    outliers,
    evaluation,
    training_curves,
    reproduce,
)


def build_sections(context: ReportContext) -> list[Section]:
    """Build the sections that the run has something to show in."""
    sections = (build(context) for build in SECTIONS)
    return [section for section in sections if section is not None]


def render_page(context: ReportContext, sections: Sequence[Section]) -> str:
    """Render one self-contained HTML document."""
    template = create_environment().get_template("page.html.j2")
    return template.render(
        name=context.run.name,
        version=version("pinxit"),
        created=datetime.now().strftime("%-d %B %Y, %H:%M"),
        verdict=context.verdict,
        lead=describe_run(context),
        key_metrics=collect_key_metrics(context),
        warnings=context.warnings,
        missing=context.missing,
        sections=sections,
    )
