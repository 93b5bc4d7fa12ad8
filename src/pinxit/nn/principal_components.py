"""Principal component analysis."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Points = Float[Tensor, "n dim"]


@dataclass(frozen=True, eq=False)
class PrincipalComponents:
    """Orthonormal directions of largest variance, the largest first."""

    mean: Float[Tensor, " dim"]
    directions: Float[Tensor, "k dim"]
    variance_share: Float[Tensor, " k"]  # of the total variance

    def project(self, points: Points) -> Float[Tensor, "n k"]:
        """Return the coordinates of points."""
        return (points - self.mean) @ self.directions.T

    def reconstruct(self, coordinates: Float[Tensor, "n k"]) -> Points:
        """Return the points that have these coordinates."""
        return coordinates @ self.directions + self.mean


def fit_principal_components(points: Points, count: int) -> PrincipalComponents:
    """Fit up to `count` components, at most as many as there are points or dimensions.

    The component of largest absolute value of each direction is positive.
    """
    mean = points.mean(0)
    _, values, directions = torch.linalg.svd((points - mean).double(), full_matrices=False)
    directions = directions[:count]
    signs = directions.gather(1, directions.abs().argmax(1, keepdim=True)).sign()
    variances = values.square()
    share = variances[:count] / variances.sum().clamp(min=1e-30)
    return PrincipalComponents(mean, (directions * signs).to(points.dtype), share.float())
