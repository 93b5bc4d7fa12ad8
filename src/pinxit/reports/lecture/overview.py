"""The overview slide: from image to image through z, the two things to minimize, and the KL."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from pinxit.models.levels import has_gaussian_posterior
from pinxit.models.likelihood_protocols import HasPixelLikelihood
from pinxit.models.protocols import CanEncode, HasELBO, HasPrior
from pinxit.models.results import Posterior
from pinxit.nn.rng import per_image_normal
from pinxit.reports.context import ReportContext
from pinxit.reports.formatting import format_number
from pinxit.reports.lecture.slide import Slide, locate
from pinxit.reports.lecture.vectors import MAX_BARS, draw_vector
from pinxit.reports.sections import inline_shrunk
from pinxit.reports.training_curves import draw_column
from pinxit.sampling.inputs import labels_for

TITLE = "image → encoder → (μ, σ) → z → decoder → image: minimize 1, minimize 2"
NUM_TERM_ROWS = 6  # latents whose terms are listed
MIN_LIMIT = 2.0  # of the bars of z


def overview(context: ReportContext) -> Slide | None:
    """Show the run's own tensors and sizes, the two curves, and the KL term by term."""
    model, images, posterior = context.model, context.subset, context.posterior
    if not has_gaussian_posterior(model):
        return None
    if not isinstance(model, CanEncode) or images is None or posterior is None:
        return None
    terms, mse = context.elbo_terms, context.reconstruction_mse
    if not isinstance(model, HasELBO) or terms is None or mse is None:
        return None
    row = int(np.argsort(mse)[len(mse) // 2])
    one = posterior.take(np.array([row]))
    own = Posterior(one.mean[0], one.std[0])
    order = np.argsort(-terms.rate[row], kind="stable")
    eps = per_image_normal(1, (model.latent_dim,), 0).numpy()[0]
    is_point = bool(getattr(model, "has_point_posterior", False))
    z = own.mean if is_point else one.draw(eps[None])[0][0]
    decoded = model.decode(z[None].astype(np.float32), labels_for(model, images[row]))
    limit = max(float(np.abs([own.mean, z]).max()), MIN_LIMIT)
    learned = isinstance(model, HasPrior) and model.prior_is_learned
    learned = learned or not posterior.is_gaussian
    values = {
        "x": inline_shrunk(images.pixels[row], "The image x"),
        "decoded": inline_shrunk(decoded.pixels[0], "The decoded image"),
        "image_shape": " × ".join(map(str, images.pixels.shape[1:])),
        "dims": context.run.info.dims,
        "latent_shape": " × ".join(map(str, model.latent_shape)),
        "latent_dim": model.latent_dim,
        "networks": _describe_networks(model),
        "mean": draw_vector(own.mean[order], "μ of each latent", limit),
        "std": draw_vector(own.std[order], "σ of each latent", 1.0, color=1, signed=False),
        "z": draw_vector(z[order], "z, sampled", limit, color=4),
        "num_bars": min(MAX_BARS, model.latent_dim),
        "curves": _draw_curves(context),
        "distortion": format_number(float(terms.distortion[row]), 4),
        "rate": format_number(float(terms.rate[row].sum()), 3),
        "mean_distortion": format_number(float(terms.distortion.mean()), 4),
        "mean_rate": format_number(float(terms.rate.sum(1).mean()), 3),
        "terms": [] if learned or is_point else list_kl_terms(own, order),
        "is_point": is_point,
        "distortion_kind": classify_distortion(model),
        "beta": format_number(float(context.model_options.get("beta", 1.0)), 2),
    }
    code = [locate(type(model).loss), locate(type(model).elbo)]
    code += [network["code"] for network in values["networks"].values()]
    return Slide("overview", TITLE, values, tuple(code))


def classify_distortion(model: HasELBO) -> str:
    """Return what -log p(x|z) is: of a "probability", or a "bound" of that; "" if unknown.

    A Gaussian is the density of 8-bit values with noise u: by Jensen's inequality the mean of
    -log p(x + u) over u is at least that of the probability of the values (Theis 2015, sec. 3.1).
    """
    if not isinstance(model, HasPixelLikelihood):
        return ""
    if model.decoder_sigma is None:
        return "probability" if model.binary_pixels or model.eight_bit else ""
    return "bound" if model.eight_bit else ""


def _describe_networks(model: object) -> dict[str, dict[str, Any]]:
    """Return name, size and place of the encoder and the decoder."""
    assert isinstance(model, nn.Module)
    return {
        key: {
            "name": type(network).__name__,
            "size": sum(parameter.numel() for parameter in network.parameters()),
            "code": locate(type(network).forward),
        }
        for key, network in model.named_children()
        if key in ("encoder", "decoder")
    }


def _draw_curves(context: ReportContext) -> list[tuple[str, Any]]:
    rows = context.run.metrics()
    names = (("minimize 1: reconstruction", "reconstruction"), ("minimize 2: KL", "kl"))
    charts = [(title, draw_column(rows, name, "step")) for title, name in names]
    return [(title, chart) for title, chart in charts if chart is not None]


def list_kl_terms(posterior: Posterior, order: np.ndarray) -> list[dict[str, str]]:
    """Return the terms of KL(q(z|x) || N(0, I)) by latent, those of the others, and the sum.

    ½ Σ (exp(s) − (1 + s) + μ²) with s = log σ² (Kingma & Welling 2013, app. B), in nats.
    """
    mean, s = posterior.mean.astype(np.float64), 2 * np.log(posterior.std.astype(np.float64))
    columns = np.stack([np.exp(s), -(1 + s), mean**2, 0.5 * (np.exp(s) - (1 + s) + mean**2)])
    shown, others = order[:NUM_TERM_ROWS], order[NUM_TERM_ROWS:]
    rows = [
        _format_terms(f"z{i}", columns[:, i], float(mean[i]), float(s[i])) for i in shown.tolist()
    ]
    if len(others):
        name = f"{len(others)} other{'s' if len(others) > 1 else ''}"
        rows.append(_format_terms(name, columns[:, others].sum(1)))
    return [*rows, _format_terms("sum", columns.sum(1))]


def _format_terms(
    name: str, terms: np.ndarray, mean: float | None = None, s: float | None = None
) -> dict[str, str]:
    variance, rest, square, kl = (_format_fixed(value) for value in terms.tolist())
    return {
        "name": name,
        "mean": "" if mean is None else _format_fixed(mean),
        "s": "" if s is None else _format_fixed(s),
        "variance": variance,
        "rest": rest,
        "square": square,
        "kl": kl,
    }


def _format_fixed(value: float) -> str:
    """Return a number with three decimals, which add up."""
    return f"{value + 0.0:,.3f}".replace("-", "−")
