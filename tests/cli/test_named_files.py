"""Every image that a command is given is used, or the command says how many are left out."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import pinxit
from pinxit.cli import main
from pinxit.cli.completion import all_options
from tests.builders import blobs

COUNTS = [1, 8, 9, 33, 40]
# commands of a run and DATA, with the name of the run
COMMANDS = {
    "caption": ("caption", "--num-beams", 1, "--json"),
    "complete": ("igpt", "--json"),
    "embed": ("run", "--json"),
    "map": ("run", "--json"),
    "reconstruct": ("run", "--json"),
    "score": ("run", "--json"),
}
# these measure, and state on how many images
MEASURING = {"evaluate", "explain", "export"}


@pytest.fixture(scope="module")
def runs(vae_folder, text_runs, tmp_path_factory) -> dict[str, Path]:
    """Of 30 test images each, but for `caption`, whose own data have no name."""
    small = {"width": 16, "heads": 2, "depth": 1}
    configs = {
        "igpt": pinxit.IGPT(palette_size=4, **small),
        "own-caption": pinxit.Seq2Seq(source="image", target="text", decoder_depth=1, **small),
    }
    root, data = tmp_path_factory.mktemp("runs"), str(vae_folder / "blobs.npz")
    templates = root / "labels.toml"
    labels = [f'{name} = {{ en = "{name}" }}' for name in blobs().label_names]
    table = ["[mine]", 'template = { en = "a blob at {}" }', "[mine.labels]", *labels]
    templates.write_text("\n".join(table))
    for name, config in configs.items():
        captions = str(templates) if name == "own-caption" else None
        pinxit.train(config, data, out=root / name, steps=2, captions=captions, quiet=True)
    named = {"run": vae_folder / "run", "caption": text_runs / "caption"}
    return {**named, **{name: root / name for name in configs}}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("files")
    images = blobs(max(COUNTS), height=16, width=16)
    return [images[i].save(folder / f"{i:02d}.png") for i in range(len(images))]


def count_results(command: str, output: str, folder: Path) -> int:
    record = json.loads(output)
    if command == "map":
        return pq.read_table(folder).num_rows
    if command == "complete":
        return record["num_images"]
    for name in ("images", "scores"):
        if isinstance(record.get(name), list):
            return len(record[name])
    return record["count"]


def test_the_commands_of_data_are_known():
    options = all_options().items()
    of_data = {
        command
        for command, known in options
        if {"RUN", "[DATA ...]"} <= {option.metavar for option in known}
    }
    assert of_data - MEASURING == set(COMMANDS)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("command", COMMANDS)
def test_naming_k_files_gives_k_results(command, count, runs, files, tmp_path, capfd):
    run, *words = COMMANDS[command]
    task = ["embed"] if command == "map" else []
    suffix = {"embed": ".parquet", "map": "", "score": ".csv", "caption": None}.get(command, ".png")
    out = tmp_path / f"out{suffix}"
    words += [] if suffix is None else ["--out", out]
    given = files[:count]
    assert main([command, *task, *map(str, (runs[run], *given, *words))]) == 0
    captured = capfd.readouterr()
    assert count_results(command, captured.out, out) == count
    assert "-n chooses more" not in captured.err


# of 30 test images of its own, and of a folder of 40
USED = {"complete": (8, 8), "reconstruct": (30, 32), "caption": (8, 40)}


@pytest.mark.parametrize("source", ["own", "folder"])
@pytest.mark.parametrize("command", USED)
def test_images_that_are_left_out_are_counted(command, source, runs, files, tmp_path, capfd):
    run, *words = COMMANDS[command]
    run = "own-caption" if command == "caption" and source == "own" else run
    data = [] if source == "own" else [files[0].parent]
    used, total = USED[command][source == "folder"], 30 if source == "own" else 40
    words += [] if command == "caption" else ["--out", tmp_path / "sheet.png"]
    line = f"{used} of {total} images; -n chooses more"
    for more, count in ([], used), (["--quiet"], used), (["-n", 5], 5):
        assert main([command, *map(str, (runs[run], *data, *words, *more))]) == 0
        captured = capfd.readouterr()
        assert count_results(command, captured.out, tmp_path) == count
        assert (line in captured.err) == (used < total and not more)
