"""The slide on the search for z: gradient descent for one image beside the encoder's answer."""

from __future__ import annotations

import itertools

import numpy as np

from pinxit.data.images import Images
from pinxit.models.levels import has_gaussian_posterior
from pinxit.models.likelihood_protocols import HasMeanImage
from pinxit.models.protocols import CanEncode
from pinxit.nn.rng import per_image_normal
from pinxit.reports.charts import Curve, draw_line_chart
from pinxit.reports.context import ReportContext
from pinxit.reports.formatting import format_number, format_seconds
from pinxit.reports.images import InlineImage
from pinxit.reports.lecture.slide import Slide, locate
from pinxit.reports.sections import inline_shrunk
from pinxit.sampling.inputs import labels_for
from pinxit.sampling.latent_search import EncoderAnswer, LatentSearch, encode_image, search_latents
from pinxit.sampling.prior_noise import from_noise

TITLE = "For every training image there must be a z with ‖decoder(z) − x‖ < ε. How to find it?"
NUM_OTHER_STARTS = 3  # samples of the prior, beside its mean
MIN_STEPS, MAX_STEPS = 30, 200  # of gradient descent
MAX_STEP_VALUES = 200_000  # pixel values that the search decodes for one start
SHOWN_SHARES = (0.01, 0.05, 0.2)  # of the steps, after which the decoded z is shown


def search_for_z(context: ReportContext) -> Slide | None:
    """Find the z of an image by gradient descent, and compare error and time with the encoder's."""
    model, images, mse = context.model, context.subset, context.reconstruction_mse
    if not isinstance(model, CanEncode) or not isinstance(model, HasMeanImage):
        return None
    if not has_gaussian_posterior(model) or not model.mean_is_differentiable:
        return None
    if images is None or mse is None:
        return None
    image = images[int(np.argsort(mse)[len(mse) // 2])]
    num_steps = int(np.clip(MAX_STEP_VALUES // context.run.info.dims, MIN_STEPS, MAX_STEPS))
    noise = per_image_normal(NUM_OTHER_STARTS, (model.latent_dim,), 0).numpy()
    mean = np.zeros((1, model.latent_dim), np.float32)
    encode_image(model, image)  # the first call is slower
    answer = encode_image(model, image)
    search = search_latents(model, image, from_noise(model, mean), num_steps)
    others = search_latents(model, image, from_noise(model, noise), num_steps)
    ends = np.concatenate([search.z[-1], others.z[-1]])
    samples = (answer.z + answer.std * noise).astype(np.float32)
    sample_errors = search_latents(model, image, samples, 0).errors[0]
    steps = search.steps_to(answer.error)
    num_train = context.run.info.num_images
    values = {
        "chart": _draw_errors(search, answer),
        "images": _show_images(model, image, search, answer),
        "num_steps": num_steps,
        "error": format_number(float(search.errors[-1, 0]), 3),
        "first_error": format_number(float(search.errors[0, 0]), 3),
        "encoder_error": format_number(answer.error, 3),
        "rmse": format_number(_to_grey_levels(answer.error, context.run.info.dims), 2),
        "epsilon": format_number(min(float(search.errors[-1].min()), answer.error), 3),
        "steps_to_encoder": steps,
        "encoder_time": format_seconds(answer.seconds),
        "search_time": format_seconds(search.seconds),
        "time_of_all": format_seconds(search.seconds * num_train),
        "num_train": num_train,
        "other_errors": _join(others.errors[-1]),
        "distance": format_number(_mean_distance(ends), 2),
        "sample_errors": _join(sample_errors),
        "sample_distance": format_number(_mean_distance(samples), 2),
    }
    code = (locate(search_latents), locate(type(model).encode), locate(type(model).mean_image))
    return Slide("search_for_z", TITLE, values, code)


def _to_grey_levels(error: float, dims: int) -> float:
    """Return ||x - y||, pixels from 0 to 1, as a root mean squared error of 255."""
    return 255 * error / dims**0.5


def _draw_errors(search: LatentSearch, answer: EncoderAnswer) -> str:
    """Draw the error over the time that it takes."""
    milliseconds = np.linspace(0, 1000 * search.seconds, search.num_steps + 1)
    end = max(float(milliseconds[-1]), 2000 * answer.seconds)
    curves = [
        Curve("gradient descent", milliseconds.tolist(), search.errors[:, 0].tolist(), 0),
        Curve("encoder", [1000 * answer.seconds, end], [answer.error] * 2, 1, dashed=True),
    ]
    return draw_line_chart(
        curves,
        label="Error of gradient descent on z over time, and that of the encoder's answer",
        x_title="milliseconds",
        y_title="‖decoder(z) − x‖",
    )


def _show_images(
    model: CanEncode, image: Images, search: LatentSearch, answer: EncoderAnswer
) -> list[tuple[str, InlineImage]]:
    """Return the image, the decoded z after some steps, and the encoder's answer."""
    steps = [0, *(max(1, round(share * search.num_steps)) for share in SHOWN_SHARES)]
    steps = sorted({*steps, search.num_steps})
    z = np.concatenate([search.z[steps, 0], answer.z[None]])
    labels = labels_for(model, image)
    decoded = model.decode(z, None if labels is None else labels.repeat(len(z))).pixels
    titles = [f"after {step} steps" if step else "start" for step in steps] + ["encoder’s z"]
    titles = [title.replace("after 1 steps", "after 1 step") for title in titles]
    shown = zip(["x", *titles], [image.pixels[0], *decoded], strict=True)
    return [(title, inline_shrunk(pixels, f"Image: {title}")) for title, pixels in shown]


def _join(errors: np.ndarray) -> str:
    return ", ".join(format_number(error, 3) for error in errors.tolist())


def _mean_distance(points: np.ndarray) -> float:
    pairs = itertools.combinations(points, 2)
    return float(np.mean([np.linalg.norm(a - b) for a, b in pairs]))
