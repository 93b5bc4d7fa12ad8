"""Which values options of the VAE may have, and which of them go together.

Options compose unless a rule here says why they do not.
"""

from __future__ import annotations

import math
from typing import Any

from pinxit.errors import UsageError
from pinxit.models.option_effects import DROPS_ALL_LABELS, Need, Rule

POSITIVE = (
    "latent_dim", "latent_channels", "width", "depth", "mixtures", "iw_samples", "iw_groups",
    "pseudo_inputs", "iaf_steps", "levels",
)  # fmt: skip
PENALTIES = (
    "total_correlation", "mmd", "latent_adversarial", "decoder_l2", "gradient_penalty", "ms_ssim",
    "perceptual", "adversarial",
)  # fmt: skip
WEIGHTS = ("beta", "free_bits", "l1_weight", *PENALTIES)
FRACTIONS = (
    "kl_warmup", "label_dropout", "iw_from", "equivariance", "iw_elbo_share", "adversarial_from",
)  # fmt: skip
STARTS = ("iw_from", "adversarial_from")
OF_SEVERAL_SAMPLES = ("iw_elbo_share", "iw_decoder", "iw_gradient")
OF_WHOLE_BATCH = ("free_bits", "total_correlation", "mmd", "latent_adversarial", "adversarial")


# what an option needs to have an effect; none is refused here that changes the weights or the loss
NEEDS = (
    Need(
        "mixtures",
        "likelihood discretized-logistic",
        lambda c: c.likelihood == "discretized-logistic",
    ),
    Need("binarize", "likelihood bernoulli", lambda c: c.likelihood == "bernoulli"),
    Need("width", "network mlp or conv", lambda c: c.network != "linear"),
    Need("depth", "network mlp or conv", lambda c: c.network != "linear"),
    Need("kl_warmup", "beta above 0", lambda c: c.beta > 0),
    Need("free_bits", "beta above 0", lambda c: c.beta > 0),
    Need("latent_channels", "levels above 1", lambda c: not is_ladder(c) or c.levels > 1),
    Need("tc_estimate", "total_correlation above 0", lambda c: c.total_correlation > 0),
    Need("iw_from", "iw_samples or iw_groups above 1", lambda c: c.num_iw_samples > 1),
    Need("iw_decoder", "iw_groups above 1", lambda c: c.iw_groups > 1),
    Need("adversarial_from", "adversarial above 0", lambda c: c.adversarial > 0),
    Need("label_dropout", "condition label", lambda c: c.condition == "label"),
)


def check_ranges(config: Any) -> None:
    """Raise UsageError for an option of a configuration that is out of its range."""
    for name in POSITIVE:
        value = getattr(config, name)
        if value is not None and value < 1:
            raise UsageError(f"{name} must be at least 1, not {value}.")
    for name in WEIGHTS:
        if not 0 <= (getattr(config, name) or 0) < math.inf:
            raise UsageError(f"{name} must be 0 or more, not {getattr(config, name)}.")
    for name in FRACTIONS:
        if not 0 <= getattr(config, name) <= 1:
            raise UsageError(f"{name} must be between 0 and 1, not {getattr(config, name)}.")
    for name in STARTS:
        if getattr(config, name) == 1:
            raise UsageError(f"{name} 1 is the end of training, where nothing can start.")
    downscale = config.downscale
    if downscale is not None and (downscale < 2 or downscale.bit_count() != 1):
        raise UsageError(f"downscale must be a power of two from 2 on, not {downscale}.")
    if config.sigma is not None and not 0 < config.sigma < math.inf:
        raise UsageError(f"sigma must be above 0, not {config.sigma}.")


def check_options(config: Any) -> None:
    """Raise UsageError for options of a configuration that do not go together, and say why."""
    _check_latents(config)
    for name in ("free_bits", "l1_weight", "equivariance"):
        if config.num_iw_samples > 1 and getattr(config, name):
            raise UsageError(f"{name} needs iw_samples 1 and iw_groups 1.")
    for name in OF_SEVERAL_SAMPLES:
        if config.num_iw_samples == 1 and getattr(config, name) != type(config).__dict__[name]:
            raise UsageError(f"{name} is of several samples; give iw_samples or iw_groups above 1.")
    for rule in RULES:
        if rule.applies(config):
            raise UsageError(rule.message)


def check_temperature(config: Any, params: Any) -> None:
    """Raise UsageError for a temperature that has no effect, other than 1."""
    if config.posterior == "vmf" and params.temperature != 1:
        raise UsageError(
            "the temperature of posterior vmf is 1: its prior is uniform on a sphere, where noise "
            "of any size has the same directions."
        )


