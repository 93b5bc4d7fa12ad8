"""Checkpoints: written beside training, in parts, and read by any number of processes."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import pinxit
from pinxit.errors import PinxitError
from pinxit.models import build_model
from pinxit.runs import Run
from pinxit.training import checkpoint
from pinxit.training.checkpoint import (
    CheckpointWriter,
    Snapshot,
    has_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from tests.builders import blobs
from tests.training import groups
from tests.training.fake_model import MeanImageModel, make_state, run_steps

IGPT = pinxit.IGPT(width=16, depth=1, heads=2, palette_size=4)
# a gradient above half of the running mean of the norms is clipped: that mean matters
CLIPPED = {"grad_clip_factor": 0.5, "optimizer": "muon"}


def igpt_state():
    torch.manual_seed(0)
    images = blobs()
    model = build_model(IGPT, images, images.split_indices("train"))[0]
    return make_state(model, **CLIPPED)


def test_every_state_of_the_optimizer_and_the_clipping_is_restored(tmp_path):
    whole, first, second = (igpt_state() for _ in range(3))
    run_steps(whole, blobs(), 8, **CLIPPED)
    run_steps(first, blobs(), 8, last=4, **CLIPPED)
    save_checkpoint(tmp_path, first)
    assert load_checkpoint(tmp_path, second) is None
    keys = {key for state in second.optimizer.state.values() for key in state}
    assert keys == {"step", "exp_avg", "exp_avg_sq", "momentum"}
    run_steps(second, blobs(), 8, **CLIPPED)
    for name, tensor in whole.module.state_dict().items():
        assert torch.equal(tensor, second.module.state_dict()[name]), name
    assert whole.counters == second.counters


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path, monkeypatch):
    may_write, write = threading.Event(), checkpoint.write_atomically

    def write_late(file: Path, content: bytes) -> Path:
        assert may_write.wait(30)
        return write(file, content)

    monkeypatch.setattr(checkpoint, "write_atomically", write_late)
    state, writer = make_state(MeanImageModel()), CheckpointWriter(tmp_path)
    writer.save(state)
    with torch.no_grad():
        state.parameters[0].fill_(7.0)  # as the next step does
    assert not has_checkpoint(tmp_path)
    may_write.set()
    writer.wait()
    saved = load_file(tmp_path / "state.safetensors")["model.weight"]
    assert torch.equal(saved, torch.zeros_like(saved)), "the copy, not what came after"
    writer.close()


def test_an_error_of_writing_is_raised_by_the_next_checkpoint_or_at_the_end(tmp_path, monkeypatch):
    def fail(file: Path, content: bytes) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_atomically", fail)
    state, writer = make_state(MeanImageModel()), CheckpointWriter(tmp_path)
    writer.save(state)
    with pytest.raises(OSError, match="No space left"):
        writer.save(state)
    writer.save(state)
    with pytest.raises(OSError, match="No space left"):
        writer.wait()
    writer.wait()


def split_rows(whole: Snapshot, num_parts: int) -> list[Snapshot]:
    """Write a snapshot as so many processes with parts of its tensors do."""
    parts = []
    for rank in range(num_parts):
        tensors, offsets = {}, {}
        for name, tensor in whole.tensors.items():
            if tensor.ndim == 0:
                if rank == 0:
                    tensors[name] = tensor
                continue
            size = -(-len(tensor) // num_parts)
            start = min(rank * size, len(tensor))
            tensors[name] = tensor[start : start + size].clone()
            offsets[name] = (start, len(tensor))
        parts.append(Snapshot(tensors, offsets, whole.counters, whole.step, rank, num_parts))
    return parts


@pytest.mark.parametrize("num_parts", [1, 2, 3, 7])
def test_parts_are_read_as_the_whole(tmp_path, num_parts):
    first, second = igpt_state(), igpt_state()
    run_steps(first, blobs(), 3, **CLIPPED)
    for part in split_rows(Snapshot.of(first), num_parts):
        part.write(tmp_path)
    load_checkpoint(tmp_path, second)
    for (name, p), q in zip(
        first.module.named_parameters(), second.module.parameters(), strict=True
    ):
        assert torch.equal(p, q), name
        for key, value in first.optimizer.state[p].items():
            assert torch.equal(value, second.optimizer.state[q][key]), (name, key)
    assert all(map(torch.equal, first.ema_params, second.ema_params))


def test_a_checkpoint_with_a_missing_part_does_not_count(tmp_path):
    state = igpt_state()
    run_steps(state, blobs(), 6, last=2, **CLIPPED)
    for part in split_rows(Snapshot.of(state), 2):
        part.write(tmp_path)
    run_steps(state, blobs(), 6, last=4, **CLIPPED)
    split_rows(Snapshot.of(state), 2)[1].write(tmp_path)  # process 1 was killed
    again = igpt_state()
    assert load_checkpoint(tmp_path, again) is None
    assert again.counters.step == 2


def test_the_last_two_checkpoints_of_parts_are_kept(tmp_path):
    state = igpt_state()
    for last in (1, 2, 3, 4):
        run_steps(state, blobs(), 9, last=last, **CLIPPED)
        for part in split_rows(Snapshot.of(state), 2):
            part.write(tmp_path)
    steps = sorted({file.name.split(".")[0] for file in tmp_path.iterdir()})
    # the main process removes, and it wrote its part before the other one did
    assert steps == ["state-0000002", "state-0000003", "state-0000004"]
    save_checkpoint(tmp_path, state)  # in one file, of step 4 too
    run_steps(state, blobs(), 9, last=5, **CLIPPED)
    save_checkpoint(tmp_path, state)
    assert {file.name for file in tmp_path.iterdir()} == {
        "state.safetensors", "state.previous.safetensors",
        "state-0000004.1-of-2.safetensors", "state-0000004.2-of-2.safetensors",
    }  # fmt: skip


def test_a_damaged_part_falls_back_to_the_checkpoint_before(tmp_path):
    state = igpt_state()
    for last in (1, 2):
        run_steps(state, blobs(), 9, last=last, **CLIPPED)
        for part in split_rows(Snapshot.of(state), 2):
            part.write(tmp_path)
    file = tmp_path / "state-0000002.2-of-2.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    again = igpt_state()
    warning = load_checkpoint(tmp_path, again)
    assert "is damaged" in (warning or "")
    assert again.counters.step == 1


@pytest.mark.parametrize("name", ["state.safetensors", "state-0000001.1-of-1.safetensors"])
def test_a_checkpoint_without_counters_is_damaged(tmp_path, name):
    save_file({"x": torch.zeros(2)}, tmp_path / name)
    with pytest.raises(PinxitError, match=r"is damaged .* there is no previous one"):
        load_checkpoint(tmp_path, igpt_state())


@pytest.mark.long
def test_parts_of_two_processes_go_on_with_any_number(tmp_path):
    """Trained by two with divided weights, then by one, and by three."""
    settings = {"steps": 3, "batch_size": 12, "checkpoint_seconds": 1000, **CLIPPED}
    more = {"steps": 6}
    run = tmp_path / "two"
    fsdp = {**settings, "strategy": "fsdp"}
    assert groups.run_group(groups.train, (IGPT, blobs(), str(run), fsdp), tmp_path) == [0, 0], (
        groups.logs(tmp_path)
    )
    files = sorted(file.name for file in (run / "checkpoint").iterdir())
    last = [f"state-0000003.{n}-of-2.safetensors" for n in (1, 2)]
    assert files == [name.replace("3.", "0.", 1) for name in last] + last
    sizes = [(run / "checkpoint" / name).stat().st_size for name in last]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.2), "each holds about one half"
    with safe_open(run / "checkpoint" / last[1], "pt") as part:
        assert json.loads(part.metadata()["counters"])["step"] == 3

    import shutil

    groups.train(IGPT, blobs(), str(tmp_path / "whole"), settings)
    expected = pinxit.resume(tmp_path / "whole", blobs(), quiet=True, **more)
    weights = load_file(expected.weights_path)
    for world_size, strategy in ((1, "ddp"), (3, "fsdp")):
        other = Run(shutil.copytree(run, tmp_path / f"{strategy}-{world_size}"))
        changes = {**more, "strategy": strategy}
        codes = groups.run_group(
            groups.resume, (str(other.path), blobs(), changes), tmp_path, world_size
        )
        assert codes == [0] * world_size, groups.logs(tmp_path)
        assert Run(other.path).config["finished"] is True
        for name, tensor in load_file(other.weights_path).items():
            torch.testing.assert_close(tensor, weights[name], atol=2e-4, rtol=1e-3)
