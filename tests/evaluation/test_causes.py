"""States, causes and advice: from fabricated numbers, and for every state the right first step."""

from __future__ import annotations

import dataclasses
import shlex

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.evaluation.advice import list_remedies
from pinxit.evaluation.causes import explain_state, find_causes, find_state
from pinxit.evaluation.retrain_command import retrain_command
from pinxit.models.vae import Config
from pinxit.runs import Run
from pinxit.training.verdict import Verdict, assess
from tests.builders import blobs, make_run

GOOD = {
    "rate": 12.0, "rate_error": 0.1, "active_units": 4.0, "units": 4.0,
    "calibration": 1.02, "calibration_error": 0.02,
    "prior_share": 0.1, "prior_share_error": 0.05, "prior_gain": 0.3, "marginal_kl": 1.0,
    "sharpness_reconstructions": 0.8, "sharpness_reconstructions_error": 0.01,
    "wrong_sigma": 0.1, "wrong_sigma_error": 0.1, "white_noise": 5.0, "white_noise_error": 0.5,
    "one_sigma": 8.0, "one_sigma_error": 0.5,
    "closed_by_mixture": 0.8, "closed_by_realnvp": 0.5,
}  # fmt: skip
LEVEL = [300.0, 200, *[100.0] * 18]
STATES = {
    "undertrained": ({}, [300.0 - 10 * t for t in range(20)], {}),
    "overfits": ({}, [200.0, 100, *[150.0 + i for i in range(18)]], {}),
    "collapsed": ({"active_units": 0.0, "rate": 0.001}, LEVEL, {}),
    "wrong variance": ({"calibration": 0.02, "calibration_error": 0.001}, LEVEL, {"sigma": 1.0}),
    "prior hole": ({"prior_share": 0.9, "prior_share_error": 0.05}, LEVEL, {}),
    "good": ({}, LEVEL, {}),
}
FIRST = {
    "undertrained": "longer",
    "overfits": "capacity",
    "collapsed": "kl_warmup",
    "wrong variance": "sigma",
    "prior hole": "mixture",
    "good": "per_pixel",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return make_run(tmp_path_factory.mktemp("runs") / "a run", blobs(), steps=10)


def fabricate(run: Run, state: str, monkeypatch):
    """The verdict and the metrics of a run of 480 images in a state."""
    changes, losses, options = STATES[state]
    overfits = state == "overfits"
    rows = [
        {"step": i + 1, "images_seen": 4_800 * (i + 1), "val_loss": loss,
         "loss": 100.0 - i if overfits else loss}
        for i, loss in enumerate(losses)
    ]  # fmt: skip
    monkeypatch.setattr(Run, "metrics", lambda self: rows)
    monkeypatch.setitem(run.__dict__, "info", dataclasses.replace(run.info, num_images=480))
    model = run.config["model"] | {"sigma": None} | options
    monkeypatch.setitem(run.config, "model", model)
    metrics = GOOD | changes
    return assess(run, {"metrics": metrics, "warnings": []}), metrics


@pytest.mark.parametrize("state", STATES)
def test_each_state_is_found_and_its_remedy_comes_first(run, state, monkeypatch):
    verdict, metrics = fabricate(run, state, monkeypatch)
    assert find_state(verdict, metrics) == state
    remedies = list_remedies(run, state, verdict, metrics)
    assert (remedies[0].key, remedies[0].promising) == (FIRST[state], True)
    assert len({remedy.key for remedy in remedies}) == len(remedies)
    is_promising = [remedy.promising for remedy in remedies]
    assert is_promising == sorted(is_promising, reverse=True)
    assert explain_state(state, verdict, metrics).endswith(".")
    if state == "collapsed":
        assert verdict.remedy.replace("`", "") == remedies[0].text
    if state in ("undertrained", "overfits", "collapsed"):
        assert find_causes(metrics, verdict)[0].key == "training"
        assert not any(r.promising for r in remedies if r.prior)


@pytest.mark.parametrize("state", STATES)
def test_every_command_is_one_that_the_program_takes(run, state, monkeypatch):
    verdict, metrics = fabricate(run, state, monkeypatch)
    fields = {field.name for field in dataclasses.fields(Config)}
    for remedy in list_remedies(run, state, verdict, metrics):
        words = shlex.split(remedy.command)
        assert words[0] == "pinxit"
        assert words[1] in ("train", "sample")
        if words[1:3] == ["train", run.family]:
            options = [w[2:].replace("-", "_") for w in words if w.startswith("--")]
            assert set(options) <= fields | {"out", "steps", "minutes", "epochs"}
        if remedy.changes:
            assert set(remedy.changes) <= fields
            Config(**{**run.config["model"], **remedy.changes})


def test_causes_are_in_the_order_of_their_shares(run, monkeypatch):
    verdict, metrics = fabricate(run, "prior hole", monkeypatch)
    assert [cause.key for cause in find_causes(metrics, verdict)][:2] == ["prior", "decoder"]
    verdict, metrics = fabricate(run, "good", monkeypatch)
    assert [cause.key for cause in find_causes(metrics, verdict)][:2] == ["decoder", "prior"]
    texts = {cause.key: cause.size for cause in find_causes(metrics, verdict)}
    assert "nats per image" in texts["rate"]
    assert "0.300 to 1 nats" in texts["prior"]
    assert "wrong variance" not in texts["likelihood"]  # within two standard errors of 0


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(sorted(GOOD)),
        st.one_of(st.none(), st.floats(-1e3, 1e3, allow_nan=False)),
    )
)
def test_any_measured_or_missing_number_gives_causes(changes):
    from pinxit.training.verdict import Verdict

    changes = {k: abs(v) if v and k.endswith("_error") else v for k, v in changes.items()}
    metrics = {name: value for name, value in (GOOD | changes).items() if value is not None}
    verdict = Verdict("good", ("trained",))
    causes = find_causes(metrics, verdict)
    assert all(cause.size and cause.sentence for cause in causes)
    state = find_state(verdict, metrics)
    assert explain_state(state, verdict, metrics)


def test_a_command_replaces_the_options_of_the_runs_own(run, monkeypatch):
    monkeypatch.setitem(
        run.config, "command",
        "pinxit train vae 'my photos/' --beta 4 --steps 30 --sigma=0.5 --out runs/x",
    )  # fmt: skip
    words = shlex.split(retrain_command(run, {"beta": 0.5, "sigma": None}, "beta"))
    assert words[:4] == ["pinxit", "train", "vae", "my photos/"]
    assert words.count("--beta") == 1
    assert words[words.index("--beta") + 1] == "0.5"
    assert not any("sigma" in word or word == "runs/x" for word in words)
    assert words[-1].endswith("a run-beta")
    monkeypatch.setitem(run.config, "command", None)
    words = shlex.split(retrain_command(run, {"beta": 2.0}, "beta"))
    assert words[1:4] == ["train", "vae", "blobs"]
    assert {"--latent-dim", "--width", "--beta"} <= set(words)
    assert np.isfinite(float(words[words.index("--beta") + 1]))


def test_units_of_a_grid_are_channels():
    metrics = {"rate": 20.0, "active_units": 3.0, "units": 4.0}
    verdict = Verdict("good", ())
    for unit in ("latent", "channel"):
        (cause,) = find_causes(metrics, verdict, unit=unit)
        assert cause.size.endswith(f"1 of 4 {unit}s collapsed")
