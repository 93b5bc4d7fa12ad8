"""Small images and tiny runs, for all tests."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pinxit.data.images import Images
from pinxit.evaluation.metrics import collect
from pinxit.models import vae
from pinxit.runs import FORMAT, Run


class CaptionScorer:
    """Stands for a captioning model where the command line loads a reranker: it scores nothing."""

    def caption_log_prob(self, *_: object) -> list[float]:
        raise NotImplementedError


def shorten_explanations(patch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Few steps and few latents wherever `explain` and fitted priors fit something."""
    from pinxit.evaluation import explain, feature_space
    from pinxit.models import latent_densities

    values = {"FLOW_STEPS": 5, "MIN_ROWS": 200, "COMPONENTS": (1, 3), "NUM_QUERIES": 10} | changes
    patch.setattr(feature_space, "STEPS", 3)
    patch.setattr(explain, "NUM_QUERIES", values.pop("NUM_QUERIES"))
    for name, value in values.items():
        patch.setattr(latent_densities, name, value)


def blobs(n: int = 96, height: int = 8, width: int = 8, channels: int = 1, seed: int = 0):
    """Images of one soft blob each, with its quadrant as label: easy to learn, hard to guess.

    The captions say the quadrant in English and French; the image before is the mirror image.
    """
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    cy = random.uniform(0.1, 0.9, (n, 1, 1)) * height
    cx = random.uniform(0.1, 0.9, (n, 1, 1)) * width
    spread = (min(height, width) / 4) ** 2
    grey = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / spread)
    tint = random.uniform(0.4, 1, (n, 1, 1, channels))
    pixels = (255 * grey[..., None] * tint).astype(np.uint8)
    labels = (2 * (cy[:, 0, 0] > height / 2) + (cx[:, 0, 0] > width / 2)).astype(np.int64)
    splits = np.zeros(n, np.int8)
    splits[n // 2 : 3 * n // 4], splits[3 * n // 4 :] = 1, 2
    english = ("top left", "top right", "bottom left", "bottom right")
    french = ("en haut à gauche", "en haut à droite", "en bas à gauche", "en bas à droite")
    return Images(
        pixels,
        captions={
            "en": [f"a blob at the {english[i]}" for i in labels],
            "fr": [f"une tache {french[i]}" for i in labels],
        },
        before=np.ascontiguousarray(pixels[:, :, ::-1]),
        names=[f"blob-{i:03d}" for i in range(n)],
        labels=labels,
        label_names=("north-west", "north-east", "south-west", "south-east"),
        splits=splits,
        source="blobs",
        fingerprint="blobs",
    )


def noise_images(n=50, height=16, width=16, channels=1, seed=0) -> Images:
    """Images of uniform noise."""
    rng = np.random.default_rng(seed)
    return Images(rng.integers(0, 256, (n, height, width, channels), dtype=np.uint8))


def build_vae(**options):
    """An untrained VAE of 5 latents for `blobs`."""
    import torch

    torch.manual_seed(0)
    config = vae.Config(latent_dim=5, network="mlp", width=16, depth=1, **options)
    model = vae.build(config, blobs().info())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def make_run(folder: Path, images: Images, steps: int = 30, **options) -> Run:
    """A VAE of 4 latents after a few steps, with all that a run folder holds but figures."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    rows = images.split_indices("train")
    info = images.info(rows)
    options = {"network": "mlp", "latent_dim": 4, "width": 16, "depth": 1} | options
    config = vae.Config(**options).resolve(info)
    model = vae.build(config, info)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    run, table = Run(folder), []
    for step in range(1, steps + 1):
        loss = model.loss(images.batch(rows))
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        row = {
            "step": step,
            "images_seen": step * len(rows),
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
            "format": FORMAT,
            "family": "vae",
            "model": dataclasses.asdict(config),
            "dataset_info": info.to_json(),
            "training": {"steps": steps, "batch_size": len(rows), "minutes": None},
            "data": {"source": images.source, "fingerprint": images.fingerprint},
            "versions": {"pinxit": "0.1.0"},
            "command": f"pinxit train vae {images.source} --steps {steps}",
        },
    )
    return run


def save_npz(file: Path, images: Images) -> Path:
    """Save images with their labels and splits as a data file."""
    np.savez(
        file,
        images=images.pixels,
        labels=np.array(images.label_names)[images.labels],
        split=np.array(["train", "validation", "test"])[images.splits],
    )
    return file


def _write_table(path: Path, rows: list[dict]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


def evaluate(run: Run) -> None:
    """An evaluation.json in the shape that `pinxit.evaluation.metrics` describes."""
    figures = {"log_likelihood": -99.5, "log_likelihood_error": 0.25, "elbo": -101.25}
    figures |= {"psnr": 21.5, "sharpness_samples": 0.5, "sharpness_reconstructions": 0.75}
    curves = {
        "frequencies": [0.0625, 0.1875, 0.3125, 0.4375],
        "spectrum_data": [100.0, 10.0, 1.0, 0.1],
        "spectrum_reconstructions": [1.0, 0.9, 0.6, 0.4],
        "spectrum_samples": [1.0, 0.8, 0.5, 0.3],
    }
    record = {"metrics": figures, "curves": curves, "warnings": ["the samples were few"]}
    run.write("evaluation.json", record | {"protocol": {"split": "test", "images": 24}})


def without_labels(images: Images) -> Images:
    return dataclasses.replace(images, labels=None, label_names=())


def constant(images: Images) -> Images:
    """The same with every pixel of one grey: no detail, no variance."""
    return dataclasses.replace(images, pixels=np.full_like(images.pixels, 90))


def train_runs(folder: Path) -> dict[str, Path]:
    """A VAE, an iGPT, and a sequence-to-sequence model for each direction with images."""
    import pinxit

    images = blobs(channels=1)
    small = {"width": 16, "heads": 2, "depth": 1, "decoder_depth": 1, "max_text_tokens": 24}
    configs = {
        "blobs-vae": pinxit.VAE(network="mlp", latent_dim=4, width=16, depth=1),
        "blobs-igpt": pinxit.IGPT(width=16, depth=1, heads=2, palette_size=4),
        "blobs-draw": pinxit.Seq2Seq(source="text", target="image", palette_size=4, **small),
        "blobs-edit": pinxit.Seq2Seq(source="image+text", target="image", palette_size=4, **small),
        "blobs-caption": pinxit.Seq2Seq(source="image", target="text", **small),
    }
    for name, config in configs.items():
        pinxit.train(config, images, out=folder / name, steps=3, batch_size=8, quiet=True)
    return {name: folder / name for name in configs}


def values_of(metrics) -> dict:
    """The metrics that an evaluator yields, their errors, its curves and facts, by name."""
    collected = collect(metrics)
    return {**collected.metrics, **collected.curves, **collected.facts}
