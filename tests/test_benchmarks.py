"""The benchmarks' pure functions; what they measure is measured by running them."""

from __future__ import annotations

import ast
import importlib
import json
import sys
import tomllib
from argparse import Namespace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from benchmarks import peer_process, peer_unet2d, samples
from benchmarks.__main__ import PARTS, select_default
from benchmarks.choose import combine, format_results, measure
from benchmarks.measure import Loop, noise_images, seconds_of
from benchmarks.networks import plain_vae
from benchmarks.recipe import format_measured, write_measured
from benchmarks.tables import Table, format_cell, median, ratio, with_ratios
from pinxit.cli.recipe import read_metrics, run_command
from pinxit.errors import PinxitError, UsageError
from pinxit.models.vae.inference import log_weights

pytestmark = pytest.mark.slow


def test_ratios_are_to_one_row_and_none_without_numbers():
    rows = with_ratios([("ours", 30.0), ("peer", 10.0), ("failed", None)], 1, to=1)
    assert [row[2] for row in rows] == [3.0, 1.0, None]
    assert ratio(1.0, 0.0) is None
    assert ratio("x", 1.0) is None


def test_a_table_is_aligned_text_and_json():
    table = Table("t", ("name", "s"), (("a", 1234.5), ("long", None), ("b", 0.1234)), ("note",))
    assert table.to_text().splitlines() == [
        *("t", "", "name      s", "----  -----", "a     1,234", "long", "b     0.123", "", "note")
    ]
    assert json.loads(json.dumps(table.to_json()))["rows"][1] == ["long", None]
    with pytest.raises(ValueError, match="2 cells for 1 columns"):
        Table("t", ("name",), (("a", 1.0),))


def test_numbers_are_shown_with_three_digits():
    assert [format_cell(x) for x in (0.1234, 1.234, 12.34, 123.4, 12345.6, None, "x")] == [
        *("0.123", "1.23", "12.3", "123", "12,346", "", "x")
    ]


def test_the_median_is_of_something():
    assert median([3.0, 1.0, 2.0]) == 2.0
    with pytest.raises(ValueError, match="needs a value"):
        median([])


def test_a_process_that_fails_is_no_measurement():
    assert seconds_of([sys.executable, "-c", ""]) > 0
    with pytest.raises(RuntimeError, match="deliberately"):
        seconds_of([sys.executable, "-c", "raise SystemExit('deliberately')"])


def test_options_are_chosen_by_a_metric_of_every_combination():
    values = {"guidance": (1.0, 2.0), "top_p": (), "temperature": (0.5, 1.0)}
    combinations = list(combine(values))
    assert len(combinations) == 4
    assert list(combine({"guidance": ()})) == [{}]

    def evaluate(run, split, guidance, temperature):
        assert split == "validation"
        return {"metrics": {"t2i_exact": guidance * temperature, "t2i_exact_error": 0.01}}

    results = list(measure(evaluate, "run", "t2i_exact", combinations, {"split": "validation"}))
    lines = list(format_results(results, "t2i_exact", "validation", lower=False))
    assert lines[:2] == ["t2i_exact on validation", "2 ± 0.01  --guidance 2 --temperature 1"]
    lowest = list(format_results(results, "t2i_exact", "validation", lower=True))
    assert lowest[1] == "0.5 ± 0.01  --guidance 1 --temperature 0.5"


def test_every_part_is_there():
    for name in PARTS:
        assert callable(getattr(importlib.import_module(f"benchmarks.{name}"), name))


def test_a_benchmark_of_hours_runs_only_if_it_is_named_or_quick():
    assert not {"samples", "blur"} & set(select_default(quick=False))
    assert select_default(quick=True) == list(PARTS)


def test_the_loop_that_is_timed_counts_the_flops_of_its_matrix_products():
    images = noise_images(64, 8, 8)
    model = plain_vae(images.info(), (20, 10), 5, torch.nn.Tanh, likelihood="bernoulli")
    loop = Loop(model, images, batch_size=16, precision="fp32")
    assert loop.train(3) > 0
    forward = 2 * (64 * 20 + 20 * 10 + 10 * 10 + 5 * 10 + 10 * 20 + 20 * 64)
    first = 2 * 64 * 20  # no gradient is asked for the images
    assert loop.flops() == 3 * forward - first


