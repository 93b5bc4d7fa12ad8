"""Commands that train a run anew: parsed, each gives the run's options with the changes."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pinxit.cli.parse import parse_args
from pinxit.cli.sample import sample
from pinxit.cli.train import family_command, resume
from pinxit.data.load_options import LoadOptions
from pinxit.errors import UsageError
from pinxit.evaluation.advice import list_remedies
from pinxit.evaluation.retrain_command import list_unused_options, retrain_command
from pinxit.models.option_effects import check_effects
from pinxit.models.vae import Config
from pinxit.runs import FORMAT, Run
from pinxit.training.settings import TrainingSettings
from pinxit.training.verdict import Verdict
from tests.builders import blobs

INFO = blobs().info()
OPTIONS = {
    "beta": [4.0, 0.1, 0.123456789], "kl_warmup": [0.5], "iw_samples": [1, 4], "sigma": [0.5],
    "free_bits": [0.1], "latent_dim": [3], "width": [24], "depth": [1], "prior": ["flow", "vamp"],
    "likelihood": ["gaussian", "bernoulli", "discretized-logistic"], "network": ["conv", "linear"],
    "latents": ["grid", "vector", "ladder"], "variance": ["analytic"], "mixtures": [3],
    "condition": ["label"], "l1_weight": [0.5], "iw_from": [0.2],
}  # fmt: skip
CHANGES = [
    {"beta": 1.0}, {"beta": 0.5}, {"sigma": None}, {"kl_warmup": 0.3}, {"kl_warmup": 0.0},
    {"iw_samples": 8, "free_bits": 0.0, "l1_weight": 0.0}, {"iw_samples": 1}, {"width": 16},
    {"variance": "analytic", "sigma": None}, {"variance": "per-pixel", "sigma": None},
    {"likelihood": "discretized-logistic", "sigma": None, "l1_weight": 0.0}, {"prior": "vamp"},
    {"latent_dim": 6}, {"posterior": "iaf"}, {"total_correlation": 5.0}, {"free_bits": 0.1},
]  # fmt: skip
SETTINGS = TrainingSettings(steps=10, batch_size=8, augment=("flip", "move"))
TYPED = ["--steps", "10", "--batch_size=8", "--augment", "flip", "move"]


def write_run(folder: Path, command: str | None, options, files=(), source="blobs", **load) -> Run:
    """The folder of a run that was not trained."""
    config = Config(**options).resolve(INFO)
    run = Run(folder)
    load = dataclasses.asdict(LoadOptions(**load))
    data = {"source": source, "files": list(files), "fingerprint": "x", "options": load}
    run.write("config.json", {
        "format": FORMAT, "family": "vae", "model": dataclasses.asdict(config), "data": data,
        "training": dataclasses.asdict(SETTINGS), "dataset_info": INFO.to_json(),
        "command": command,
    })  # fmt: skip
    return run


def parse_train(command: str):
    """The values that `pinxit train` takes from a command of the VAE, in words of a shell."""
    program, name, family, *rest = shlex.split(command)
    assert (program, name) == ("pinxit", "train")
    return parse_args(f"train {family}", family_command(family), rest)


def resolve_changed(run: Run, changes) -> Config:
    """The options that the command should give."""
    config = Config(**{**run.config["model"], **changes})
    defaults = {name: getattr(Config(), name) for name in list_unused_options(run, changes)}
    return dataclasses.replace(config, **defaults).resolve(INFO)


def spell(draw, name: str, value) -> list[str]:
    flag = "--" + draw(st.sampled_from([name, name.replace("_", "-")]))
    return draw(st.sampled_from([[flag, str(value)], [f"{flag}={value}"]]))


@st.composite
def runs(draw):
    """A command, and the options of its model: typed, in a file of options, or none."""
    names = draw(st.lists(st.sampled_from(sorted(OPTIONS)), unique=True, max_size=5))
    options = {name: draw(st.sampled_from(OPTIONS[name])) for name in names}
    kind = draw(st.sampled_from(["family", "no family", "file", "file, family", "unknown"]))
    if kind == "unknown":
        return None, options
    if kind == "no family":
        return shlex.join(["pinxit", "train", "blobs", *TYPED]), {}
    words = ["pinxit", "train", *["vae"][: kind != "file"]]
    if kind.startswith("file"):
        return shlex.join(
            [*words, *draw(st.sampled_from([["--config", "s.toml"], ["--config=s.toml"]]))]
        ), options
    flags = [[*TYPED], draw(st.sampled_from([[], ["--out", "x"], ["-o", "x"], ["-ox"]]))]
    for name, value in options.items():
        if draw(st.booleans()):
            flags.append(spell(draw, name, OPTIONS[name][0]))  # the last one counts
        flags.append(spell(draw, name, value))
    flat = [word for flag in flags for word in flag]
    rest = draw(st.sampled_from([["blobs", *flat], [*flat, "--", "blobs"]]))
    return shlex.join([*words, *rest]), options


@settings(max_examples=40)
@given(runs(), st.sampled_from(CHANGES))
def test_a_command_gives_the_options_of_the_run_with_the_changes(tmp_path_factory, typed, changes):
    command, options = typed
    try:
        run = write_run(tmp_path_factory.mktemp("runs") / "run", command, options)
        check_effects(Config(**options), INFO)
        expected = resolve_changed(run, changes)
    except UsageError:
        assume(False)
        raise
    values = parse_train(retrain_command(run, changes, "other"))
    assert values["model"].resolve(INFO) == expected
    check_effects(values["model"], INFO)
    assert values["data"] == ("blobs",)
    assert values["training"] == SETTINGS
    assert values["out"] == run.path.with_name("run-other")
    assert values["config"] is None


@pytest.mark.parametrize(("command", "words"), [
    ("pinxit train digits --minutes 1", "pinxit train vae digits --minutes 1"),
    ("pinxit train vae digits --kl_warmup 0.5 --save-config s.toml --overwrite",
     "pinxit train vae digits"),
    ("pinxit train flow digits --minutes 1", "pinxit train vae blobs"),  # of its component
    ("pinxit train vae 'digits", "pinxit train vae blobs"),
])  # fmt: skip
def test_a_command_begins_with_the_family_and_data(tmp_path, command, words):
    run = write_run(tmp_path / "run", command, {})
    assert retrain_command(run, {"kl_warmup": 0.0}, "x").startswith(f"{words} --")
    assert "s.toml" not in retrain_command(run, {}, "x")
    assert "overwrite" not in retrain_command(run, {}, "x")


@pytest.mark.parametrize("load", [
    {"size": (8, 12), "strict": True, "range": "-1,1"}, {"size": 8, "limit": 5, "data_seed": 3},
    {"captions": "labels", "languages": "en", "group_by": "none", "background": "#ff8000"},
])  # fmt: skip
@pytest.mark.parametrize("files", [["a b.png", "c.png"], ["-a.png", "--b.png"], []])
def test_an_unknown_command_is_written_with_its_options_of_loading(tmp_path, load, files):
    run = write_run(tmp_path / "run", None, {}, files, "" if files else "-x", **load)
    values = parse_train(retrain_command(run, {"beta": 2.0}, "x"))
    assert values["data"] == tuple(files or ["-x"])
    expected = LoadOptions(**load)
    assert values["load"].height_width == expected.height_width
    assert dataclasses.replace(values["load"], size=None) == dataclasses.replace(
        expected, size=None
    )


def test_a_run_named_by_a_dot_has_a_name(tmp_path, monkeypatch):
    write_run(tmp_path / "run", None, {})
    monkeypatch.chdir(tmp_path / "run")
    out = parse_train(retrain_command(Run(Path()), {}, "x"))["out"]
    assert out == tmp_path / "run-x"


def parse_remedy(command: str, run: Run) -> None:
    """Parse and resolve the command of a remedy; raises what it would be refused with."""
    words = shlex.split(command)
    if words[1] == "sample":
        parse_args("sample", sample, words[2:])
    elif "--resume" in words:
        parse_args("train", resume, words[2:])
    else:
        values = parse_train(command)
        check_effects(values["model"], run.info)
        assert values["data"][0] != ""
        if words[2] == "flow":
            assert run.config["model"]["condition"] == "none", "a flow gives its VAE no labels"


MODELS = [
    {}, {"latents": "grid"}, {"latents": "grid", "condition": "label"}, {"latents": "ladder"},
    {"likelihood": "gaussian", "sigma": 1.0, "beta": 4.0}, {"beta": 0.0},
]  # fmt: skip
STATES = ["good", "undertrained", "overfits", "collapsed", "wrong variance", "prior hole",
          "diverged", "too few images"]  # fmt: skip


HOW = [
    (None, []),
    ("pinxit train blobs", []),
    ("pinxit train --config s.toml", ["a.png", "-b.png"]),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "model"),
    # one of each kind of latents is left to the long tests: twelve seconds each
    [
        pytest.param(i, model, marks=[pytest.mark.long] if i in (0, 2, 3) else [])
        for i, model in enumerate(MODELS)
    ],
    ids=str,
)
def test_the_command_of_each_remedy_is_one_that_trains(tmp_path, number, model):
    command, files = HOW[number % len(HOW)]
    run = write_run(tmp_path / "-run", command, model, files, "12 files" if files else "blobs")
    metrics = {"sharpness_reconstructions": 0.4, "prior_share": 0.7, "active_units": 4.0}
    commands = set()
    for state in STATES:
        verdict = Verdict(state, ("seen",), "`more`", "better")  # type: ignore[arg-type]
        remedies = list_remedies(run, state, verdict, metrics | {"units": 4.0})
        commands |= {remedy.command for remedy in remedies}
    for text in commands:
        parse_remedy(text, run)
        assert "12 files" not in text
