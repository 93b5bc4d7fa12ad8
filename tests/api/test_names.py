"""The Python interface has the words of the command line, and lists and suggests its names."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pydoc
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pinxit
from pinxit.api.functions import option_names, sort_options
from pinxit.api.run import METHODS, Run
from pinxit.cli import COMMANDS
from pinxit.cli.options import read_options
from pinxit.cli.train import auto, family_command
from pinxit.errors import UsageError
from pinxit.evaluation.options import EvalOptions
from pinxit.models import list_families
from pinxit.models.generation import GenerationParams
from pinxit.training.settings import TrainingSettings

# commands that have a function of another name, and why
OTHER_NAMES = {"runs": "list_runs"}  # `pinxit.runs` is a module
# commands for the disk, for shells and for other programs; a recipe is a list of commands
NOT_IN_PYTHON = {"cache", "completion", "mcp", "recipe"}
# options whose counterpart is the returned value (`.save`), or a property of the run or the process
NOT_OPTIONS = {
    *("out", "json", "live", "gif", "only_completions", "quiet", "device", "run", "runs"),
    *("data", "images", "folder"),  # positional
}
# options with another form in Python
OTHER_OPTIONS = {
    "sample": {"shard_size", "shard", "engine", "address"},  # of pinxit.mapping.samples
    "caption": {"temperature", "top_k", "top_p", "seed"},  # of GenerationParams
    "serve": {"allow_no_auth", "alias"},  # `aliases`
}


def python_counterpart(command: str):
    name = OTHER_NAMES.get(command, command)
    return getattr(Run, name, None) or getattr(pinxit, name)


def names_of_parameters(function) -> set[str]:
    """The parameters of a function, with those that `**options` and the like stand for."""
    parameters = inspect.signature(function).parameters
    names = set(parameters)
    keywords = [p.name for p in parameters.values() if p.kind is p.VAR_KEYWORD]
    if "options" in keywords:
        names |= {field.name for field in dataclasses.fields(GenerationParams)}
    if "changes" in keywords:
        names |= {
            f.name for kind in (EvalOptions, GenerationParams) for f in dataclasses.fields(kind)
        }
    return names


@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - NOT_IN_PYTHON))
def test_every_command_is_a_method_of_a_run_or_a_function(command):
    assert callable(python_counterpart(command))


def test_every_method_of_a_run_is_a_command():
    assert set(METHODS) - {"resume"} <= COMMANDS.keys()
    public = {
        name
        for kind in Run.__mro__
        if kind.__module__.startswith("pinxit.api")
        for name, value in vars(kind).items()
        if inspect.isfunction(value) and not name.startswith("_")
    }
    helpers = {"require", "read", "read_one", "read_rows", "attach_images"}
    assert public - helpers == set(METHODS)


@pytest.mark.parametrize(
    "command", sorted(COMMANDS.keys() - NOT_IN_PYTHON - {"train", "look", "serve"})
)
def test_the_options_of_a_command_are_parameters(command):
    function = getattr(importlib.import_module(COMMANDS[command][0]), command)
    options = {option.name for option in read_options(function)} - NOT_OPTIONS
    missing = options - names_of_parameters(python_counterpart(command))
    assert missing <= OTHER_OPTIONS.get(command, set())


@pytest.mark.parametrize("family", ["auto", *list_families()])
def test_the_options_of_training_are_options_of_train(family):
    command = auto if family == "auto" else family_command(family)
    options = {option.name for option in read_options(command)} - NOT_OPTIONS - {"report"}
    assert options <= set().union(*option_names(family))


def test_the_options_of_serve_are_those_of_the_server():
    from pinxit.serve.server import ServerOptions

    function = importlib.import_module(COMMANDS["serve"][0]).serve
    options = {option.name for option in read_options(function)} - NOT_OPTIONS
    known = {field.name for field in dataclasses.fields(ServerOptions)}
    assert options - known == OTHER_OPTIONS["serve"]


def test_dir_and_help_list_every_name():
    names = dir(pinxit)
    assert names == sorted(names)
    assert not {"importlib", "TYPE_CHECKING", "annotations", "Any"} & set(names)
    assert all(getattr(pinxit, name) is not None for name in names)
    assert all(name in (pinxit.__doc__ or "") for name in names)
    page = pydoc.plain(pydoc.render_doc(pinxit))
    assert all(name in page for name in names)


def test_star_import_and_help_work_in_a_new_process():
    code = "from pinxit import *; help('pinxit.train'); print(VAE, Run)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "minutes=5" in done.stdout


@given(name=st.sampled_from(sorted(dir(pinxit))), position=st.integers(0, 30))
def test_a_misspelt_name_is_corrected(name, position):
    wrong = name[: position % len(name)] + "q" + name[position % len(name) :]
    with pytest.raises(AttributeError, match=f"no attribute '{wrong}'. Did you mean '{name}'"):
        getattr(pinxit, wrong)


@given(name=st.sampled_from(METHODS), position=st.integers(0, 30))
def test_a_misspelt_method_is_corrected(name, position):
    position = 1 + position % (len(name) - 1)
    wrong = name[:position] + "q" + name[position:]
    with pytest.raises(AttributeError, match=f"Run has no '{wrong}'. Did you mean '{name}'"):
        getattr(Run("runs/x"), wrong)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("minuts", "minutes"),
        ("lr", "learning_rate"),
        ("Size", "size"),
        ("latent_dims", "latent_dim"),
        ("force", "overwrite"),
    ],
)
def test_a_misspelt_option_of_train_is_corrected(wrong, hint):
    with pytest.raises(UsageError, match=f"train has no option '{wrong}'. Did you mean '{hint}'"):
        pinxit.train("vae", "digits", **{wrong: 1})


def test_options_of_loading_and_of_the_model_are_sorted():
    model, options = sort_options("vae", {"latent_dim": 3, "size": 16, "minutes": 2, "out": "x"})
    assert model == pinxit.VAE(latent_dim=3)
    assert options["load"].size == 16
    assert {**options, "load": None} == {"minutes": 2, "out": "x", "load": None}
    assert not {f.name for f in dataclasses.fields(TrainingSettings)} & {"latent_dim", "size"}
    config = pinxit.VAE(latent_dim=3)
    assert sort_options(config, {})[0] is config
    with pytest.raises(UsageError, match="no option 'latent_dim'"):
        sort_options(config, {"latent_dim": 3})
    with pytest.raises(UsageError, match="Did you mean 'latents' or 'latent_dim'"):
        pinxit.VAE(latent=3)
