"""The parts of log p(z) of a VampPrior, one per latent, whatever the sizes of batch and mixture."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from pinxit.models.vae.vamp_prior import VampPrior


@given(batch=st.integers(1, 5), components=st.integers(1, 5), latents=st.integers(1, 4))
def test_the_parts_of_the_density_add_up_for_each_image(batch, components, latents):
    torch.manual_seed(0)
    mean, logvar = torch.randn(2, components, latents)
    prior = VampPrior(components, (1, 2, 2), lambda inputs: (mean, logvar))
    z = torch.randn(batch, latents)
    parts = prior.log_prob_per_latent(z)
    assert parts.shape == (batch, latents)
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.ones(components)),
        torch.distributions.Independent(torch.distributions.Normal(mean, (logvar / 2).exp()), 1),
    )
    torch.testing.assert_close(parts.sum(1), mixture.log_prob(z), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(prior.log_prob(z), mixture.log_prob(z), atol=1e-4, rtol=1e-4)
