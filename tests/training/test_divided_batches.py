"""A batch that processes and micro-batches share trains as the whole one does, in every family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import pinxit
from pinxit.models import family_of, list_families
from pinxit.runs import Run
from tests.builders import blobs
from tests.training import groups

SMALL: dict[str, Any] = {"width": 16, "heads": 2, "depth": 1}
TEXT = {**SMALL, "decoder_depth": 1, "max_text_tokens": 24}
CONFIGS = {
    "vae": pinxit.VAE(latent_dim=4, width=8, depth=1),
    "mae": pinxit.MAE(**SMALL, decoder_width=16, decoder_depth=1, decoder_heads=2),
    "igpt": pinxit.IGPT(**SMALL, palette_size=4),
    "vq": pinxit.ImageTokenizer(quantizer="vq", width=8, depth=1, patch_size=2, codebook_size=16),
    "fsq": pinxit.ImageTokenizer(width=8, depth=1, patch_size=2),
    "draw": pinxit.Seq2Seq(source="text", target="image", palette_size=4, **TEXT),
    "caption": pinxit.Seq2Seq(source="image", target="text", **TEXT),
    "flow": pinxit.Flow(**SMALL, condition="text", shortcut_share=0.3),
}
# 13 images: no two parts of a batch have to be of one size
STEPS = {"steps": 4, "batch_size": 13}


def run_jobs(folder: Path, world_size: int, **settings: Any) -> list[int | None]:
    jobs = [
        (config, blobs(), str(folder / name), {**STEPS, **settings})
        for name, config in CONFIGS.items()
    ]
    return groups.run_group(groups.train_all, (jobs,), folder, world_size)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """Each family, trained by one process on whole batches."""
    folder = tmp_path_factory.mktemp("whole")
    assert run_jobs(folder, 1) == [0], groups.logs(folder)
    return folder


def test_every_family_is_here():
    assert {family_of(config) for config in CONFIGS.values()} == set(list_families())


@pytest.mark.parametrize(
    ("world_size", "settings"),
    [
        (2, {}),
        pytest.param(1, {"accumulate": 3}, marks=pytest.mark.long),
        pytest.param(2, {"accumulate": 2}, marks=pytest.mark.long),
        pytest.param(2, {"strategy": "fsdp"}, marks=pytest.mark.long),
    ],
    ids=["two processes", "three parts", "two processes, two parts", "fsdp"],
)
def test_a_divided_batch_trains_as_the_whole_one(whole, tmp_path, world_size, settings):
    assert run_jobs(tmp_path, world_size, **settings) == [0] * world_size, groups.logs(tmp_path)
    for name in CONFIGS:
        expected, run = Run(whole / name), Run(tmp_path / name)
        assert run.config["training"]["batch_size"] == 13
        weights, own = load_file(expected.weights_path), load_file(run.weights_path)
        assert weights.keys() == own.keys()
        for key, tensor in weights.items():
            torch.testing.assert_close(
                own[key],
                tensor,
                atol=2e-4,
                rtol=1e-3,
                msg=lambda text, n=name, k=key: f"{n} {k}: {text}",
            )
        for before, after in zip(expected.metrics(), run.metrics(), strict=True):
            for column in before.keys() - {"seconds", "perplexity", "val_perplexity"}:
                assert after[column] == pytest.approx(before[column], rel=1e-4, abs=1e-4), (
                    name, column,
                )  # fmt: skip


def test_a_codebook_counts_the_vectors_of_all_processes(whole):
    """16 vectors of each of 13 images; the first batch fills the codebook to the average."""
    counts = load_file(whole / "vq" / "checkpoint" / "state.safetensors")["model.quantizer.counts"]
    assert counts.sum() == pytest.approx(16 * 13, rel=0.2)
