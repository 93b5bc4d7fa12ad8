"""Inverse autoregressive flow (IAF, Kingma 2016): a posterior whose latents depend on one another.

    z_t = s_t z_t-1 + (1 - s_t) m_t,   (m_t, log s_t / (1 - s_t)) = MADE_t(z_t-1, h)

(their eq. 13 and 14.) MADE (Germain 2015) is a network whose outputs i depend on inputs below i and
on h, what the encoder says of the image. The Jacobian is triangular with s on its diagonal:
log q(z_T|x) = log q(z_0|x) - sum_t sum_i log s_t,i. The order of latents is reversed between steps.
A sample takes one pass of each network; the density of a given z takes one for each latent.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pinxit.nn.layers import zero_init

OPEN_GATE = 2.0  # added to the gates' logits: a step starts near the identity (Kingma 2016, app. C)
MIN_WIDTH, MAX_WIDTH = 32, 256

Rows = Float[Tensor, "rows latent"]
Context = Float[Tensor, "rows context"]


class MaskedLinear(nn.Linear):
    """A linear layer of which some weights are held at 0."""

    mask: Tensor

    def __init__(self, mask: Float[Tensor, "outputs inputs"]) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask, False)

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight * self.mask, self.bias)


class MADE(nn.Module):
    """(z, h) -> (m, gate), of which entry i depends on z_1 .. z_i-1 and on h."""

    def __init__(self, latent_dim: int, context_dim: int) -> None:
        super().__init__()
        width = min(MAX_WIDTH, max(MIN_WIDTH, 2 * latent_dim))
        inputs = torch.arange(1, latent_dim + 1)
        hidden = torch.arange(width) % max(1, latent_dim - 1) + min(1, latent_dim - 1)
        into = (hidden[:, None] >= inputs).float()
        within = (hidden[:, None] >= hidden).float()
        out = (inputs[:, None] > hidden).float()
        self.in_proj = MaskedLinear(into)
        self.context_proj = nn.Linear(context_dim, width)
        self.hidden = MaskedLinear(within)
        self.out_proj = zero_init(MaskedLinear(out.repeat(2, 1)))
        self.context_out = zero_init(nn.Linear(context_dim, 2 * latent_dim))  # of the first latent

    def forward(self, z: Rows, context: Context) -> tuple[Rows, Rows]:
        h = F.silu(self.in_proj(z) + self.context_proj(context))
        h = F.silu(self.hidden(h))
        m, gate = (self.out_proj(h) + self.context_out(context)).chunk(2, -1)
        return m, gate + OPEN_GATE


class AutoregressiveFlow(nn.Module):
    """The steps, one after the other; latents keep their numbers."""

    def __init__(self, latent_dim: int, context_dim: int, num_steps: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(MADE(latent_dim, context_dim) for _ in range(num_steps))

    def forward(self, z: Rows, context: Context) -> tuple[Rows, Rows]:
        """Return z_T, and the sum of log s_t of each latent: minus it is log q's change."""
        log_det = torch.zeros_like(z)
        for i, step in enumerate(self.steps):
            z = z.flip(-1) if i else z
            log_det = log_det.flip(-1) if i else log_det
            m, gate = step(z, context)
            m, gate = m.to(z.dtype), gate.to(z.dtype)
            s = torch.sigmoid(gate)
            z = s * z + (1 - s) * m
            log_det = log_det + F.logsigmoid(gate)
        turns = (len(self.steps) - 1) % 2
        return (z.flip(-1), log_det.flip(-1)) if turns else (z, log_det)

    def inverse(self, z: Rows, context: Context) -> tuple[Rows, Rows]:
        """Return z_0 with z_T = z, and the sum of log s_t; a pass for each latent of each step."""
        turns = (len(self.steps) - 1) % 2
        z = z.flip(-1) if turns else z
        log_det = torch.zeros_like(z)
        for i in reversed(range(len(self.steps))):
            before, gate = torch.zeros_like(z), torch.zeros_like(z)
            for k in range(z.shape[-1]):
                m, gate = (part.to(z.dtype) for part in self.steps[i](before, context))
                s = torch.sigmoid(gate[..., k])
                value = (z[..., k] - (1 - s) * m[..., k]) / s
                before = torch.cat([before[..., :k], value[..., None], before[..., k + 1 :]], -1)
            z, log_det = before, log_det + F.logsigmoid(gate)
            z = z.flip(-1) if i else z
            log_det = log_det.flip(-1) if i else log_det
        return z, log_det