def whole_batch_options(config: Any) -> tuple[str, ...]:
    """Return the options whose terms are of a batch as a whole: no part may be computed alone."""
    names = [name for name in OF_WHOLE_BATCH if getattr(config, name)]
    return tuple(names if config.variance == "learned" else [*names, "variance"])


def _check_latents(config: Any) -> None:
    """Raise UsageError for options of the other kind of latents."""
    if config.latents == "grid":
        if config.latent_dim is not None:
            raise UsageError("latent_dim is of a vector; a grid has latent_channels.")
        if config.network not in ("auto", "conv"):
            raise UsageError(f"a grid of latents needs network conv, not {config.network}.")
        if config.prior != "standard":
            raise UsageError(f"prior {config.prior} needs a vector of latents; these are a grid.")
        if config.posterior in ("iaf", "vmf"):
            raise UsageError(
                f"posterior {config.posterior} needs a vector of latents; these are a grid."
            )
    needs_vector = next((n for n, needs in vector_options(config) if needs), None)
    if config.latents == "auto" and config.equivariance and needs_vector:
        raise UsageError(f"equivariance needs a grid of latents, {needs_vector} a vector.")
    if config.latents in ("vector", "grid") and config.levels is not None:
        raise UsageError(f"levels are of latents ladder; these are a {config.latents}.")
    if is_ladder(config):
        _check_ladder(config)
    if config.latents == "vector":
        for name in ("downscale", "latent_channels", "equivariance"):
            if getattr(config, name):
                raise UsageError(f"{name} is of a grid of latents; these are a vector.")


def _check_ladder(config: Any) -> None:
    """Raise UsageError for options that a ladder of latents does not have."""
    if config.network not in ("auto", "conv"):
        raise UsageError(f"a ladder of latents (levels) needs network conv, not {config.network}.")
    if config.prior != "standard":
        raise UsageError(
            f"prior {config.prior} is of a vector of latents; a ladder (levels) learns a prior for "
            "each level."
        )
    if config.posterior in ("iaf", "vmf"):
        raise UsageError(
            f"posterior {config.posterior} is of a vector of latents; a ladder (levels) has a "
            "Gaussian for each level."
        )
    for name in ("downscale", "equivariance"):
        if getattr(config, name):
            raise UsageError(f"{name} is of a grid of latents; these are a ladder (levels).")


def is_ladder(config: Any) -> bool:
    return config.latents == "ladder" or (config.latents == "auto" and config.levels is not None)


def vector_options(config: Any) -> tuple[tuple[str, bool], ...]:
    """Options that need a vector of latents, and whether they are given."""
    return (
        ("latent_dim", config.latent_dim is not None),
        (f"network {config.network}", config.network in ("mlp", "linear")),
        (f"prior {config.prior}", config.prior != "standard"),
        (f"posterior {config.posterior}", config.posterior in ("iaf", "vmf")),
    )


def _is_deterministic(config: Any) -> bool:
    return config.posterior == "deterministic"


def _has_head(config: Any) -> bool:
    return config.decoder_head != "independent"


def _uses_density(config: Any) -> bool:
    return bool(config.total_correlation) and config.tc_estimate == "minibatch"


