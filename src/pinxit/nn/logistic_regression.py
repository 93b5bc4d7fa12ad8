"""Multinomial logistic regression, fitted by L-BFGS (Liu & Nocedal 1989)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64, Int64
from torch import Tensor

MAX_ITERATIONS = 300
MIN_GRADIENT = 1e-6  # largest component, of the loss per point: below it the fit has converged
HISTORY = 10  # gradients that approximate the curvature

Features = Float[np.ndarray, "n dim"]
Labels = Int64[np.ndarray, " n"]


@dataclass(frozen=True, eq=False)
class LogisticRegression:
    """A linear classifier of standardized features."""

    classes: Labels
    weight: Float64[Tensor, "class dim"]
    bias: Float64[Tensor, " class"]
    mean: Float64[Tensor, " dim"]
    scale: Float64[Tensor, " dim"]

    def logits(self, features: Features) -> Float64[np.ndarray, "n class"]:
        """Return the unnormalized log-probability of each class."""
        x = (torch.from_numpy(features).double() - self.mean) / self.scale
        return F.linear(x, self.weight, self.bias).numpy()

    def predict(self, features: Features) -> Labels:
        """Return the most probable class of each point."""
        return self.classes[self.logits(features).argmax(1)]


def fit_logistic_regression(
    features: Features,
    labels: Labels,
    c: float,
    *,
    standardize: bool = True,
    intercept: bool = True,
) -> LogisticRegression:
    """Minimize C sum(-log p(label|x)) + |weight|^2 / 2; `c` is C, the inverse regularization.

    The features are standardized first, to mean 0 and variance 1, unless `standardize` is false.
    The intercept is not regularized. Stops after 300 iterations if it has not converged.
    """
    x = torch.from_numpy(features).double()
    mean, scale = torch.zeros_like(x[0]), torch.ones_like(x[0])
    if standardize:
        mean, scale = x.mean(0), x.std(0, correction=0)
        scale[scale == 0] = 1.0
    classes, targets = np.unique(labels, return_inverse=True)
    weight = torch.zeros(len(classes), x.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(len(classes), dtype=torch.float64, requires_grad=intercept)
    with torch.enable_grad():
        _minimize((x - mean) / scale, torch.from_numpy(targets), weight, bias, c)
    return LogisticRegression(classes, weight.detach(), bias.detach(), mean, scale)


def _minimize(
    x: Float64[Tensor, "n dim"],
    targets: Int64[Tensor, " n"],
    weight: Tensor,
    bias: Tensor,
    c: float,
) -> None:
    """Change weight and bias to the minimum of the loss."""
    parameters = [parameter for parameter in (weight, bias) if parameter.requires_grad]
    optimizer = torch.optim.LBFGS(
        parameters,
        max_iter=MAX_ITERATIONS,
        tolerance_grad=MIN_GRADIENT,
        tolerance_change=0.0,
        history_size=HISTORY,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(F.linear(x, weight, bias), targets)
        loss = loss + weight.square().sum() / (2 * c * len(x))
        loss.backward()
        return loss

    optimizer.step(closure)  # pyright: ignore[reportArgumentType]: the loss may be a tensor
