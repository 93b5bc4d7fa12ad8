"""The last slide: what is wrong with these images, and why."""

from __future__ import annotations

import numpy as np

from pinxit.models.levels import has_posterior_density
from pinxit.models.likelihood_protocols import has_point_posterior
from pinxit.reports.context import ReportContext
from pinxit.reports.explanation import explanation
from pinxit.reports.formatting import format_number
from pinxit.reports.lecture.slide import Slide, locate
from pinxit.reports.sections import inline_shrunk
from pinxit.reports.why_blurry import EncodedImages, decompose_error

TITLE = "What’s the issue here? Why?"


def issue(context: ReportContext) -> Slide | None:
    """Show how much detail is missing, and lead to the sections that say why."""
    encoded = EncodedImages.from_context(context)
    if encoded is None or not encoded.suffice:
        return None
    explained = explanation(context)
    mse, decoded = context.reconstruction_mse, context.reconstructions
    assert mse is not None
    assert decoded is not None
    assert context.subset is not None
    row = int(np.argsort(mse)[len(mse) // 2])
    images = [("an image", context.subset.pixels[row]), ("decoded", decoded.pixels[row])]
    if context.samples is not None:
        images.append(("a sample", context.samples.pixels[0]))
    values = {
        "images": [(text, inline_shrunk(pixels, text)) for text, pixels in images],
        "sharpness": {kind: format_number(v, 2) for kind, v in context.sharpness.items()},
        "rate": None
        if has_point_posterior(context.model)
        else format_number(float(encoded.elbo_terms.rate.sum(1).mean()), 3),
        "command": f"pinxit explain {context.run.shell_path}",
        "causes": [] if explained is None else explained.values["causes"],
        "doubt": bool(context.quality_warnings),
        "is_explained": has_posterior_density(context.model),
    }
    return Slide("issue", TITLE, values, (locate(decompose_error),))