RULES = (
    Rule(
        lambda c: c.network == "linear" and c.condition == "label",
        "network linear takes no labels; take network mlp or conv.",
    ),
    Rule(
        lambda c: c.sigma is not None and c.variance != "learned",
        "sigma fixes the variance of p(x|z); leave out sigma or variance.",
    ),
    Rule(
        lambda c: c.variance == "per-pixel" and c.equivariance > 0,
        "variance per-pixel belongs to places of the image, which equivariance moves; "
        "take variance analytic.",
    ),
    Rule(
        lambda c: c.pseudo_inputs is not None and c.prior != "vamp",
        "pseudo_inputs are of prior vamp.",
    ),
    Rule(
        lambda c: _is_deterministic(c) and c.num_iw_samples > 1,
        "iw_samples are drawn from q(z|x); posterior deterministic is a single point.",
    ),
    Rule(
        lambda c: _is_deterministic(c) and c.free_bits > 0,
        "free_bits are of a KL, which posterior deterministic does not have.",
    ),
    Rule(
        lambda c: _is_deterministic(c) and c.prior != "standard",
        "a prior that is learned with posterior deterministic shrinks to a point; fit one "
        "afterwards: pinxit sample RUN --prior mixture.",
    ),
    Rule(
        lambda c: _is_deterministic(c) and _uses_density(c),
        "total_correlation of posterior deterministic needs tc_estimate discriminator: "
        "minibatch takes densities of q(z|x).",
    ),
    *(
        Rule(
            lambda c, name=name: _has_head(c) and getattr(c, name) > 0,
            f"{name} takes the mean of p(x|z), which only decoder_head independent has.",
        )
        for name in ("gradient_penalty", "ms_ssim", "perceptual", "adversarial")
    ),
    Rule(
        lambda c: (
            c.decoder_head == "linear" and c.likelihood in ("gaussian", "discretized-logistic")
        ),
        "decoder_head linear gives logits of binary pixels: it needs likelihood bernoulli.",
    ),
    Rule(
        lambda c: _has_head(c) and c.likelihood == "gaussian",
        "decoder_head autoregressive gives probabilities of values: it needs likelihood bernoulli "
        "or discretized-logistic, not gaussian.",
    ),
    Rule(
        lambda c: _has_head(c) and c.equivariance > 0,
        "a decoder_head reads pixels in one order, which equivariance turns.",
    ),
    Rule(
        lambda c: c.iaf_steps is not None and c.posterior != "iaf",
        "iaf_steps are of posterior iaf.",
    ),
    Rule(
        lambda c: c.posterior in ("iaf", "vmf") and c.prior == "vamp",
        "prior vamp mixes Gaussians; posterior iaf takes prior standard or flow, posterior vmf "
        "the uniform one of its sphere.",
    ),
    Rule(
        lambda c: c.posterior == "vmf" and c.prior == "flow",
        "prior flow is over all latents, posterior vmf on a sphere; leave out prior.",
    ),
    Rule(
        lambda c: c.posterior == "vmf" and c.free_bits > 0,
        "free_bits are of single latents; those of posterior vmf have one KL together.",
    ),
    Rule(
        lambda c: c.posterior == "vmf" and c.total_correlation > 0,
        "total_correlation makes latents independent; on the sphere of posterior vmf they cannot "
        "be.",
    ),
    Rule(
        lambda c: c.posterior == "iaf" and _uses_density(c),
        "total_correlation of posterior iaf needs tc_estimate discriminator: minibatch takes "
        "the density of each latent.",
    ),
    Rule(
        lambda c: c.posterior == "iaf" and c.iw_gradient == "doubly-reparameterized",
        "iw_gradient doubly-reparameterized takes densities of given z, which posterior iaf has "
        "one latent at a time; leave it out.",
    ),
    Rule(
        lambda c: c.perceptual_features is not None and not c.perceptual,
        "perceptual_features are of perceptual, whose weight is 0; give it one, such as 0.1.",
    ),
    Rule(
        lambda c: is_ladder(c) and _is_deterministic(c),
        "posterior deterministic has no KL, by which the levels of a ladder share what they say.",
    ),
    Rule(
        lambda c: is_ladder(c) and c.iw_gradient != "plain",
        "iw_gradient doubly-reparameterized moves z with q(z|x) held; in a ladder (levels) the "
        "posterior of a level depends on the z of the coarser ones.",
    ),
    Rule(
        lambda c: is_ladder(c) and c.iw_decoder != "groups",
        "iw_decoder joint has other weights for the decoder than for the encoder; in a ladder "
        "(levels) they share their path.",
    ),
    Rule(
        lambda c: is_ladder(c) and _uses_density(c),
        "total_correlation needs tc_estimate discriminator with a ladder (levels): minibatch takes "
        "one Gaussian q(z|x) per image.",
    ),
    Rule(
        lambda c: c.equivariance == 1 and (c.ms_ssim > 0 or c.perceptual > 0 or c.adversarial > 0),
        "ms_ssim, perceptual and adversarial compare images that equivariance leaves as they are; "
        "take equivariance below 1.",
    ),
)
# at the start of a training only: runs of earlier versions that have such options still load
TRAINING_RULES = (
    DROPS_ALL_LABELS,
    Rule(
        lambda c: c.prior == "vamp" and c.beta == 0,
        "prior vamp learns its images by the KL term, whose weight beta is 0; give a beta above 0, "
        "or leave out prior.",
    ),
    Rule(
        lambda c: c.prior == "flow" and c.beta == 0 and c.mmd == 0,
        "prior flow learns by the KL term, whose weight beta is 0, or by mmd; give one of them "
        "above 0, or leave out prior.",
    ),
)
