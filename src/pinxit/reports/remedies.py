"""What may make the images sharper, judged by what was measured on this run.

A remedy is named only where the family has the setting it turns.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from pinxit.reports.context import Material
from pinxit.reports.formatting import number


@dataclass(frozen=True)
class Remedy:
    """What to try, how this run stands, and what it buys or costs."""

    option: str
    here: str
    effect: str
    hopeful: bool = True  # whether this run's figures speak for it


def remedies(material: Material) -> list[Remedy]:
    """The remedies for this run, the hopeful ones first."""
    config = material.model.config
    known = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    found = [maker(material, known) for maker in (_longer, _latents, _beta, _likelihood, _prior)]
    return sorted((r for r in found if r is not None), key=lambda remedy: not remedy.hopeful)


def _longer(material: Material, known: dict[str, Any]) -> Remedy | None:
    rows = material.run.metrics()
    name = "val_loss" if any("val_loss" in row for row in rows) else "loss"
    values = [row[name] for row in rows if name in row]
    if len(values) < 4:
        return None
    best = int(np.argmin(values))
    early = float(np.mean(values[len(values) // 2 : 3 * len(values) // 4]))
    gain = early - values[-1]
    if name == "val_loss" and best < 0.7 * len(values) and values[-1] > values[best] * 1.01:
        here = f"validation was best at {number(100 * (best + 1) / len(values), 2)} % of training"
        return Remedy("more images, or a smaller `--width`", here, "it overfits: longer is no help")
    here = f"the last quarter won {number(max(gain, 0.0), 2)} nats an image"
    hopeful = gain > 0.005 * abs(values[-1])
    return Remedy("`--minutes` more", here, "details are learned last", hopeful)


def _latents(material: Material, known: dict[str, Any]) -> Remedy | None:
    found = material.activity
    if "latent_dim" not in known or found is None:
        return None
    active, count = int(found.active.sum()), len(found.active)
    here = f"{active} of {count} latents are active"
    if active >= 0.9 * count:
        return Remedy(
            f"`--latent-dim {2 * count}`", here, "a longer code holds more; samples may suffer"
        )
    effect = "idle latents are there already: more of them change nothing"
    return Remedy("`--latent-dim` higher", here, effect, hopeful=False)


def _beta(material: Material, known: dict[str, Any]) -> Remedy | None:
    if "beta" not in known or material.elbo_terms is None:
        return None
    rate = number(float(material.elbo_terms.rate.sum(1).mean()), 3)
    here = f"β is {known['beta']:g}; the code costs {rate} nats an image"
    effect = "the code may cost more: sharper reconstructions, a worse ELBO, weaker samples"
    return Remedy(f"`--beta {known['beta'] / 2:g}`", here, effect, known["beta"] >= 1)


def _likelihood(material: Material, known: dict[str, Any]) -> Remedy | None:
    kind = known.get("likelihood")
    if kind == "gaussian" and known.get("sigma") is not None:
        here = f"σ is fixed at {number(known['sigma'], 3)}"
        return Remedy("no `--sigma`", here, "a learned σ weighs detail as the data asks")
    if kind == "gaussian":
        here = "a gaussian: one σ for every pixel"
        effect = "each pixel its own width and several guesses; slower; its mean is still a mean"
        return Remedy("`--likelihood discretized-logistic`", here, effect)
    return None


def _prior(material: Material, known: dict[str, Any]) -> Remedy | None:
    if known.get("prior") != "standard" or not material.detail:
        return None
    made, back = material.detail.get("samples"), material.detail.get("reconstructions")
    if made is None or back is None:
        return None
    here = f"samples have {number(made, 2)} of the data’s detail, reconstructions {number(back, 2)}"
    effect = "draws codes from where the images’ codes lie: better samples, same reconstructions"
    return Remedy("`--prior flow`", here, effect, abs(made - back) > 0.1)
