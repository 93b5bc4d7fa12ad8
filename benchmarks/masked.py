"""Masked autoencoder: what hiding patches from the encoder saves, and ours beside transformers'."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from benchmarks.measure import Loop, matmul_rate, noise_images
from benchmarks.tables import Cell, Table, median, ratio
from pinxit.data.batch import DatasetInfo
from pinxit.data.images import Images
from pinxit.models.mae.config import Config
from pinxit.models.mae.masking import num_visible
from pinxit.models.mae.model import MaskedAutoencoder
from pinxit.models.results import Loss
from pinxit.nn.pixels import gather_tokens

# name, side, patch, the model's other options
MODELS: tuple[tuple[str, int, int, dict[str, Any]], ...] = (
    ("192 x 6, decoder 128 x 2", 32, 2, {"width": 192, "depth": 6}),
    ("256 x 8, decoder 128 x 1", 32, 2, {"width": 256, "depth": 8, "decoder_depth": 1}),
    ("192 x 6, decoder 128 x 2", 64, 4, {"width": 192, "depth": 6}),
)


class AllPatches(MaskedAutoencoder):
    """The same network with mask tokens in the encoder, which processes every patch (SimMIM)."""

    def __init__(self, config: Config, info: DatasetInfo) -> None:
        super().__init__(config, info)
        assert config.width
        self.encoder_mask_token = torch.nn.Parameter(0.02 * torch.randn(config.width))

    def loss_for_order(self, patches: torch.Tensor, order: torch.Tensor) -> Loss:
        count = num_visible(self.num_patches, self.config.mask_ratio)
        visible, masked = order[:, :count], order[:, count:]
        h = self.encoder_mask_token.expand(len(patches), self.num_patches, -1).clone()
        embedded = self.patch_embed(self.normalize(gather_tokens(patches, visible)))
        h = (
            h.scatter(1, visible[..., None].expand_as(embedded), embedded.to(h.dtype))
            + self.pos_embed
        )
        h = torch.cat((self.cls_token.expand(len(h), 1, -1), h), 1)
        for layer in self.encoder:
            h = layer(h)
        raster = torch.arange(self.num_patches, device=patches.device).expand(len(patches), -1)
        predicted = gather_tokens(self.decode(self.norm(h), raster), masked)
        mse = (predicted.float() - self.targets(gather_tokens(patches, masked))).square().mean()
        return Loss(mse, {"masked_mse": mse.detach()}, "MSE per pixel")


def masked(quick: bool) -> Iterator[Table]:
    """Tables: 75 % hidden against all patches; ours against transformers' ViTMAE."""
    images = {side: noise_images(2_000, side, side, 3) for side in (32, 64)}
    rounds, seconds, batch = (1, 0.5, 4) if quick else (5, 4.0, 64)
    yield _saved(images, rounds, seconds, batch)
    if importlib.util.find_spec("transformers"):
        yield _beside(images[32], rounds, seconds, batch)


def _saved(images: dict[int, Images], rounds: int, seconds: float, batch: int) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name, side, patch, options in MODELS:
        config = Config(patch_size=patch, **options)
        info = images[side].info()
        loops = [
            Loop(
                kind(config.resolve(info), info),
                images[side],
                batch_size=batch,
                optimizer="adamw",
            )
            for kind in (MaskedAutoencoder, AllPatches)
        ]
        ours, all_of_them = alternately([loop.train for loop in loops], rounds, seconds)
        flops = loops[0].flops()
        rows.append(
            (
                f"{side} x {side}, patch {patch}: {name}",
                batch / ours,
                batch / all_of_them,
                ratio(all_of_them, ours),
                ratio(loops[1].flops(), flops),
                f"{flops * batch / ours / matmul_rate(loops[0].bf16):.0%}",
            )
        )
    return Table(
        "A training step with 75 % of the patches hidden (must: 2.8 times as fast; goal: 4.0)",
        (
            "images and encoder",
            "images/s",
            "mask tokens in the encoder",
            "times",
            "of FLOPs",
            "of the matrix rate",
        ),
        tuple(rows),
        (f"Batches of {batch}; the whole loop with AdamW; medians of {rounds}, alternately.",),
    )


def _beside(images: Images, rounds: int, seconds: float, batch: int) -> Table:
    config = Config(patch_size=2, **MODELS[0][3])
    info = images.info()
    model = MaskedAutoencoder(config.resolve(info), info)
    loop = Loop(model, images, batch_size=batch, optimizer="adamw")
    found = {
        name: _peer(model, images, 4, bf16)(2) for name, bf16 in (("fp32", False), ("bf16", True))
    }
    faster = min(found, key=found.__getitem__)
    peer = _peer(model, images, batch, faster == "bf16")
    ours, theirs = alternately([loop.train, peer], rounds, seconds)
    rows = (
        ("pinxit, " + ("bf16" if loop.bf16 else "fp32"), batch / ours, ratio(theirs, ours)),
        (f"transformers ViTMAE, {faster}", batch / theirs, 1.0),
    )
    return Table(
        "Training a masked autoencoder, 32 x 32, patch 2, 192 x 6 and 128 x 2 "
        "(must: 1.2 times; goal: 2)",
        ("trainer", "images/s", "times the peer's faster"),
        rows,
        ("The same weights, batch and fused AdamW; the peer's images lie ready as floats.",),
    )


def _peer(
    model: MaskedAutoencoder, images: Images, batch: int, bf16: bool
) -> Callable[[int], float]:
    """Training steps of the peer, timed; as the documentation has it."""
    from benchmarks.peer_transformers import to_vit_mae

    device = "cuda" if torch.cuda.is_available() else "cpu"
    peer = to_vit_mae(model).to(device).train()
    optimizer = torch.optim.AdamW(peer.parameters(), 1e-3, fused=True)
    pixels = torch.from_numpy(np.array(images.pixels)).permute(0, 3, 1, 2)
    x = ((pixels.float() / 255 - model.mean) / model.std).contiguous().to(device)

    def train(steps: int) -> float:
        start = time.perf_counter()
        for step in range(steps):
            some = x[step * batch % len(x) :][:batch]
            with torch.autocast(device, torch.bfloat16, enabled=bf16):
                loss = peer(pixel_values=some).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    return train


def alternately(works: list[Callable[[int], float]], rounds: int, seconds: float) -> list[float]:
    """Seconds of a step of each: the median over rounds in which each has its turn."""
    steps = []
    for work in works:
        work(2)
        steps.append(max(2, round(seconds / (work(2) / 2))))
    found = [[work(n) / n for work, n in zip(works, steps, strict=True)] for _ in range(rounds)]
    return [median(column) for column in zip(*found, strict=True)]
