"""What a report shows as samples during training: of every family, of old runs, never of data."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from pinxit.models import build_model, family_of, get_family, list_families
from pinxit.models.protocols import CanDraw, CanSample
from pinxit.reports import samples as samples_module
from pinxit.reports.context import ReportContext
from pinxit.reports.samples import samples
from pinxit.runs import FORMAT, Run
from pinxit.training.previews import GENERATED, read_titles, save_previews
from tests.builders import blobs

pytestmark = pytest.mark.slow

FAMILIES = {name: get_family(name) for name in list_families()}
CONFIGS = [
    config
    for module in FAMILIES.values()
    if "sample" in module.ABILITIES
    for config in (module.variants() if hasattr(module, "variants") else (module.Config(),))
]


def config_id(config) -> str:
    return f"{family_of(config)}-{CONFIGS.index(config)}"


def save_run(folder, config, steps=(1, 20, 300)) -> ReportContext:
    """A run folder of an untrained model with previews of several steps."""
    images = blobs(48)
    model, _ = build_model(config, images, np.arange(24))
    run = Run(folder)
    for step in steps:
        save_previews(model.eval(), run, step, images[:4])
    record = {"format": FORMAT, "family": family_of(config), "model": dataclasses.asdict(config)}
    run.write("config.json", {**record, "dataset_info": images.info().to_json()})
    return ReportContext(run, model=model, images=images)


def list_shown(context, monkeypatch) -> list[str]:
    """The files that are under "During training"."""
    shown, load = [], samples_module._load_first_images

    def load_first_images(file, *args):
        shown.append(file.name)
        return load(file, *args)

    monkeypatch.setattr(samples_module, "_load_first_images", load_first_images)
    monkeypatch.setattr(samples_module, "_sample_by_label", lambda context: [])
    section = samples(context)
    assert section is not None
    steps = [text for text, _ in section.values["during_training"]]
    assert steps == ["step 1", "step 20", "step 300"]
    return shown


@pytest.mark.parametrize("config", CONFIGS, ids=config_id)
def test_samples_during_training_are_of_grids_that_show_no_data(config, tmp_path, monkeypatch):
    context = save_run(tmp_path, config)
    if not isinstance(context.model, CanSample):
        assert samples(context) is None
        return
    titles = read_titles(tmp_path / "samples")
    shown = list_shown(context, monkeypatch)
    assert {titles[name.partition("-")[0]] for name in shown} == {GENERATED}


@pytest.mark.parametrize("config", CONFIGS, ids=config_id)
def test_samples_of_a_run_without_titles_are_those_of_its_version(config, tmp_path, monkeypatch):
    context = save_run(tmp_path, config)
    if not isinstance(context.model, CanSample):
        return
    (tmp_path / "samples" / "titles.json").unlink()
    kind = "sample" if isinstance(context.model, CanDraw) else "step"
    assert {name.partition("-")[0] for name in list_shown(context, monkeypatch)} == {kind}


def test_grids_of_the_data_alone_are_no_samples(tmp_path):
    context = save_run(tmp_path, CONFIGS[0])
    file = tmp_path / "samples" / "titles.json"
    file.write_text(json.dumps({"step": "edits: images before, edited images, true images"}))
    section = samples(context)
    assert section is not None
    assert section.values["during_training"] == []