def test_the_plain_vae_is_one_that_the_fast_likelihood_applies_to():
    images = noise_images(8, 8, 8)
    model = plain_vae(images.info(), (20, 10), 5, torch.nn.Tanh, likelihood="bernoulli")
    x = model.observe(images.batch(np.arange(3)), seeds=[0, 1, 2])
    noise = torch.randn(3, 80, 5, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert log_weights(model, x, None, noise).shape == (3, 80)
    fast = model.importance_log_weights(x, None, 80, [0, 1, 2], 0.0)
    assert fast is not None
    assert fast.shape == (3, 80)
    assert fast.isfinite().all()


# -- samples of pinxit and peers -------------------------------------------------------------------


def test_a_stopwatch_ends_within_half_a_step_of_its_limit():
    for step_seconds in (0.4, 7.0, 11.0, 25.0, 90.0):
        now = iter(step_seconds * i for i in range(1000))
        stopwatch = peer_process.Stopwatch(0.5, clock=lambda now=now: next(now))
        while stopwatch.finish_step():
            assert stopwatch.progress < 1
        assert stopwatch.seconds == pytest.approx(stopwatch.steps * step_seconds)
        assert stopwatch.steps == max(1, round(30 / step_seconds))


def test_the_learning_rate_warms_up_in_steps_or_time_and_ends_at_zero():
    peak = peer_unet2d.LEARNING_RATE
    assert peer_unet2d.learning_rate(50, 0.0) == pytest.approx(peak / 10)
    assert peer_unet2d.learning_rate(1, 0.05) == pytest.approx(peak / 2, rel=0.01)
    assert peer_unet2d.learning_rate(500, 0.01) == pytest.approx(peak, rel=0.01)
    assert peer_unet2d.learning_rate(9, 0.5) == pytest.approx(peak / 2)
    assert peer_unet2d.learning_rate(9, 1.0) == 0


def test_batches_of_a_peer_have_every_image_once_and_half_of_them_flipped():
    torch.manual_seed(0)
    pixels = np.zeros((400, 1, 2, 1), np.uint8)
    pixels[:, 0, 0, 0] = np.arange(400) % 200
    pixels[:, 0, 1, 0] = 255
    batches = peer_process.random_batches(pixels, 100)
    x = (255 * torch.cat([next(batches) for _ in range(4)])).round().long().reshape(400, 2)
    assert sorted(x.min(1).values.tolist()) == sorted([*range(200)] * 2)
    assert 150 < int((x[:, 0] == 255).sum()) < 250


def test_a_process_of_a_peer_stores_its_samples_and_what_they_took(tmp_path):
    np.save(tmp_path / "train.npy", np.full((3, 2, 2, 1), 7, np.uint8))
    args = Namespace(folder=tmp_path, out=tmp_path / "out", seed=0, samples=40)

    def sample(model, args):
        assert model == 7
        return peer_process.sample_in_batches(lambda n: torch.full((n, 1, 2, 2), 0.5), args.samples)

    peer_process.write_results(
        args, lambda pixels, _: (int(pixels.max()), {"steps": 3}), sample, "numpy"
    )
    assert np.load(tmp_path / "out" / "samples.npy").shape == (40, 2, 2, 1)
    timing = json.loads((tmp_path / "out" / "timing.json").read_text())
    assert timing["steps"] == 3
    assert timing["version"] == np.__version__


def test_the_process_of_a_peer_does_not_import_pinxit():
    scripts = {"benchmarks.peer_process", *(peer.script for peer in samples.PEERS.values())}
    for script in scripts:
        file = importlib.import_module(script).__file__
        assert file
        for node in ast.walk(ast.parse(Path(file).read_text())):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for module in modules:
                assert not module.startswith("pinxit")
                assert not module.startswith("benchmarks") or module == "benchmarks.peer_process"


def test_a_stored_result_is_used_for_its_own_budget_only(tmp_path):
    budget = samples.Budget(minutes=2.0, samples=100, sampling_steps=50)
    assert samples.read_result("unet2d", tmp_path, budget) is None
    (tmp_path / "timing.json").write_text(json.dumps({"steps": 3, "budget": vars(budget)}))
    fewer = samples.Budget(minutes=2.0, samples=50, sampling_steps=50)
    for same in (budget, fewer):
        assert samples.read_result("unet2d", tmp_path, same)
    steps = samples.Budget(minutes=2.0, samples=100, sampling_steps=10)
    assert samples.read_result("pythae-vae", tmp_path, steps)
    with pytest.raises(UsageError, match="measured with sampling steps 50, not 10"):
        samples.read_result("unet2d", tmp_path, steps)
    with pytest.raises(UsageError, match=r"measured with minutes 2.0, not 3.0"):
        samples.read_result("pinxit", tmp_path, samples.Budget(minutes=3.0, samples=100))
    with pytest.raises(UsageError, match="measured with samples 100, not 500"):
        samples.read_result("pinxit", tmp_path, samples.Budget(minutes=2.0))


def test_training_of_a_run_is_added_to_that_of_the_run_it_contains(tmp_path):
    header = "step,images_seen,seconds\n"
    (tmp_path / "metrics.csv").write_text(f"{header}1,8,0.5\n4,32,2.5\n")
    assert samples.read_training(tmp_path) == {"seconds": 2.5, "steps": 4, "images": 32}
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "metrics.csv").write_text(f"{header}10,100,5.0\n")
    assert samples.read_training(tmp_path) == {"seconds": 7.5, "steps": 14, "images": 132}


