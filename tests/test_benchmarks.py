"""The benchmarks' pure functions; what they measure is measured by running them."""

from __future__ import annotations

import importlib
import json
import tomllib

import pytest
import torch

from benchmarks.__main__ import PARTS
from benchmarks.choose import combine, format_results, measure
from benchmarks.measure import Loop, noise_images, seconds_of
from benchmarks.networks import plain_vae
from benchmarks.recipe import format_measured, read_metrics, run_command, write_measured
from benchmarks.tables import Table, format_cell, median, ratio, with_ratios


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
    import sys

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
    import numpy as np

    x = model.observe(images.batch(np.arange(3)), seeds=[0, 1, 2])
    noise = torch.randn(3, 80, 5, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert model._log_weights(x, None, noise).shape == (3, 80)
    log_weights = model.importance_log_weights(x, None, 80, [0, 1, 2], 0.0)
    assert log_weights is not None
    assert log_weights.shape == (3, 80)
    assert log_weights.isfinite().all()


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
    with pytest.raises(RuntimeError, match="failed with exit code 2"):
        run_command("pinxit look no-such-folder/", tmp_path)
