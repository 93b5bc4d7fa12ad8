"""The page of an explanation, `explain.html`: one self-contained file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np

from pinxit.data.images import Images
from pinxit.evaluation.causes import explain_state
from pinxit.evaluation.explain import Explainer
from pinxit.reports.charts import Curve, draw_bar_chart, draw_line_chart
from pinxit.reports.explain_measure import Explanation
from pinxit.reports.explain_terms import TERMS
from pinxit.reports.formatting import format_estimate, format_number
from pinxit.reports.images import InlineImage, inline_grid
from pinxit.reports.sections import MAX_THUMBNAIL_SIDE, inline_shrunk, shrink_images
from pinxit.reports.templating import create_environment

NUM_SHOWN = 8  # samples of each origin
RUN_MARK = 0.02  # of the range of rates: half the length of the bar that marks the run
MAX_RATIO = 2.0  # of a spectrum; more leaves the chart
ORIGINS = {
    "prior": "p(z), the prior of the run",
    "mixture": "a mixture of Gaussians fitted to the latents",
    "realnvp": "a RealNVP flow fitted to the latents",
    "posterior": "q(z|x) of training images: a perfect prior",
}
VARIANCES = (
    ("distortion_sigma_one", "σ = 1, fixed"),
    ("distortion_own_sigma", "σ of the run"),
    ("distortion_best_sigma", "the best single σ"),
    ("distortion_per_pixel", "a variance for each pixel"),
    ("distortion_per_frequency", "a variance for each frequency"),
)
PARTS = (
    ("mutual_information", "I(x; z)", "what z says about the image"),
    ("total_correlation", "total correlation", "latents depend on one another, p(z) says they do "
     "not"),
    ("dimension_wise_kl", "dimension-wise KL", "single latents are not N(0, 1)"),
)  # fmt: skip

Row = dict[str, Any]


def render_explanation(explanation: Explanation) -> str:
    """Render one self-contained HTML document."""
    record, explainer = explanation.record, explanation.explainer
    template = create_environment().get_template("explain/page.html.j2")
    return template.render(
        name=explanation.run.name,
        path=explanation.run.shell_path,
        version=version("pinxit"),
        created=datetime.now().strftime("%-d %B %Y, %H:%M"),
        state=record["state"],
        reason=explain_state(record["state"], explanation.verdict, record["metrics"]),
        causes=explanation.causes,
        warnings=record["warnings"],
        metrics=record["metrics"],
        cover=show_cover(explainer),
        likelihood=show_likelihood(record, explainer),
        rate=show_rate(record, explainer),
        prior=show_prior(record, explainer),
        remedies=explanation.remedies,
        trials=show_trials(record["trials"]),
        trial_steps=record["protocol"].get("trial_steps"),
        curve_steps=record["protocol"].get("curve_steps"),
        terms=TERMS,
        protocol=record["protocol"],
    )


# -- numbers ---------------------------------------------------------------------------------------


class Number(NamedTuple):
    """A value with the digits that its error supports, and its error, as text."""

    value: str
    error: str

    def __str__(self) -> str:
        return f"{self.value} {self.error}".rstrip()


def number_of(metrics: Mapping[str, Any], name: str, factor: float = 1.0) -> Number | None:
    """Return a metric as text; None if it was not measured."""
    value, error = metrics.get(name), metrics.get(f"{name}_error")
    if value is None:
        return None
    return Number(*format_estimate(factor * value, None if error is None else factor * error))


# -- sections --------------------------------------------------------------------------------------


def show_cover(explainer: Explainer) -> Row:
    """The training images at one z, their average, the decoder's answer and its noise."""
    cover, region, row = explainer.cover, explainer.region, explainer.cover.best
    images, z = explainer.queries

    def crop(pixels: np.ndarray) -> np.ndarray:
        return region.crop(pixels)

    nearest = explainer.covering_images.take(cover.nearest[row])
    tiles = [
        (f"weight {weight:.2f}", inline_shrunk(crop(nearest.pixels[[i]])[0], "Training image"))
        for i, weight in enumerate(cover.weights[row])
        if weight >= 0.005
    ]
    decoded = crop(explainer.query_outputs.pixels[[row]])[0]
    average = cover.averages[row].round().clip(0, 255).astype(np.uint8)
    answers = [
        ("average of all of them", inline_shrunk(average, "Average of these training images")),
        ("the decoder's answer", inline_shrunk(decoded, "Decoded z")),
        ("the test image of this z", inline_shrunk(crop(images.pixels[[row]])[0], "Test image")),
    ]
    noisy = explainer.draw_noise(np.repeat(z[[row]], 2, 0), images[[row, row]])
    if noisy is not None:
        answers[2:2] = [
            ("with its own noise", inline_shrunk(part, "Sample of p(x|z)"))
            for part in crop(noisy.pixels)
        ]
    return {
        "images": tiles,
        "answers": answers,
        "is_patch": region.is_patch,
        "effective": format_number(float(cover.effective_number[row]), 3),
        "median": format_number(float(np.median(cover.effective_number)), 3),
        "count": len(cover.effective_number),
        "num_train": len(explainer.train),
    }