class PixelSpace:
    """Every other pixel as features."""

    description: ClassVar = {"task": "labels", "accuracy": 0.9}

    def embed(self, images):
        return images.pixels[:, ::2, ::2].reshape(len(images), -1) / 255


@pytest.fixture
def digits_with_fake_peers(tmp_path, monkeypatch):
    """Digits as the set; unet2d "samples" training images, lucidrains noise; others are missing."""
    monkeypatch.setattr(samples, "FOLDER", tmp_path)
    monkeypatch.setattr(samples, "SETS", {"digits": 8})
    monkeypatch.setattr(samples, "get_feature_space", lambda images: PixelSpace())
    missing = "pythae"
    monkeypatch.setattr(samples, "is_installed", lambda peer, python: peer.package != missing)
    measured = []

    def run_peer(peer, images, out, budget, python):
        measured.append(peer.package)
        train = images.split("train").pixels[: budget.samples]
        noise = np.random.default_rng(0).integers(0, 256, train.shape, np.uint8)
        np.save(out / "samples.npy", noise if "denoising" in peer.package else train)
        times = {"seconds": 60.0, "sampling_seconds": 20.0}
        return {**times, "steps": 3, "images": 48, "parameters": 2e6, "version": "1.0"}

    monkeypatch.setattr(samples, "_run_peer", run_peer)
    return measured


def test_samples_are_compared_and_used_again(digits_with_fake_peers, tmp_path):
    measured, budget = digits_with_fake_peers, samples.Budget(minutes=1.0, samples=200)
    models = tuple(samples.PEERS)
    for _ in range(2):
        table = samples.measure_set("digits", models, budget)
    assert measured == ["diffusers", "denoising_diffusion_pytorch"]
    near, far, floor = table.rows
    assert near[0] == "diffusers 1.0: UNet2DModel"
    assert near[1:6] == (1.0, 3, 48, 2.0, 0.1)
    assert isinstance(near[6], float)
    assert isinstance(far[6], float)
    assert far[6] > 5 * near[6]
    assert floor[0] == "training images"
    assert any("pythae-vae is left out" in note for note in table.notes)
    assert (tmp_path / "digits" / "lucidrains" / "sheet.png").is_file()
    samples.measure_set("digits", ("unet2d",), budget, fresh=True)
    assert measured[2:] == ["diffusers"]


def test_nothing_to_compare_is_an_error(digits_with_fake_peers):
    with pytest.raises(PinxitError, match=r"nothing to compare on digits\. pythae-vae is"):
        samples.measure_set("digits", ("pythae-vae",), samples.Budget())


def test_an_unknown_model_is_an_error_that_suggests_the_near_one(capsys):
    assert samples.main(model=("unet2",)) == 2
    assert "no 'unet2'. Did you mean 'unet2d'?" in capsys.readouterr().err


def test_whether_a_peer_is_installed_is_found_in_its_own_python():
    assert samples.is_installed(samples.Peer("", "", "numpy"), sys.executable)
    assert not samples.is_installed(samples.Peer("", "", "no_such_package"), sys.executable)


# -- recipes ---------------------------------------------------------------------------------------


