"""docs/export.md: its commands and its Python run, on tiny models."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import pinxit
from pinxit.cli import main
from pinxit.models import get_family, list_families
from pinxit.models.export_parts import AnyPart
from tests.builders import blobs, make_run, save_npz
from tests.onnx_export.test_parts import build
from tests.test_conformance import CONFIGS

PAGE = (Path(__file__).parents[2] / "docs" / "export.md").read_text("utf-8")
BLOCKS = re.findall(r"```(console|python)\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.long
def test_commands_and_programs_of_the_page_run(tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "runs" / "digits-vae", blobs())
    data = save_npz(tmp_path / "blobs.npz", blobs())
    config = pinxit.IGPT(width=16, depth=1, heads=2, palette_size=4)
    pinxit.train(config, str(data), out="runs/digits-igpt", steps=1, batch_size=8, quiet=True)
    record = (tmp_path / "runs" / "digits-vae" / "config.json").read_text()
    (tmp_path / "runs" / "digits-vae" / "config.json").write_text(
        record.replace('"source": "blobs"', f'"source": "{data}"')
    )
    scope: dict[str, object] = {}
    for kind, block in BLOCKS:
        if kind == "python":
            exec(block, scope)
            continue
        for words in re.findall(r"^\$ pinxit (.+)$", block, re.MULTILINE):
            assert main(shlex.split(words)) == 0, words
            assert "on 64 images" in capsys.readouterr().out
    assert (tmp_path / "samples.png").is_file()


def test_the_table_has_every_part_of_every_family():
    table = PAGE.split("## Parts")[1].split("##")[0]
    rows, family = {}, ""
    for line in re.findall(r"^\| (.*) \|$", table, re.MULTILINE):
        first, parts = line.replace("\\|", "").split("|")[:2]
        family = first.strip().strip("`") or family
        rows.setdefault(family, set()).update(re.findall(r"`(\w+)`", parts))
    declared: dict[str, set[str]] = {}
    for config in [*CONFIGS, pinxit.VAE(prior="flow", width=16, latent_dim=3)]:
        model = build(config)
        family = model.__module__.split(".")[2]
        parts: tuple[AnyPart, ...] = get_family(family).export_parts(model)
        declared.setdefault(family, set()).update(part.name for part in parts)
    assert set(declared) == set(list_families())
    assert {name: rows[name] for name in declared} == declared
