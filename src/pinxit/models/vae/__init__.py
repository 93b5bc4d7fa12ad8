"""Variational autoencoder (Kingma & Welling 2013, "Auto-Encoding Variational Bayes").

    x -> q(z|x) = N(mu(x), diag sigma(x)^2) -> z = mu + sigma * eps, eps ~ N(0, I) -> p(x|z)

trained to maximise the evidence lower bound (their eq. 3),

    log p(x) >= E_q [log p(x|z)] - KL(q(z|x) || p(z)),  p(z) = N(0, I).

Inference is amortized: one encoder network outputs mu and log sigma^2 of every image.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from pinxit.data.batch import DatasetInfo
from pinxit.models.vae.config import Config as Config

if TYPE_CHECKING:
    import numpy as np

    from pinxit.data.images import Images
    from pinxit.models.export_parts import AnyPart
    from pinxit.models.vae.model import VAE

PUBLIC_NAME = "VAE"
# other kinds of models, to which this family is the nearest here
NEAR_KINDS = (
    "autoencoder",
    "ae",
    "beta-vae",
    "cvae",
    "vdvae",
    "lvae",
    "ladder",
    "nvae",
    "iwae",
)
SUMMARY = "Train a variational autoencoder: its encoder and decoder map images to latents and back."
ABILITIES = ("sample", "reconstruct", "encode", "embed", "score", "elbo")


def max_cpu_batch(config: Config) -> int | None:
    """Return the largest default batch size on a CPU: convolutions gain from many small steps."""
    return 16 if config.latents in ("grid", "ladder") else None


def default_keep(config: Config) -> str:
    """Return which weights are kept: an adversarial term raises the loss by which they are best."""
    return "last" if config.adversarial else "best"


def last_change(config: Config) -> float:
    """Return the fraction of training at which the loss changes last."""
    starts = [config.kl_warmup]
    starts += [config.iw_from] if config.num_iw_samples > 1 else []
    starts += [config.adversarial_from] if config.adversarial else []
    return max(starts)


def learning_rate_factor(config: Config) -> float:
    """Return the factor of the default learning rate: grids learn faster with twice of it."""
    return 2.0 if config.latents in ("grid", "ladder") else 1.0


def prepare(
    config: Config,
    info: DatasetInfo,
    images: Images,
    rows: np.ndarray,
    seed: int,
    features: Any = None,
) -> tuple[Config, dict[str, Any]]:
    """Choose the images that the pseudo-inputs of a VampPrior start from; pack the network of the
    perceptual loss, of the model `features` or trained on these images."""
    import numpy as np
    import torch

    fitted: dict[str, Any] = {}
    if config.prior == "vamp":
        chosen = np.random.default_rng(seed).choice(rows, config.pseudo_inputs, replace=False)
        pixels = torch.from_numpy(images.pixels[np.sort(chosen)]).permute(0, 3, 1, 2)
        fitted["prior.starts"] = pixels.float() / 255
    if config.perceptual:
        from pinxit.models.vae.perceptual import prepare_perceptual

        spec, tensors = prepare_perceptual(config, info, images, rows, features)
        config, fitted = dataclasses.replace(config, perceptual_spec=spec), fitted | tensors
    return config, fitted


def variants() -> tuple[Config, ...]:
    """Configs that together have all parts of the loss, each of which works with all others."""
    return (
        Config(),
        Config(likelihood="gaussian", variance="per-pixel", prior="vamp", total_correlation=1.0),
        Config(
            iw_samples=3,
            iw_groups=2,
            iw_elbo_share=0.5,
            iw_decoder="joint",
            iw_gradient="doubly-reparameterized",
            mmd=10.0,
            ms_ssim=0.1,
            perceptual=0.1,
            adversarial=0.5,
            total_correlation=1.0,
            tc_estimate="discriminator",
        ),
        Config(
            posterior="deterministic",
            likelihood="gaussian",
            variance="analytic",
            decoder_l2=1e-3,
            gradient_penalty=1e-3,
            latent_adversarial=1.0,
        ),
        Config(
            posterior="iaf",
            prior="flow",
            iw_samples=2,
            likelihood="bernoulli",
            decoder_head="linear",
        ),
        Config(posterior="vmf", likelihood="gaussian", mmd=10.0),
        Config(
            latents="ladder",
            width=16,
            likelihood="discretized-logistic",
            free_bits=0.01,
            total_correlation=1.0,
            tc_estimate="discriminator",
            mmd=1.0,
            decoder_head="autoregressive",
        ),
    )


def build(config: Config, info: DatasetInfo) -> VAE:
    """Build the model of a configuration, for images with this `info`."""
    from pinxit.models.vae.model import VAE

    return VAE(config.resolve(info), info)


def export_parts(model: VAE) -> tuple[AnyPart, ...]:
    """Return the parts of a model that other programs can run."""
    from pinxit.models.vae.onnx_parts import export_parts

    return export_parts(model)
