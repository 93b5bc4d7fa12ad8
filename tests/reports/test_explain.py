"""`explain` on tiny runs: the record, the page, the states by construction, and bad input."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import pinxit
from pinxit.errors import PinxitError, UsageError
from pinxit.evaluation.explain_metrics import outlier_warnings
from pinxit.evaluation.trials import TrialRunner
from pinxit.reports import report
from pinxit.runs import Run
from pinxit.training.trials import train_trial
from tests.builders import blobs, make_run, shorten_explanations, without_labels
from tests.reports.html_page import HtmlPage

SECTIONS = ["decoder", "likelihood", "rate", "prior", "remedies", "terms"]


@pytest.fixture(autouse=True, scope="module")
def _small():
    """Few steps and few latents wherever something is fitted."""
    patch = pytest.MonkeyPatch()
    shorten_explanations(patch)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return make_run(tmp_path_factory.mktemp("runs") / "blobs-vae", blobs(400), steps=120)


@pytest.fixture(scope="module")
def record(run) -> dict:
    return pinxit.explain(run, blobs(400), progress=False)


def explain(run: Run, images, **options) -> dict:
    return pinxit.explain(run, images, progress=False, **options)


def test_the_record_has_a_size_for_each_cause_and_is_on_disk(run, record):
    assert json.loads((run.path / "explain.json").read_text()) == json.loads(json.dumps(record))
    assert {"decoder", "prior", "rate", "likelihood"} <= {c["key"] for c in record["causes"]}
    metrics = record["metrics"]
    parts = [metrics[n] for n in ("mutual_information", "total_correlation", "dimension_wise_kl")]
    assert sum(parts) == pytest.approx(metrics["surgery_rate"])
    assert metrics["rate"] == pytest.approx(-metrics["elbo"] - metrics["distortion"])
    assert metrics["prior_gain"] <= metrics["marginal_kl"] + 4 * metrics["marginal_kl_error"]
    for name in ("rate", "total_correlation", "calibration", "frechet_prior", "prior_gain_mixture"):
        assert metrics[f"{name}_error"] > 0
    assert all(np.isfinite(v) for v in metrics.values() if v is not None)
    assert record["protocol"]["split"] == "test"


def test_the_page_is_well_formed_and_self_contained(run, record):
    page = HtmlPage(run.path / "explain.html")
    assert page.markup_errors == []
    assert page.unclosed == []
    assert page.sections == SECTIONS
    assert all(src.startswith("data:") for src in (i["src"] for i in page.attributes("img")) if src)
    for cause in record["causes"]:
        assert cause["size"] in page.text
    assert "arxiv.org" in page.html
    assert not re.search(r"\bNone\b|\bnan\b|Number\(", page.text)


def test_again_gives_the_same_numbers(run, record):
    again = explain(run, blobs(400), write=False)
    assert again["metrics"] == record["metrics"]


def test_a_run_folder_that_cannot_be_written_loses_no_page(run, tmp_path, monkeypatch):
    def refuse(self, name, content):
        raise PermissionError(13, "Permission denied", str(self.path / name))

    monkeypatch.setattr(Run, "write", refuse)
    record = explain(run, blobs(400), out=tmp_path / "elsewhere.html")
    assert HtmlPage(tmp_path / "elsewhere.html").sections == SECTIONS
    assert record["warnings"][-1].startswith(f"not written: {run.path / 'explain.json'}")
    (tmp_path / "file").write_text("")
    with pytest.raises(PinxitError, match="cannot be written"):
        explain(run, blobs(400), out=tmp_path / "file" / "page.html")


def test_the_report_has_the_causes_as_a_chapter(run, record):
    page = HtmlPage(report(run, images=blobs(400)))
    assert "explanation" in page.sections
    assert record["causes"][0]["size"] in page.text
    (run.path / "explain.json").rename(run.path / "kept.json")
    assert "explanation" not in HtmlPage(report(run, images=blobs(400))).sections
    (run.path / "kept.json").rename(run.path / "explain.json")


# -- states by construction ------------------------------------------------------------------------


def level_losses(monkeypatch, run: Run) -> None:
    rows = [
        {"step": i, "images_seen": 4_000 * i, "loss": loss, "val_loss": loss}
        for i, loss in enumerate([300.0, 200, *[100.0] * 18], 1)
    ]
    monkeypatch.setattr(Run, "metrics", lambda self: rows)


def copy_run(run: Run, folder, **model) -> Run:
    record = {**run.config, "model": {**run.config["model"], **model}}
    copy = Run(folder)
    copy.write("config.json", record)
    save_file(load_file(run.weights_path), copy.weights_path)
    return copy


def test_latents_moved_away_from_the_prior_are_a_prior_hole(run, tmp_path, monkeypatch):
    """The same encoder and decoder, with z moved by 4: reconstructions stay, samples do not."""
    moved = copy_run(run, tmp_path / "moved")
    tensors = load_file(moved.weights_path)
    latents = tensors["decoder.in_proj.weight"].shape[1]
    tensors["encoder.out_proj.bias"][:latents] += 4
    tensors["decoder.in_proj.bias"] -= 4 * tensors["decoder.in_proj.weight"].sum(1)
    save_file(tensors, moved.weights_path)
    level_losses(monkeypatch, run)
    images = blobs(400)
    result = explain(moved, images)
    assert result["state"] == "prior hole"
    assert result["metrics"]["prior_share"] > 0.6
    assert result["metrics"]["dimension_wise_kl"] > 20
    assert result["metrics"]["prior_gain_mixture"] > 20
    assert result["metrics"]["closed_by_mixture"] > 0.3
    assert result["remedies"][0]["key"] == "mixture"
    assert result["causes"][0]["key"] == "prior"


def test_a_sigma_far_from_the_error_is_a_wrong_variance(run, tmp_path, monkeypatch):
    wrong = copy_run(run, tmp_path / "wrong", sigma=1.0, likelihood="gaussian")
    tensors = load_file(wrong.weights_path)
    tensors["likelihood.log_sigma_scaled"] = torch.tensor(0.0)
    save_file(tensors, wrong.weights_path)
    level_losses(monkeypatch, run)
    result = explain(wrong, blobs(400))
    assert result["state"] == "wrong variance"
    assert result["metrics"]["wrong_sigma"] > 10
    assert result["remedies"][0]["changes"] == {"sigma": None}


def test_ten_steps_are_undertrained_and_zero_latents_collapsed(run, tmp_path, monkeypatch):
    images = blobs(400)
    (tmp_path / "short").mkdir()
    short = make_run(tmp_path / "short", images, steps=3)
    result = explain(short, images)
    assert result["state"] == "undertrained"
    assert result["remedies"][0]["key"] == "longer"
    tensors = load_file(run.weights_path)
    for name in ("encoder.out_proj.weight", "encoder.out_proj.bias"):
        tensors[name].zero_()
    collapsed = copy_run(run, tmp_path / "collapsed")
    save_file(tensors, collapsed.weights_path)
    level_losses(monkeypatch, run)
    result = explain(collapsed, images)
    assert result["state"] == "collapsed"
    assert result["metrics"]["active_units"] == 0
    assert result["metrics"]["mutual_information"] == pytest.approx(0, abs=1e-3)
    page = HtmlPage(collapsed.path / "explain.html")
    assert page.sections == SECTIONS
    assert not re.search(r"\bnan\b", page.text)


# -- other models and images -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"latents": "grid", "latent_dim": None, "network": "conv", "width": 8, "downscale": 2},
        {"prior": "flow", "likelihood": "bernoulli"},
        {"condition": "label", "likelihood": "discretized-logistic"},
        {"likelihood": "bernoulli", "decoder_head": "linear"},
        {"likelihood": "bernoulli", "decoder_head": "autoregressive"},
        {"likelihood": "gaussian", "variance": "per-pixel"},
        {"posterior": "iaf"},
        {"posterior": "vmf"},
    ],
    ids=["grid", "learned prior", "labels", "linear head", "head", "sigma of pixels", "iaf", "vmf"],
)
def test_other_vaes_are_explained_too(tmp_path, options):
    images = blobs(120, 10, 8, channels=3 if "condition" in options else 1)
    run = make_run(tmp_path / "run", images, steps=5, **options)
    result = explain(run, images)
    page = HtmlPage(run.path / "explain.html")
    assert page.sections == SECTIONS
    assert page.markup_errors == []
    assert not re.search(r"\b(None|nan)\b", page.text)
    metrics = result["metrics"]
    has_parts = options.get("prior") != "flow" and "posterior" not in options
    assert ("total_correlation" in metrics) == has_parts
    assert ("prior of this run is learned" in page.text) == (options.get("prior") == "flow")
    assert metrics["calibration"] > 0
    has_head = "decoder_head" in options
    assert ("independent from pixel to pixel" in page.text) != has_head
    assert ("each given those before it" in page.text) == has_head
    assert ("likelihood" in {cause["key"] for cause in result["causes"]}) != has_head
    is_single = options.get("likelihood", "gaussian") == "gaussian" and "variance" not in options
    assert ("one_sigma" in metrics) == ("This run has σ" in page.text) == is_single


def test_few_images_without_labels_and_splits_are_explained(tmp_path):
    import dataclasses

    images = dataclasses.replace(without_labels(blobs(12)), splits=None)
    run = make_run(tmp_path / "run", images, steps=5)
    result = explain(run, images)
    assert any("no distances" in warning for warning in result["warnings"])
    assert any("no test split" in warning for warning in result["warnings"])
    assert "prior_share" not in result["metrics"]
    assert HtmlPage(run.path / "explain.html").sections == SECTIONS


def test_bad_input_is_refused_in_two_lines(run, tmp_path):
    with pytest.raises(PinxitError, match=r"given in Python|no source") as error:
        pinxit.explain(run, progress=False)
    assert f"pinxit explain {run.shell_path} DATA" in str(error.value)
    assert len(str(error.value).splitlines()) <= 2
    with pytest.raises(UsageError, match="no run at"):
        pinxit.explain(tmp_path / "none", blobs(12))
    for minutes in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(UsageError, match="trial_minutes"):
            explain(run, blobs(12), trial_minutes=minutes)
    with pytest.raises(UsageError, match="is a folder"):
        explain(run, blobs(12), out=tmp_path)
    zero = make_run(tmp_path / "zero", blobs(24), steps=5, beta=0.0)
    with pytest.raises(UsageError, match="multiples of beta, which is 0"):
        explain(zero, blobs(24), curve=True)
    mae = pinxit.train(
        pinxit.MAE(width=16, depth=1, heads=2), blobs(24), out=tmp_path / "mae", steps=1, quiet=True
    )
    with pytest.raises(PinxitError, match="these families have: vae"):
        explain(mae, blobs(24))


def test_one_image_that_outweighs_the_others_is_named(run):
    """An image whose mean is far out: its rate is most of the sum, and no gain is lost to it."""
    from pinxit.console import StageProgress
    from pinxit.evaluation.explain import Explainer

    explainer = Explainer(run.load(), blobs(400), StageProgress(False))
    assert outlier_warnings(explainer) == []
    before = explainer.prior_gains()["mixture"].value
    explainer.terms.rate[3] += 1e4
    explainer.posterior.mean[3] += 100
    (warning,) = outlier_warnings(explainer)
    assert explainer.test.names[3] in warning
    count = len(explainer.test)
    assert abs(explainer.prior_gains()["mixture"].value - before) < 10 / count + 0.5


def test_changed_data_are_explained_with_a_warning(run):
    other = dataclasses.replace(blobs(100, seed=5), fingerprint="other")
    result = explain(run, other, write=False)
    assert any("was not trained on blobs" in warning for warning in result["warnings"])


# -- trials ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def short_run(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("trained") / "run"
    model = pinxit.VAE(latent_dim=3, network="mlp", width=16, depth=1, likelihood="gaussian")
    return pinxit.train(model, blobs(240), out=folder, steps=20, batch_size=32, quiet=True)


@pytest.mark.long
def test_trials_and_curve_are_measured_kept_and_not_trained_again(short_run, monkeypatch):
    images = blobs(240)
    monkeypatch.setattr("pinxit.training.trials.MIN_STEPS", 3)
    monkeypatch.setattr("pinxit.evaluation.trials.BETA_FACTORS", (0.1, 1.0))
    monkeypatch.setattr("pinxit.evaluation.trials.MAX_REMEDIES", 2)
    result = explain(short_run, images, curve=True, try_remedies=True, trial_minutes=1e-6)
    keys = [trial["key"] for trial in result["trials"]]
    assert {"mixture", "realnvp", "longer"} <= set(keys)
    gains = [trial["gain"] for trial in result["trials"]]
    assert gains == sorted(gains, reverse=True)
    assert all(trial["test"]["frechet_samples_error"] > 0 for trial in result["trials"])
    assert [point["beta"] for point in result["curve"]] == [0.1, 1.0, 1.0]
    folder = short_run.path / "explain"
    longer = Run(folder / "try-longer")
    assert longer.load().latent_dim == 3
    before = longer.weights_path.stat().st_mtime_ns
    again = explain(short_run, images, curve=True, trial_minutes=1e-6)
    steps = again["protocol"]["curve_steps"]
    monkeypatch.setattr("pinxit.training.trials.MIN_STEPS", 5)
    other = explain(short_run, images, try_remedies=True, trial_minutes=1e-6)
    assert (other["protocol"]["curve_steps"], other["curve"]) == (steps, again["curve"])
    assert other["protocol"]["trial_steps"] == 5 != steps
    monkeypatch.setattr("pinxit.training.trials.MIN_STEPS", 3)
    again = explain(short_run, images, curve=True, try_remedies=True, trial_minutes=1e-6)
    before = longer.weights_path.stat().st_mtime_ns
    again = explain(short_run, images, curve=True, trial_minutes=1e-6)
    assert longer.weights_path.stat().st_mtime_ns == before
    assert again["trials"] == result["trials"]  # kept, of the same weights
    assert again["curve"] == result["curve"]
    page = HtmlPage(short_run.path / "explain.html")
    assert "Distortion over rate" in page.text
    assert page.markup_errors == []


def test_a_trial_trains_where_the_run_is_explained(short_run, tmp_path):
    """Not where the run was trained: on a GPU, perhaps, that this machine does not have."""
    run = Run(shutil.copytree(short_run.path, tmp_path / "run"))
    training = {**run.config["training"], "device": "cuda"}
    run.write("config.json", {**run.config, "training": training})
    trial = train_trial(Run(run.path), blobs(240), {"beta": 0.5}, 2, tmp_path / "trial", "cpu")
    assert trial.config["training"]["device"] == "cpu"
    assert trial.config["finished"]


@pytest.mark.long
def test_an_interrupted_trial_goes_on_and_ends_with_the_same_weights(short_run, tmp_path):
    from pinxit.training import trials
    from pinxit.training.session import Session

    images, changes = blobs(240), {"beta": 0.5}
    whole = trials.train_trial(short_run, images, changes, 6, tmp_path / "whole")

    def stop_after_three(self, step):
        self.stop_requested = step.step == 3
        return original(self, step)

    patch = pytest.MonkeyPatch()
    original = Session.log_metrics
    patch.setattr(Session, "log_metrics", stop_after_three)
    with pytest.raises(KeyboardInterrupt, match="the same command continues"):
        trials.train_trial(short_run, images, changes, 6, tmp_path / "stopped")
    patch.undo()
    resumed = trials.train_trial(short_run, images, changes, 6, tmp_path / "stopped")
    assert resumed.config["finished"]
    expected, tensors = load_file(whole.weights_path), load_file(resumed.weights_path)
    assert all(torch.equal(tensors[name], tensor) for name, tensor in expected.items())
    assert not trials.has_new_layers(resumed)
    other = trials.train_trial(short_run, images, {"latent_dim": 5}, 2, tmp_path / "stopped")
    assert other.load().latent_dim == 5  # other changes: trained anew
    assert trials.has_new_layers(other)


def test_a_trial_starts_from_the_weights_of_the_run(short_run, tmp_path):
    from pinxit.models import vae
    from pinxit.training.trials import copy_weights

    model = vae.build(vae.Config(**short_run.config["model"]), short_run.info)
    assert copy_weights(short_run, model) == []
    own = short_run.load().state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in model.state_dict().items())


def test_the_runner_names_the_reason_of_a_trial_that_cannot_be_trained(short_run):
    from pinxit.console import StageProgress
    from pinxit.evaluation.advice import Remedy

    runner = TrialRunner(
        short_run,
        short_run.load(),
        blobs(240),
        blobs(240),
        None,
        {},
        2,
        30,
        StageProgress(False),
    )
    remedy = Remedy("odd", "odd", "none", "pinxit", changes={"beta": -1.0})
    (trial,) = runner.try_remedies([remedy])
    assert "beta must be 0 or more" in trial.error
    assert trial.gain is None


def test_trials_train_on_the_images_of_the_run_and_are_measured_on_others(short_run, monkeypatch):
    """A remedy that is tried on other images is the same training, and one of other images anew."""
    trained = []

    def train(base, images, *_):
        trained.append(images)
        raise PinxitError("no trial")

    monkeypatch.setattr("pinxit.evaluation.trials.train_trial", train)
    with pytest.raises(PinxitError, match="no trial"):
        explain(short_run, blobs(240, seed=5), curve=True, trial_minutes=1e-6, write=False)
    assert np.array_equal(trained[0].pixels, blobs(240).pixels)


def test_a_trial_of_other_images_is_trained_anew(short_run, tmp_path):
    other = dataclasses.replace(blobs(240, seed=5), fingerprint="other")
    train_trial(short_run, blobs(240), {}, 2, tmp_path / "trial")
    first = (tmp_path / "trial" / "trial.json").read_text()
    train_trial(short_run, other, {}, 2, tmp_path / "trial")
    assert (tmp_path / "trial" / "trial.json").read_text() != first
    weights = Run(tmp_path / "trial").weights_path
    before = weights.stat().st_mtime_ns
    train_trial(short_run, other, {}, 2, tmp_path / "trial")
    assert weights.stat().st_mtime_ns == before