def show_likelihood(record: Row, explainer: Explainer) -> Row:
    """Spectra of reconstructions, samples and errors; distortions under several variances."""
    metrics, curves = record["metrics"], record["curves"]
    ratios = [
        Curve(name, curves["frequencies"], np.minimum(curves[f"spectrum_{name}"], 1e3), color)
        for name, color in (("reconstructions", 0), ("samples", 1))
    ]
    errors = [Curve("errors x − f(z)", curves["error_frequencies"], curves["error_spectrum"], 2)]
    x = curves["error_frequencies"]
    errors.append(Curve("white noise", [x[0], x[-1]], [1.0, 1.0], 9, dashed=True))
    noise = explainer.noise_model
    return {
        "ratio_chart": draw_line_chart(
            ratios, label="Power of reconstructions and samples over that of the data",
            x_title="frequency, cycles per pixel", y_title="power, data = 1",
            y_range=(0.0, _top(ratios)),
        ),
        "ratio_curves": ratios,
        "error_chart": draw_line_chart(
            errors, label="Power of the errors over that of white noise",
            x_title="frequency, cycles per pixel", y_title="power, white noise = 1", log_y=True,
        ),
        "error_curves": errors,
        "calibration": number_of(metrics, "calibration"),
        "rows": [
            (text, number) for name, text in VARIANCES if (number := number_of(metrics, name))
        ],
        "sharpness": number_of(metrics, "sharpness_reconstructions"),
        "sigma": None if noise is None else format_number(noise.own_sigma, 3),
        "best_sigma": None if noise is None else format_number(noise.best_sigma, 3),
        "beta_of_one": None if noise is None else format_number(noise.beta_of_sigma_one, 2),
        "weight_at_one": None if noise is None else format_number(1 / noise.beta_of_sigma_one, 2),
        "binary": getattr(explainer.model, "binary_pixels", False),
        "pixels_depend": explainer.pixels_depend,
    }  # fmt: skip


def _top(curves: Sequence[Curve]) -> float:
    values = [value for curve in curves for value in curve.y if np.isfinite(value)]
    return min(MAX_RATIO, max([1.1, *values]))


def show_rate(record: Row, explainer: Explainer) -> Row:
    """Rate and distortion of the run, the KL of each latent, and the curve over beta."""
    metrics, per_latent = record["metrics"], record["curves"].get("kl_per_latent")
    chart = ""
    active, units = int(metrics["active_units"]), int(metrics["units"])
    unit = explainer.activity.unit
    if per_latent:
        order = sorted(range(len(per_latent)), key=lambda i: -per_latent[i])
        values = [per_latent[i] for i in order]
        colors = [0 if explainer.activity.active[i] else 9 for i in order]
        chart = draw_bar_chart(
            values, colors, label=f"KL of each {unit}, largest first",
            x_title=f"{unit}s, largest KL first", y_title="KL, nats",
        )  # fmt: skip
    return {
        "rate": number_of(metrics, "rate"),
        "distortion": number_of(metrics, "distortion"),
        "elbo": number_of(metrics, "elbo"),
        "active": active,
        "units": units,
        "unit": unit,
        "per_latent": ""
        if explainer.is_point
        else format_number(metrics["rate"] / explainer.model.latent_dim, 2),
        "chart": chart,
        **show_curve(record["curve"]),
    }


