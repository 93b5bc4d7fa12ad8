"""Tiny runs, as training leaves them."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np

from pinxit.data.images import Images
from pinxit.models import vae
from pinxit.runs import Run


def make_run(folder: Path, images: Images, steps: int = 30, **options) -> Run:
    """A VAE of 4 latents after a few steps, with all that a run folder holds but figures."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    rows = images.rows_of("train")
    facts = images.facts(rows)
    options = {"network": "mlp", "latent_dim": 4, "width": 16, "depth": 1} | options
    config = vae.Config(**options).resolve(facts)
    model = vae.build(config, facts)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    run, table = Run(folder), []
    for step in range(1, steps + 1):
        loss = model.loss(images.batch(rows))
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        row = {
            "step": step,
            "images": step * len(rows),
            "seconds": step / 10,
            "learning_rate": 3e-3,
        }
        row |= {"loss": loss.total.item(), **{k: v.item() for k, v in loss.parts.items()}}
        if step % 5 == 0:
            row |= {f"val_{k}": row[k] + 1 for k in ("loss", *loss.parts)}
            with torch.no_grad():
                model.eval().sample(16, seed=0).grid().save(folder / f"samples/step-{step:06d}.png")
            model.train()
        table.append(row)
    _write_table(folder / "metrics.csv", table)
    save_file(model.state_dict(), folder / "model.safetensors")
    run.write(
        "config.json",
        {
            "format": 1,
            "family": "vae",
            "model": dataclasses.asdict(config),
            "facts": facts.to_json(),
            "training": {"steps": steps, "batch_size": len(rows), "minutes": None},
            "data": {"source": images.source, "fingerprint": images.fingerprint},
            "versions": {"pinxit": "0.1.0"},
            "command": f"pinxit train vae {images.source} --steps {steps}",
        },
    )
    return run


def _write_table(path: Path, rows: list[dict]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


def evaluate(run: Run) -> None:
    """An evaluation.json in the shape that `pinxit.evaluation.figures` describes."""
    figures = {"log_likelihood": -99.5, "log_likelihood_error": 0.25, "elbo": -101.25}
    figures |= {"psnr": 21.5, "sharpness_samples": 0.5, "sharpness_reconstructions": 0.75}
    curves = {
        "frequencies": [0.0625, 0.1875, 0.3125, 0.4375],
        "spectrum_data": [100.0, 10.0, 1.0, 0.1],
        "spectrum_reconstructions": [1.0, 0.9, 0.6, 0.4],
        "spectrum_samples": [1.0, 0.8, 0.5, 0.3],
    }
    record = {"figures": figures, "curves": curves, "warnings": ["the samples were few"]}
    run.write("evaluation.json", record | {"protocol": {"split": "test", "images": 24}})


def without_labels(images: Images) -> Images:
    return dataclasses.replace(images, labels=None, label_names=())


def constant(images: Images) -> Images:
    """The same with every pixel of one grey: no detail, no variance."""
    return dataclasses.replace(images, pixels=np.full_like(images.pixels, 90))
