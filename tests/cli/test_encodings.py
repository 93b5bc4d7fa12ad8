"""Output never fails for an encoding, and names that are not UTF-8 work in every command."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pinxit.cli import main
from pinxit.data.load import load_images

ENCODINGS = ("ascii", "cp1252", "latin-1", "shift_jis", "utf-16", "utf-8")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux"),
]
VAE = ("train", "vae", "--steps", "2", "--batch-size", "4", "--width", "8", "--depth", "1")
CAPTIONS = ("train", "seq2seq", "--source", "image", "--target", "text", "--steps", "2")
SMALL = ("--batch-size", "4", "--width", "8", "--depth", "1", "--decoder-depth", "1")

names = st.binary(min_size=1, max_size=12).filter(
    lambda name: not set(name) & {0, ord("/")} and not name.startswith((b".", b"~"))
)


def save_images(folder: Path, stems: list[bytes], caption: str = "红色 é 🚀") -> None:
    folder.mkdir(parents=True)
    for i, stem in enumerate(stems):
        path = Path(os.fsdecode(os.path.join(os.fsencode(folder), stem)))  # noqa: PTH118 (bytes)
        pixels = np.random.default_rng(i).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(f"{path}.png")
        Path(f"{path}.txt").write_text(f"{caption} {i % 3}", encoding="utf-8")


def run(monkeypatch: pytest.MonkeyPatch, encoding: str, *args: object) -> bytes:
    """Run a command with consoles of an encoding, and return what it printed."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
    with monkeypatch.context() as context:
        context.setattr(sys, "stdout", streams[0])
        context.setattr(sys, "stderr", streams[1])
        code = main([str(arg) for arg in args])
        for stream in streams:
            stream.flush()
    output, errors = (stream.buffer.getvalue() for stream in streams)  # type: ignore[attr-defined]
    assert code == 0, (args, errors.decode(encoding, "replace"))
    return output


@pytest.fixture(scope="module")
def byte_names(tmp_path_factory) -> tuple[Path, Path, Path]:
    """A folder of byte names, with classes, and runs of a VAE and of captions trained on it."""
    root = tmp_path_factory.mktemp("names") / os.fsdecode(b"d\xe9")
    for label in (b"caf\xe9", b"\xff\xfe"):
        folder = root / os.fsdecode(label)
        save_images(folder, [b"im\xe9_%d" % i for i in range(8)])
    runs = root.parent / os.fsdecode(b"r\xe9"), root.parent / "captions"
    for run_folder, command in zip(runs, ([*VAE], [*CAPTIONS, *SMALL]), strict=True):
        assert main([*command, str(root), "--out", str(run_folder), "--no-report"]) == 0
    return root, *runs


COMMANDS = (
    "look DATA --out OUT.png",
    "look DATA --json --out OUT.png",
    "score RUN DATA --out OUT.csv",
    "score RUN DATA --json --out OUT.csv",
    "embed RUN DATA --out OUT.parquet",
    "evaluate RUN",
    "report RUN --out OUT.html",
    "caption CAPTIONS DATA",
    "caption CAPTIONS DATA --json",
    "reconstruct RUN DATA --out OUT.png",
    "runs ROOT",
    "runs ROOT --json",
)


SLOW = ("evaluate", "report")  # run with one encoding


@pytest.mark.parametrize(
    ("command", "encoding"),
    [
        (command, encoding)
        for command in COMMANDS
        for encoding in ("ascii", "cp1252", "utf-8")
        if encoding == "ascii" or not command.startswith(SLOW)
    ],
)
def test_names_that_are_not_utf8_work(byte_names, tmp_path, monkeypatch, command, encoding):
    data, vae, captions = byte_names
    paths = {"DATA": data, "RUN": vae, "CAPTIONS": captions, "ROOT": data.parent}
    args = [paths.get(word, word.replace("OUT", str(tmp_path / "out"))) for word in command.split()]
    output = run(monkeypatch, encoding, *args)
    if "--json" in command:
        json.loads(output.decode(encoding))
    for file in tmp_path.glob("out.csv"):
        rows = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))
        assert len({row["name"] for row in rows}) == 16
    for file in tmp_path.glob("out.parquet"):
        assert len(set(pq.read_table(file)["name"].to_pylist())) == 16
    for file in tmp_path.glob("out.html"):
        file.read_text(encoding="utf-8")


def test_the_config_of_a_run_has_the_path_of_its_data(byte_names):
    data, vae, _ = byte_names
    config = json.loads((vae / "config.json").read_text(encoding="utf-8"))
    assert str(data) in json.dumps(config, ensure_ascii=False)


@settings(deadline=None, max_examples=25, derandomize=True)
@given(
    stems=st.lists(names, min_size=1, max_size=4, unique=True),
    encoding=st.sampled_from(ENCODINGS),
    caption=st.text(min_size=1, max_size=8),
)
def test_any_names_and_captions_are_shown_in_any_encoding(
    tmp_path_factory, stems, encoding, caption
):
    folder = tmp_path_factory.mktemp("names") / "data"
    save_images(folder, stems, caption.encode("utf-8", "replace").decode())
    images = load_images(folder, progress=False)
    assert len(images) == len(stems)
    assert {os.fsencode(name) for name in images.names} == {stem + b".png" for stem in stems}
    with pytest.MonkeyPatch.context() as patch:
        run(patch, encoding, "look", folder, "--out", folder.parent / "sheet.png")
        output = run(patch, encoding, "look", folder, "--json", "--out", folder.parent / "a.png")
    assert json.loads(output.decode(encoding))["num_images"] == len(stems)


@pytest.mark.parametrize("environment", [{"PYTHONIOENCODING": "cp1252"}, {"LC_ALL": "C"}])
def test_a_process_prints_captions_in_its_encoding(tmp_path, environment):
    save_images(tmp_path / "data", [b"a\xe9", b"b"])
    command = [sys.executable, "-m", "pinxit.cli", "look", "data", "--out", "sheet.png"]
    process = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, **environment}, capture_output=True
    )
    assert process.returncode == 0, process.stderr
    assert b"bug" not in process.stderr
