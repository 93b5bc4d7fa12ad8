"""The options of `evaluate`, in Python and on the command line."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import tyro

from pinxit.cli.tyro_rules import TYRO_OPTIONS
from pinxit.errors import UsageError
from pinxit.evaluation.options import LEAST, EvalOptions, resolve_options
from pinxit.models.generation import GenerationParams
from tests.builders import CaptionScorer

INTEGERS = [f.name for f in dataclasses.fields(EvalOptions) if str(f.type).startswith("int")]


def test_changes_go_to_the_dataclass_that_has_the_field():
    options = resolve_options(None, {"iw_samples": 7, "seed": 3, "feature_run": "runs/x"})
    assert (options.iw_samples, options.seed, options.generation.seed) == (7, 3, 3)
    assert options.feature_run == Path("runs/x")
    kept = resolve_options(options, {"guidance": 2.0})
    assert (kept.iw_samples, kept.generation) == (7, GenerationParams(seed=3, guidance=2.0))
    assert resolve_options(None, {}) == EvalOptions()


def test_an_unknown_option_names_the_nearest_one():
    with pytest.raises(UsageError, match=r"no option 'iw_sample'\. Did you mean 'iw_samples'"):
        resolve_options(None, {"iw_sample": 5})
    with pytest.raises(UsageError, match="Did you mean 'guidance'"):
        resolve_options(None, {"guidence": 5})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iw_samples": -1}, "iw_samples must be 0 or more, not -1"),
        ({"probe_train_size": -1}, "probe_train_size must be 0 or more"),
        ({"max_images": 1}, "max_images must be 2 or more"),
        ({"likelihood_images": 0}, "likelihood_images must be 1 or more"),
        ({"generation": GenerationParams(seed=[1, 2])}, "one seed"),
    ],
)
def test_values_out_of_range_are_errors(changes, message):
    with pytest.raises(UsageError, match=message):
        EvalOptions(**changes)


@pytest.mark.parametrize("name", INTEGERS)
def test_an_integer_below_its_least_value_is_refused(name):
    assert getattr(EvalOptions(**{name: LEAST[name]}), name) == LEAST[name]
    for value in (LEAST[name] - 1, -7):
        with pytest.raises(UsageError, match=f"{name} must be {LEAST[name]} or more, not {value}"):
            EvalOptions(**{name: value})


@pytest.mark.parametrize(("changes", "message"), [
    ({"fid": True, "distances": False}, "fid needs distances"),
    ({"feature_run": Path("x"), "distances": False}, "feature_run needs distances"),
    ({"iw_samples": 0, "defensive_share": 0.5}, "defensive_share needs iw_samples above 0"),
])  # fmt: skip
def test_options_that_have_no_effect_together_are_errors(changes, message):
    with pytest.raises(UsageError, match=message):
        EvalOptions(**changes)


def parse(*words: str) -> EvalOptions:
    return tyro.cli(EvalOptions, args=words, **TYRO_OPTIONS)


def test_every_option_is_a_flag_and_defaults_are_those_of_the_dataclass():
    assert parse() == EvalOptions()
    words = ["--iw-samples", "5", "--feature-run", "x", "--top-k", "3"]
    options = parse(*words, "--seed", "4")
    assert options == EvalOptions(
        iw_samples=5, feature_run=Path("x"), generation=GenerationParams(seed=4, top_k=3),
    )  # fmt: skip
    assert parse("--no-distances") == EvalOptions(distances=False)


def test_reranker_flag_loads_the_run_as_a_captioning_model(monkeypatch):
    model = CaptionScorer()
    loaded = []
    monkeypatch.setattr(
        "pinxit.cli.tyro_rules.load_reranker", lambda run: loaded.append(run) or model
    )
    assert parse("--reranker", "runs/c", "--best-of", "2").generation.reranker is model
    assert loaded == [Path("runs/c")]
    with pytest.raises(UsageError, match="best_of 2 or more"):
        parse("--reranker", "runs/c")


def test_evaluate_help_lists_the_options_without_importing_torch():
    code = (
        "import sys; from pinxit.cli import main\n"
        "try: main(['evaluate', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'sklearn', 'scipy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = [field.name for field in dataclasses.fields(EvalOptions)]
    names += [field.name for field in dataclasses.fields(GenerationParams)]
    for name in set(names) - {"generation", "start"}:
        assert f"--{name.replace('_', '-')} " in done.stdout or f"--{name}," in done.stdout
    assert "--start" not in done.stdout
