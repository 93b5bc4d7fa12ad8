"""Variational autoencoder (Kingma & Welling 2013, "Auto-Encoding Variational Bayes").

    x -> q(z given x) = N(mu(x), diag sigma(x)^2) -> z = mu + sigma * e, e ~ N(0, I) -> p(x given z)

trained to maximise the evidence lower bound (their eq. 3),

    log p(x) >= E_q [log p(x given z)] - KL(q(z given x) to N(0, I)).

The encoder is amortised: one network gives every image's mu and log sigma^2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinxit.data.batch import DatasetInfo
from pinxit.models.vae.config import Config as Config

if TYPE_CHECKING:
    from pinxit.models.vae.model import VAE

ABILITIES = ("sample", "reconstruct", "encode", "embed", "score", "elbo")


def build(config: Config, info: DatasetInfo) -> VAE:
    """The model of a configuration, for images with these facts."""
    from pinxit.models.vae.model import VAE

    return VAE(config.resolve(info), info)
