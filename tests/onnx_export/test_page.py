"""docs/export.md: its table is complete; tests/test_doc_blocks.py runs its blocks."""

from __future__ import annotations

import re
from pathlib import Path

import pinxit
from pinxit.models import get_family, list_families
from pinxit.models.export_parts import AnyPart
from tests.onnx_export.test_parts import build
from tests.test_conformance import CONFIGS

PAGE = (Path(__file__).parents[2] / "docs" / "export.md").read_text("utf-8")


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
