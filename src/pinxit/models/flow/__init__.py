"""Flow matching (Lipman 2022, "Flow Matching for Generative Modeling"): from noise to images.

    x_0 ~ N(0, I),  dx_t/dt = v(x_t, t, condition),  x_1 is a latent of an image

A transformer learns the velocity v (Peebles & Xie 2022) on the latents of a frozen VAE (Rombach
2021), so that "sample a Gaussian, decode" gives an image: the flow carries N(0, I) to where the
encodings of images lie.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinxit.data.batch import DatasetInfo
from pinxit.models import get_family
from pinxit.models.components import Component
from pinxit.models.flow.config import MAX_PIXEL_POSITIONS
from pinxit.models.flow.config import Config as Config
from pinxit.models.flow.prepare import prepare as prepare

if TYPE_CHECKING:
    from pinxit.models.export_parts import AnyPart
    from pinxit.models.flow.model import Flow

PUBLIC_NAME = "Flow"
# other kinds of models, to which this family is the nearest here
NEAR_KINDS = (
    "diffusion",
    "ddpm",
    "ddim",
    "ldm",
    "dit",
    "unet",
    "score",
    "stable-diffusion",
    "rectified-flow",
    "flow-matching",
    "gan",
    "dcgan",
    "wgan",
    "stylegan",
    "biggan",
    "glow",
    "realnvp",
)
SUMMARY = "Train a flow from noise to the latents of a VAE: new images, of captions or of labels."
EXAMPLES = (
    "pinxit train flow photos/ --minutes 10",
    "pinxit train flow captioned-photos/ --vae runs/photos-vae --minutes 10",
)
ABILITIES = ("sample", "invert", "score", "complete", "draw", "edit")
NEEDS = {"draw": "captions", "edit": "captions"}  # the data that an ability comes from

MAX_AUGMENTED = 1_000  # images that are augmented by default: more are learned slowly (docs/log.md)
VAE_SHARE = 0.35  # of the budget
FEW_STEPS = 5_000  # with fewer, samples are shapes more than things, whatever the loss


def default_keep(config: Config) -> str:
    """Return `last`: the loss of unseen images is a poor guide to samples (docs/log.md)."""
    return "last"


def max_cpu_batch(config: Config) -> int | None:
    """Return the largest default batch size on a CPU: many steps train best."""
    return 32


def learning_rate_factor(config: Config) -> float:
    """Return the factor of the default learning rate, measured with few images (docs/log.md)."""
    return 2.0


def component(config: Config, info: DatasetInfo) -> Component | None:
    """Return the VAE whose latents are modelled, unless one is named or the images are tiny."""
    if config.vae is not None or info.height * info.width <= MAX_PIXEL_POSITIONS:
        return None
    return Component("vae", get_family("vae").Config(latents="grid"), VAE_SHARE)


def variants() -> tuple[Config, ...]:
    """Return configurations that together have all abilities; small, to be quick to try."""
    return (
        Config(condition="text", width=32, depth=2, text_depth=1),
        Config(source="image+text", width=32, depth=2, text_depth=1),
        Config(condition="label", width=32, depth=2),
        Config(condition="cluster", num_clusters=3, width=32, depth=2),
    )


def build(config: Config, info: DatasetInfo) -> Flow:
    """Build the model of a configuration, for images with this `info`."""
    from pinxit.models.flow.abilities import TextFlow
    from pinxit.models.flow.morphing import LabelFlow, MorphingFlow

    config = config.resolve(info)
    kinds = {"text": TextFlow, "label": LabelFlow}
    return kinds.get(config.condition, MorphingFlow)(config, info)


def export_parts(model: Flow) -> tuple[AnyPart, ...]:
    """Return the parts of a model that other programs can run."""
    from pinxit.models.flow.onnx_parts import export_parts

    return export_parts(model)
