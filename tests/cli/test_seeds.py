"""Every command takes the same seeds, and refuses others in one line before it loads a run."""

from __future__ import annotations

import pytest

import pinxit
from pinxit.data.load_options import LoadOptions
from pinxit.data.seeds import MAX_SEED
from pinxit.errors import UsageError
from pinxit.evaluation.options import resolve_options
from pinxit.models.generation import GenerationParams
from pinxit.training.settings import TrainingSettings
from tests.builders import blobs

COMMANDS = {
    "sample": ("labelled", "-n", 1, "--seed"),
    "complete": ("mae", "-n", 1, "--ratio", 0.5, "--seed"),
    "draw": ("draw", "a blob", "-n", 1, "--seed"),
    "edit": ("edit", "0.png", "a blob", "--seed"),
    "caption": ("caption", "0.png", "--temperature", 1, "--seed"),
    "score": ("run", "0.png", "--seed"),
    "interpolate": ("run", "--steps", 3, "--seeds", 0),
}


@pytest.fixture(scope="module")
def runs(vae_folder, text_runs, tmp_path_factory):
    """Where the run of each name is; `mae` completes."""
    mae = tmp_path_factory.mktemp("runs") / "mae"
    config = pinxit.MAE(width=16, depth=1, decoder_width=16, decoder_depth=1)
    pinxit.train(config, "digits", out=mae, steps=1, quiet=True)
    folders = {path.name: path for path in text_runs.iterdir()}
    return {**folders, "mae": mae, "run": vae_folder / "run", "labelled": vae_folder / "labelled"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_and_refuses_the_same_seeds(
    command, runs, vae_folder, run_pinxit, fail
):
    run, *words = COMMANDS[command]
    words = [vae_folder / word if str(word).endswith(".png") else word for word in words]
    for seed in (0, 5, 2**40, MAX_SEED):
        run_pinxit(command, runs[run], *words, seed)
    for seed, text in ((-1, "must be 0 or more, not "), (MAX_SEED + 1, "must be below 2^63")):
        assert text in fail(command, "runs/none", *words, seed)


@pytest.mark.parametrize(
    "accept",
    [
        lambda seed: resolve_options(None, {"seed": seed}),
        lambda seed: TrainingSettings(seed=seed),
        lambda seed: LoadOptions(data_seed=seed),
        lambda seed: GenerationParams(seed=[0, seed]),
    ],
)
def test_options_take_the_same_seeds(accept):
    for seed in (0, MAX_SEED):
        accept(seed)
    for seed in (-1, MAX_SEED + 1):
        with pytest.raises(UsageError, match="seed must be"):
            accept(seed)


def test_methods_of_a_run_take_the_same_seeds(vae_folder):
    run = pinxit.Run(vae_folder / "run")
    assert len(run.score(blobs(1), seed=MAX_SEED)) == 1
    with pytest.raises(UsageError, match="seed must be 0 or more"):
        run.score(blobs(1), seed=-1)
    with pytest.raises(UsageError, match="seeds must be 0 or more"):
        run.interpolate(seeds=(0, -1))
