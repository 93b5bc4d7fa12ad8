"""Options that a training refuses it refuses first: before a folder, a stage or a file is written.

And those that a resumed session is given reach the stage that it goes on with.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import pinxit
from pinxit.errors import PinxitError, UsageError
from pinxit.models import flow as flow_family
from pinxit.runs import Run, naming
from pinxit.training.api import resume, train
from pinxit.training.settings import TrainingSettings
from pinxit.training.stages import Stages, component_path
from tests.builders import blobs

TINY = {"network": "mlp", "latent_dim": 2, "width": 16, "depth": 1}
SHORT = {"steps": 4, "num_evals": 1, "batch_size": 8, "precision": "fp32", "quiet": True}
FLOW = pinxit.Flow(width=16, depth=1, heads=1, condition="none")


def color_images():
    return blobs(24, 18, 18, channels=3)


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        (pinxit.VAE(network="linear", latent_dim=2), {"optimizer": "muon"}),
        (pinxit.VAE(**TINY, mmd=1.0), {"accumulate": 2}),
        (pinxit.VAE(**TINY, free_bits=0.1), {"accumulate": 2}),
        (pinxit.VAE(**TINY, iw_from=0.2), {}),
        (FLOW, {"batch_size": 2, "accumulate": 4}),
        (FLOW, {"augment": "off", "augment_until": 0.5}),
        (dataclasses.replace(FLOW, num_clusters=3), {}),
    ],
)
def test_a_refused_training_leaves_no_folder(config, settings, tmp_path):
    with pytest.raises(UsageError):
        train(config, color_images(), out=tmp_path / "run", **{**SHORT, **settings})
    assert not (tmp_path / "run").exists()


def test_augmentation_that_one_of_two_stages_has_may_end_early(tmp_path, monkeypatch):
    monkeypatch.setattr(flow_family, "MAX_AUGMENTED", 1)
    run = train(FLOW, color_images(), out=tmp_path / "run", **SHORT, augment_until=0.5)
    assert run.config["training"]["augment"] == ["off"]
    component = Run(component_path(run)).config["training"]
    assert component["augment"] != ["off"]


def errors_of_pinxit() -> set[type[PinxitError]]:
    for module in pkgutil.walk_packages(pinxit.__path__, "pinxit."):
        if "__main__" not in module.name:
            importlib.import_module(module.name)
    found, open_ = {PinxitError}, [PinxitError]
    while open_:
        children = open_.pop().__subclasses__()
        found.update(children)
        open_ += children
    return found


def test_an_error_of_any_class_may_have_the_folder_before_its_text(tmp_path):
    kinds = errors_of_pinxit()
    assert {"MissingExtraError", "UnusedOptionError"} <= {kind.__name__ for kind in kinds}
    for kind in kinds:
        error = kind.__new__(kind, "what is wrong")
        error.extra = "wandb"
        with pytest.raises(kind) as raised, naming(tmp_path):
            raise error
        assert type(raised.value) is kind
        assert str(raised.value) == f"{tmp_path}: what is wrong"
        assert raised.value.extra == "wandb"


def test_a_resume_with_options_that_the_model_refuses_changes_nothing(tmp_path):
    run = train(pinxit.VAE(**TINY, mmd=1.0), blobs(), out=tmp_path / "run", **SHORT)
    before = (run.path / "config.json").read_bytes()
    with pytest.raises(UsageError, match="--mmd is of a batch as a whole"):
        resume(run, blobs(), steps=8, accumulate=2, quiet=True)
    assert (run.path / "config.json").read_bytes() == before


def test_the_first_stage_goes_on_with_the_settings_that_a_resume_is_given(tmp_path):
    run = train(FLOW, color_images(), out=tmp_path / "run", **SHORT)
    component = Run(component_path(run))
    given = {"device": "cpu", "accumulate": 2, "log": ("csv",), "devices": 2, "strategy": "fsdp"}
    settings = TrainingSettings(steps=10, **given)
    stages = Stages.of(flow_family.component(FLOW, run.info), settings)
    resumed = stages.settings_to_resume(component)
    assert {name: getattr(resumed, name) for name in given} == given
    assert resumed.seed == component.config["training"]["seed"]


def test_trackers_of_a_session_are_those_that_it_is_given():
    recorded = dataclasses.asdict(TrainingSettings(tensorboard=True))
    assert TrainingSettings(**{**recorded, "log": ("csv",)}).log == ("csv",)


# -- labels of a resumed run -----------------------------------------------------------------------


def relabel(images, names):
    """The same images and classes, numbered in another order."""
    numbers = np.array([names.index(name) for name in images.label_names])
    return dataclasses.replace(images, labels=numbers[images.labels], label_names=tuple(names))


@pytest.mark.parametrize("family", ["vae", "igpt"])
def test_labels_of_a_resumed_run_are_those_that_it_has_learned(tmp_path, family):
    configs = {
        "vae": pinxit.VAE(**TINY, condition="label"),
        "igpt": pinxit.IGPT(width=16, depth=1, heads=1, palette_size=4, condition="label"),
    }
    images, weights = blobs(), []
    for name, data in (("same", images), ("other", relabel(images, images.label_names[::-1]))):
        run = train(configs[family], images, out=tmp_path / name, **SHORT)
        resumed = resume(run, data, steps=6, quiet=True)
        weights.append(load_file(resumed.weights_path))
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_labels_that_a_resumed_run_does_not_know_are_refused(tmp_path):
    images = blobs()
    run = train(pinxit.VAE(**TINY, condition="label"), images, out=tmp_path / "run", **SHORT)
    names = ("another", *images.label_names[1:])
    with pytest.raises(UsageError, match="these images have another"):
        resume(run, dataclasses.replace(images, label_names=names), steps=6, quiet=True)
    bare = dataclasses.replace(images, labels=None, label_names=())
    with pytest.raises(UsageError, match="these images have none"):
        resume(run, bare, steps=6, quiet=True)
