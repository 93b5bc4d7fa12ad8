"""Commands in a report can be pasted into a shell: the parser reads them, spaces and all."""

from __future__ import annotations

import dataclasses
import re
import shlex
import sys
from html import unescape

import pytest

import pinxit
from pinxit.cli import main
from pinxit.reports import report
from tests.builders import blobs, save_npz
from tests.test_doc_blocks import parse

pytestmark = pytest.mark.slow

SMALL = {"width": 16, "heads": 2, "depth": 1, "decoder_depth": 1, "max_text_tokens": 24}
CONFIGS = {
    "vae": pinxit.VAE(network="mlp", latent_dim=3, width=16, depth=1, beta=0.5, free_bits=0.1),
    "grid": pinxit.VAE(latents="grid", downscale=4, width=16, depth=1),
    "ladder": pinxit.VAE(latent_dim=4, levels=2, width=16, depth=1),
    "mae": pinxit.MAE(width=16, depth=1, heads=2),
    "igpt": pinxit.IGPT(width=16, depth=1, heads=2, palette_size=4),
    "draw": pinxit.Seq2Seq(source="text", target="image", palette_size=4, **SMALL),
}
PLACEHOLDERS = {"--minutes N": "--minutes 1"}


def list_commands(html: str) -> list[str]:
    """The commands with arguments in the code elements of a page."""
    codes = [unescape(code) for code in re.findall(r"<code[^>]*>(.*?)</code>", html, re.DOTALL)]
    lines = [line for code in codes for line in code.splitlines()]
    return [line for line in lines if line.startswith("pinxit ") and line.count(" ") > 1]


def check_commands(html: str, *paths: str) -> None:
    commands = list_commands(html)
    assert commands
    for command in commands:
        for placeholder, value in PLACEHOLDERS.items():
            command = command.replace(placeholder, value)
        parse(command)
    words = {word for command in commands for word in shlex.split(command)}
    assert set(paths) <= words


@pytest.mark.parametrize("name", CONFIGS)
def test_commands_of_a_report_can_be_pasted(name, tmp_path):
    folder = tmp_path / "my runs; all"
    folder.mkdir()
    data = save_npz(folder / "my images.npz", blobs())
    images = dataclasses.replace(blobs(), source=str(data))
    options = {"steps": 4, "batch_size": 16, "num_evals": 2, "quiet": True}
    run = pinxit.train(CONFIGS[name], images, out=folder / "run of blobs", **options)
    html = report(run.path, images=images).read_text()
    check_commands(html, str(run.path), str(data))
    if "OPENAI_BASE_URL" in html:
        assert "address with <code>/v1</code>" in html  # as `pinxit serve` prints it


def test_commands_of_a_run_of_the_command_line_keep_its_options(tmp_path, monkeypatch):
    folder = tmp_path / "my runs"
    folder.mkdir()
    data, out = save_npz(folder / "my images.npz", blobs()), folder / "a run"
    words = ["train", "vae", str(data), "--latent-dim", "3", "--width", "16", "--depth", "1"]
    words += ["--steps", "4", "--free-bits", "0.2", "--out", str(out), "--quiet"]
    monkeypatch.setattr(sys, "argv", ["pinxit", *words])
    assert main(words) == 0
    html = (out / "report.html").read_text()
    check_commands(html, str(out), str(data))
    extreme = [c for c in list_commands(html) if re.search(r"--beta (0\.001|30)\b", c)]
    assert len(extreme) == 2
    for command in extreme:
        assert "--free-bits 0.2" in command
        assert str(out) not in shlex.split(command), "it would be trained into the same folder"