def test_measured_metrics_replace_those_of_a_recipe(tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('title = "t"\n\n[measured]\nmachine = "old"\nelbo = -90.0\n')
    measured = {"runs/a, test": {"chrf:en": (45.7512, 1.432)}}
    for _ in range(2):
        write_measured(recipe, format_measured({"machine": "new", "minutes": 1.5}, measured))
    assert tomllib.loads(recipe.read_text()) == {
        "title": "t",
        "measured": {
            "machine": "new",
            "minutes": 1.5,
            "runs/a, test": {"chrf:en": [45.751, 1.4]},
        },
    }


def test_measured_metrics_are_those_with_an_error_of_every_evaluation(tmp_path):
    run = tmp_path / "runs" / "a"
    run.mkdir(parents=True)
    for split, name in (("test", "evaluation.json"), ("validation", "evaluation-validation.json")):
        metrics = {"elbo": -90.0, "elbo_error": 0.5, "latents": 8}
        (run / name).write_text(json.dumps({"metrics": metrics, "protocol": {"split": split}}))
    elbo = {"elbo": (-90.0, 0.5)}
    assert read_metrics(tmp_path) == {"runs/a, test": elbo, "runs/a, validation": elbo}


def test_a_command_of_a_recipe_runs_once_and_its_failure_is_an_error(tmp_path):
    line = "pinxit look digits -o sheet.png"
    seconds = run_command(line, tmp_path)
    assert (tmp_path / "sheet.png").is_file()
    assert seconds > 0
    (tmp_path / "sheet.png").unlink()
    assert run_command(line, tmp_path) == seconds
    assert not (tmp_path / "sheet.png").exists()
    with pytest.raises(PinxitError, match="with exit code 2"):
        run_command("pinxit look no-such-folder/", tmp_path)


# -- what sharpens a VAE ---------------------------------------------------------------------------


def results_of(distances, sharpness=0.5):
    """Results of runs whose samples are images of noise moved by so much, in 4 features."""
    from benchmarks.blur import Replicates, Result

    rng = np.random.default_rng(0)
    test = rng.standard_normal((4000, 4))

    def at(distance, seed):
        return Replicates(rng.standard_normal((4000, 4)) + distance / 2, test, seed, paired=False)

    kinds = ("samples", "reconstructions", "mixture", "realnvp")
    metrics = {"sharpness_samples": sharpness, "sharpness_samples_error": 0.01}
    return {
        name: Result({kind: at(values[kind], i) for i, kind in enumerate(kinds)}, metrics)
        for name, values in distances.items()
    }


def test_variances_and_priors_are_compared_by_ratios_with_errors():
    from benchmarks import blur

    plain = {"samples": 2.0, "reconstructions": 0.0, "mixture": 1.0, "realnvp": 1.0}
    results = results_of(
        {
            blur.DEFAULT: plain,
            blur.FLOW: plain | {"samples": 1.0},
            blur.ONE: plain | {"samples": 4.0},
            blur.ANALYTIC: plain,
            blur.ONE_FLOW: plain | {"samples": 3.0},
            blur.ANALYTIC_FLOW: plain | {"samples": 1.0},
        }
    )
    rows = {row[:2]: row for row in blur.compare_variances("x", results, ()).rows}
    ratio, error = rows[blur.ANALYTIC, "N(0, I)"][4:]
    assert ratio == pytest.approx(4, rel=0.15)  # squares of distances of means
    assert 0 < error < 0.6
    assert rows[blur.ONE, "N(0, I)"][4:] == (1.0, 0.0)
    assert {variant for variant, _ in rows} == {blur.ONE, blur.ANALYTIC}
    assert rows[blur.ANALYTIC, "flow, learned together"][4] == pytest.approx(9, rel=0.2)
    assert rows[blur.ONE, "flow, learned together"][4:] == (1.0, 0.0)
    rows = {row[0]: row for row in blur.compare_priors("x", results, ()).rows}
    assert rows["N(0, I)"][3] == pytest.approx(1)
    for prior in ("mixture", blur.FLOW):
        assert rows[prior][3] == pytest.approx(0.25, abs=0.08)
        assert rows[prior][4] > 0
    assert blur.compare_sharpness("x", results, ()).rows[0][1:3] == (0.5, 0.01)
    assert blur.compare_priors("x", {}, ()).rows == ()
    assert np.isnan(blur.divide_gaps(1, 0, 0.5, 0.5))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["startup", "--minutes", "2"], "--minutes is an option of vaes and blur"),
        (["vaes", "startup", "--minutes", "2"], "--minutes is an option of vaes and blur"),
        (["vaes", "--data", "mnist"], "--data is an option of blur"),
        (["--data", "mnist"], "--data is an option of blur"),
        (["vaes", "--minutes", "0"], "--minutes must be above 0"),
        (["blur", "--minutes", "0"], "--minutes must be above 0"),
    ],
)
def test_options_of_benchmarks_are_checked(words, message, capsys):
    import tyro

    from benchmarks.__main__ import benchmarks

    assert tyro.cli(benchmarks, args=words) == 2
    assert message in capsys.readouterr().err