def show_curve(points: Sequence[Row]) -> Row:
    """The curve of distortion over rate, with the run's own point."""
    if not points:
        return {"curve_chart": "", "curve_rows": [], "curve_curves": []}
    trained = sorted((p for p in points if not p["is_run"]), key=lambda p: p["metrics"]["rate"])
    own = next(p for p in points if p["is_run"])["metrics"]
    rates = [p["metrics"]["rate"] for p in trained]
    curves = [
        Curve("short trainings", rates, [p["metrics"]["distortion"] for p in trained], 0),
    ]
    total = own["rate"] + own["distortion"]
    ends = [min(*rates, own["rate"]), max(*rates, own["rate"])]
    half = RUN_MARK * (ends[1] - ends[0])  # a short bar: a single point would be hidden
    mark = [own["rate"] - half, own["rate"] + half]
    curves.append(Curve("this run", mark, [own["distortion"]] * 2, 1))
    equal = [total - rate for rate in ends]
    curves.append(Curve("equal ELBO", ends, equal, 9, dashed=True))
    chart = draw_line_chart(
        curves, label="Distortion over rate", x_title="rate, nats per image",
        y_title="distortion, nats",
    )  # fmt: skip
    rows = [
        {
            "beta": "this run" if p["is_run"] else format_number(p["beta"], 3),
            **{
                name: number_of(p["metrics"], name)
                for name in ("rate", "distortion", "elbo", "sharpness_reconstructions",
                             "frechet_samples")
            },
            "active": int(p["metrics"]["active_units"]),
        }
        for p in sorted(points, key=lambda p: (p["beta"], not p["is_run"]))
    ]  # fmt: skip
    return {"curve_chart": chart, "curve_rows": rows, "curve_curves": curves}


def show_prior(record: Row, explainer: Explainer) -> Row:
    """The parts of the rate, and samples by where their z comes from, with their distances."""
    metrics = record["metrics"]
    rows = []
    for name, text in ORIGINS.items():
        rows.append(
            {
                "text": text,
                "image": _inline_samples(explainer.sets[name], text),
                "distance": number_of(metrics, f"frechet_{name}"),
                "closed": number_of(metrics, f"closed_by_{name}", 100),
                "gain": number_of(metrics, f"prior_gain_{name}"),
            }
        )
    limit = record["protocol"]["surgery_images"]
    is_bound = explainer.rate_parts is not None and explainer.rate_parts.is_bound
    return {
        "parts": [
            (text, _format_bound(name, metrics) if is_bound else number_of(metrics, name), meaning)
            for name, text, meaning in PARTS
            if limit is not None and metrics.get(name) is not None
        ],
        "rate": number_of(metrics, "surgery_rate"),
        "rows": rows,
        "train": number_of(metrics, "frechet_train"),
        "reconstructions": number_of(metrics, "frechet_reconstructions"),
        "share": number_of(metrics, "prior_share", 100),
        "gain": number_of(metrics, "prior_gain"),
        "marginal_kl": number_of(metrics, "marginal_kl"),
        "is_learned": not explainer.has_standard_prior,
        "is_point": explainer.is_point,
        "on_sphere": not explainer.posterior.has_lebesgue_density,
        "images": limit,
        "limit": None if limit is None else format_number(float(np.log(limit)), 3),
        "is_bound": is_bound,
        "is_grid": len(explainer.model.latent_shape) == 3,
    }


def _format_bound(name: str, metrics: Mapping[str, Any]) -> Number | None:
    """Return a part of the rate, with its direction where it is only a bound."""
    sign = {"mutual_information": "≥", "total_correlation": "≤"}.get(name)
    if sign is None:
        return number_of(metrics, name)
    return Number(f"{sign} {format_number(metrics[name], 3)}", "")


def _inline_samples(images: Images, alt: str) -> InlineImage:
    pixels = shrink_images(images[:NUM_SHOWN], MAX_THUMBNAIL_SIDE)
    return inline_grid(pixels, NUM_SHOWN, f"Samples, z from {alt}")


def show_trials(trials: Sequence[Row]) -> list[Row]:
    """The trials by measured gain, as text."""
    rows = []
    for trial in trials:
        gain = number_of({"gain": trial["gain"], "gain_error": trial["gain_error"]}, "gain")
        test = trial["test"]
        rows.append(
            {
                "text": trial["text"],
                "has_new_layers": trial["has_new_layers"],
                "gain": gain,
                "error": trial["error"],
                "command": trial["command"],
                "frechet": number_of(test, "frechet_samples"),
                "sharpness": number_of(test, "sharpness_reconstructions"),
                "elbo": number_of(test, "elbo"),
                "helps": trial["gain"] is not None
                and trial["gain"] > 2 * (trial["gain_error"] or 0.0),
            }
        )
    return rows
