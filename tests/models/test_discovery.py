"""A model family is a package in `pinxit.models`; nothing else names it."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import pinxit
from pinxit import models
from pinxit.cli import main
from pinxit.errors import UsageError
from pinxit.models import get_family, list_families
from tests.builders import blobs

FAMILY = '''
"""Mean image: samples the mean of the training images (nobody 2026)."""

import dataclasses

from pinxit.models.config import model_config

PUBLIC_NAME = "MeanImage"
ABILITIES = ("sample",)


@model_config
@dataclasses.dataclass(frozen=True)
class Config:
    """Options of the mean image."""

    # grey value that the mean starts from, 0 to 1
    initial_grey: float = 0.5

    def resolve(self, info):
        return self


def build(config, info):
    import torch
    from pinxit.data.images import Images
    from pinxit.models.generation import SEEDED, resolve_params
    from pinxit.models.results import Loss

    class MeanImage(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.config, self.info = config, info
            shape = (info.height, info.width, info.channels)
            self.mean = torch.nn.Parameter(torch.full(shape, config.initial_grey))

        def loss(self, batch, progress=1.0):
            mse = (batch.pixels / 255 - self.mean).square().mean()
            return Loss(mse, {"mse": mse.detach()}, "MSE per pixel")

        def sample(self, n, params=None, *, label=None, **options):
            resolve_params(params, options, SEEDED)
            pixels = (255 * self.mean.detach()).clamp(0, 255).byte()
            return Images(pixels.expand(n, *pixels.shape).numpy())

    return MeanImage()
'''


@pytest.fixture
def mean_image_family(tmp_path, monkeypatch):
    """Add a family as a folder, without any other change."""
    folder = tmp_path / "families" / "mean_image"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(textwrap.dedent(FAMILY))
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(folder.parent)])
    yield "mean_image"
    sys.modules.pop("pinxit.models.mean_image", None)
    vars(models).pop("mean_image", None)
    vars(pinxit).pop("MeanImage", None)


def test_a_new_folder_is_listed_as_a_family(mean_image_family):
    assert mean_image_family in list_families()


def test_a_new_folder_adds_a_public_name(mean_image_family):
    assert pinxit.MeanImage is get_family(mean_image_family).Config
    assert "MeanImage" in dir(pinxit)


def test_a_new_folder_names_itself_in_reprs_and_errors(mean_image_family):
    assert repr(pinxit.MeanImage()) == "MeanImage(initial_grey=0.5)"
    with pytest.raises(UsageError, match=r"MeanImage has no 'gray'"):
        pinxit.MeanImage(gray=0.1)


def test_a_new_folder_adds_a_command(mean_image_family, capsys):
    main(["train", "--help"])
    assert "mean_image" in capsys.readouterr().out
    main(["train", "mean_image", "--help"])
    page = capsys.readouterr().out
    assert "--initial-grey" in page
    assert "grey value that the mean starts from" in page


def test_a_new_folder_trains_and_loads(mean_image_family, tmp_path):
    images = blobs()
    run = pinxit.train(
        pinxit.MeanImage(initial_grey=0.9), images, out=tmp_path / "run", steps=30, quiet=True
    )
    model = pinxit.load(run.path)
    mean = model.sample(2).pixels
    assert mean.shape == (2, *images.pixels.shape[1:])
    assert abs(mean.mean() - images.pixels.mean()) < abs(0.9 * 255 - images.pixels.mean())


def test_a_removed_folder_leaves_no_family():
    assert "mean_image" not in list_families()
    with pytest.raises(AttributeError, match="no attribute 'MeanImage'"):
        pinxit.MeanImage  # noqa: B018


@pytest.mark.parametrize("name", list_families())
def test_each_family_has_its_public_name(name):
    module = get_family(name)
    assert getattr(pinxit, module.PUBLIC_NAME) is module.Config
    assert module.PUBLIC_NAME in dir(pinxit)


@pytest.mark.parametrize("name", list_families())
def test_each_configuration_prints_its_public_name_and_rejects_unknown_options(name):
    module = get_family(name)
    config = module.Config()
    assert repr(config).startswith(f"{module.PUBLIC_NAME}(")
    assert eval(repr(config), {module.PUBLIC_NAME: module.Config}) == config
    with pytest.raises(UsageError, match=rf"{module.PUBLIC_NAME} has no 'widht'.*mean 'width'"):
        module.Config(widht=3)
    with pytest.raises(UsageError, match=rf"{module.PUBLIC_NAME} has no 'widht'"):
        dataclasses.replace(config, widht=3)
    copies = [copy.deepcopy(config), pickle.loads(pickle.dumps(config))]
    assert [*copies, dataclasses.replace(config)] == 3 * [config]
    fields = [field.name for field in dataclasses.fields(config)]
    assert list(inspect.signature(module.Config).parameters) == fields


LITERAL_FIELDS = [
    (name, field.name)
    for name in list_families()
    for field in dataclasses.fields(get_family(name).Config)
    if "Literal[" in str(field.type)
]


@pytest.mark.parametrize(("family", "field"), LITERAL_FIELDS)
def test_a_value_that_an_option_does_not_have_is_an_error_with_the_values(family, field):
    config_class = get_family(family).Config
    for value in ("cnn", 3, ["auto"]):
        with pytest.raises(UsageError, match=rf"{field} is one of '.*, not"):
            config_class(**{field: value})


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'GAN'"):
        pinxit.GAN  # noqa: B018


def test_helper_modules_are_no_families():
    folder = Path(models.__file__).parent
    modules = {file.stem for file in folder.glob("*.py")} - {"__init__"}
    assert modules
    assert not modules & set(list_families())


def test_importing_pinxit_imports_no_family():
    code = "import pinxit, sys; print([m for m in sys.modules if m.startswith('pinxit.models')])"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == "[]"
