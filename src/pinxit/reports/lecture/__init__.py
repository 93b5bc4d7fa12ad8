"""The section "In the lecture": a subsection for each slide that is about such a run."""

from __future__ import annotations

from pinxit.reports.context import ReportContext
from pinxit.reports.lecture.beta_curve import beta_curve
from pinxit.reports.lecture.decoding import decoding
from pinxit.reports.lecture.goal import goal
from pinxit.reports.lecture.issue import issue
from pinxit.reports.lecture.latent_plane import latent_plane
from pinxit.reports.lecture.live_decoder import live_decoder
from pinxit.reports.lecture.masking import masking
from pinxit.reports.lecture.overview import overview
from pinxit.reports.lecture.posterior_clouds import posterior_clouds
from pinxit.reports.lecture.prior_samples import prior_samples
from pinxit.reports.lecture.program import program
from pinxit.reports.lecture.row_of_tokens import row_of_tokens
from pinxit.reports.lecture.search_for_z import search_for_z
from pinxit.reports.lecture.slide import SlideBuilder
from pinxit.reports.sections import Section

# in the order of the lecture
SLIDES: tuple[SlideBuilder, ...] = (
    decoding,
    program,
    row_of_tokens,
    masking,
    goal,
    prior_samples,
    search_for_z,
    posterior_clouds,
    latent_plane,
    live_decoder,
    overview,
    beta_curve,
    issue,
)


def lecture(context: ReportContext) -> Section | None:
    """Show the slides with figures of this run."""
    slides = [slide for build in SLIDES if (slide := build(context)) is not None]
    return Section("lecture", "In the lecture", {"slides": slides}) if slides else None
