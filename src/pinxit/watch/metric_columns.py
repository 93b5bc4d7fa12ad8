"""The columns of metrics.csv: which ones are losses, and their names in words."""

from __future__ import annotations

import re

# columns that are neither the loss nor a part of it
NON_LOSS_COLUMNS = {
    "step",
    "images_seen",
    "seconds",
    "progress",
    "learning_rate",
    "grad_norm",
    "skipped",
}
LOSS_UNIT = None  # a part in the unit of the loss, which depends on the model

# title and unit of the loss and its parts, as the models name them
TITLES: dict[str, tuple[str, str | None]] = {
    "loss": ("loss", LOSS_UNIT),
    "unpenalized_loss": ("loss without penalties, as in validation", LOSS_UNIT),
    "elbo": ("ELBO, a bound of log p(x)", "nats per image"),
    "reconstruction": ("reconstruction error, −log p(x|z)", "nats per image"),
    "kl": ("KL divergence from the prior", "nats per image"),
    "bits_per_dim": ("bits per dimension", "bits"),
    "nll": ("negative log-likelihood", LOSS_UNIT),
    "nll_per_token": ("negative log-likelihood of a token", "nats per token"),
    "masked_nll": ("negative log-likelihood of masked tokens", LOSS_UNIT),
    "velocity_mse": ("error of the velocity", "MSE per latent"),
    "masked_mse": ("error of masked patches", LOSS_UNIT),
    "mse": ("mean squared error of pixels from 0 to 1", "per pixel"),
    "l1": ("mean absolute error of pixels from 0 to 1", "per pixel"),
    "perplexity": ("perplexity of the codes", "codes"),
    "commitment": ("distance of vectors to their codes", "per latent"),
}

MetricsRows = list[dict[str, float]]


def describe_column(name: str) -> tuple[str, str | None]:
    """Return a column's title and its unit; None if the unit is that of the loss."""
    if name in TITLES:
        return TITLES[name]
    if match := re.fullmatch(r"iw_(\d+)", name):
        return f"importance-weighted bound, {match[1]} samples", "nats per image"
    return name.replace("_", " "), ""


def select_loss_columns(rows: MetricsRows) -> list[str]:
    """Return the columns of the loss and of its parts that do not repeat it."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return [
        name
        for name in columns
        if name not in NON_LOSS_COLUMNS
        and not name.startswith(("val_", "ema_"))
        and not name.endswith(("_per_second", "_seconds"))
        and not _repeats_loss(rows, name)
    ]


def _repeats_loss(rows: MetricsRows, name: str) -> bool:
    """Return whether a column is the loss, its negative (an ELBO), or the ELBO in another unit."""
    if name == "bits_per_dim":
        return True
    pairs = [(row["loss"], row[name]) for row in rows if "loss" in row and name in row]
    close = [abs(abs(loss) - abs(part)) <= 1e-4 * abs(loss) + 1e-4 for loss, part in pairs]
    return name != "loss" and bool(close) and all(close)
