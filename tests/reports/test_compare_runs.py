"""Metrics of several runs, and the curve of a metric against an option."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from pinxit.cli import main
from pinxit.data.images import Images
from pinxit.errors import PinxitError, UsageError
from pinxit.evaluation.estimates import estimate_over
from pinxit.evaluation.metrics import collect
from pinxit.evaluation.per_image import collect_per_image, per_image_file, write_per_image
from pinxit.reports.compare_runs import (
    collect_layer_probes,
    collect_metric_by_option,
    collect_metrics,
    compare_evaluations,
    plot_metric_by_option,
    unique_names,
)
from pinxit.runs import FORMAT, Run

SVG = "{http://www.w3.org/2000/svg}"


def make_evaluated_run(folder, ratio, **metrics):
    run = Run(folder)
    model = {"mask_ratio": ratio, "kind": "random"}
    record = {"format": FORMAT, "family": "vae", "model": model, "training": {"steps": 3}}
    run.write("config.json", record)
    if metrics:
        run.write("evaluation.json", {"metrics": metrics})
    return Run(folder)


@pytest.fixture
def runs(tmp_path):
    return [
        make_evaluated_run(
            tmp_path / "b", 0.75, probe_accuracy=0.5, probe_accuracy_error=0.01, psnr=20.0
        ),
        make_evaluated_run(tmp_path / "a", 0.25, probe_accuracy=0.4),
        make_evaluated_run(tmp_path / "c", 0.9, probe_accuracy=0.3, elbo_error=1.0),
    ]


def test_each_metric_has_one_value_per_run(runs):
    assert collect_metrics(runs) == {"psnr": [20, None, None], "probe_accuracy": [0.5, 0.4, 0.3]}


def test_curve_is_sorted_by_the_option(runs):
    points = collect_metric_by_option(runs, "probe_accuracy", "mask_ratio")
    assert points == [(0.25, 0.4, None), (0.75, 0.5, 0.01), (0.9, 0.3, None)]
    root = ElementTree.fromstring(plot_metric_by_option(points, "probe_accuracy", "mask_ratio"))
    paths = {path.get("class"): path.get("d", "") for path in root.iter(f"{SVG}path")}
    assert len(re.findall("[ML]", paths["line s1"])) == 3
    assert paths["dot s1"].count("h0") == 3
    assert paths["error s1"].count("V") == 1, "one point has a known error"
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"0.4", "0.5", "0.3", "mask ratio"} <= set(texts)


@pytest.mark.parametrize(
    ("metric", "option", "message"),
    [
        ("probe_acuracy", "mask_ratio", "Did you mean 'probe_accuracy'"),
        ("probe_accuracy", "mask_ration", "Did you mean 'mask_ratio'"),
        ("probe_accuracy", "kind", "needs numbers"),
        ("psnr", "mask_ratio", "two runs with the metric"),
    ],
)
def test_invalid_curves_raise(runs, metric, option, message):
    with pytest.raises(UsageError, match=message):
        collect_metric_by_option(runs, metric, option)


def test_command_prints_a_table_and_writes_a_plot(runs, tmp_path, capsys):
    paths = [str(run.path) for run in runs]
    assert main(["compare", *paths]) == 0
    table = capsys.readouterr().out
    assert "linear probe" in table
    assert "0.5" in table
    assert main(["compare", *paths, "--metric", "psnr", "--against", "mask_ratio"]) == 2
    assert main(["compare", *paths[:1]]) == 2
    assert main(["compare", *paths, "--metric", "psnr"]) == 2
    assert main(["compare", *paths, "--out", "x.svg"]) == 2
    capsys.readouterr()
    arguments = ["--metric", "probe_accuracy", "--against", "mask_ratio"]
    assert main(["compare", *paths, *arguments, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["points"][1] == [0.75, 0.5, 0.01]
    assert (tmp_path / "probe_accuracy-mask_ratio.svg").is_file()


def test_run_without_evaluation_raises(runs, tmp_path):
    run = make_evaluated_run(tmp_path / "d", 0.5)
    with pytest.raises(PinxitError, match="no weights yet; train it: pinxit train --resume"):
        collect_metrics([*runs, run])
    run.weights_path.touch()
    with pytest.raises(UsageError, match=r"not evaluated yet\. Run: pinxit evaluate"):
        collect_metrics([*runs, run])


def test_layer_probes_are_plotted_together(runs, tmp_path, capsys):
    with pytest.raises(UsageError, match="none of these runs"):
        collect_layer_probes(runs)
    for run, layers in zip(runs, ([0.2, 0.5, 0.4], [0.2, 0.3]), strict=False):
        run.write("evaluation.json", {"metrics": {"psnr": 1}, "curves": {"probe_by_layer": layers}})
    arguments = [*(str(run.path) for run in runs), "--metric", "probe_by_layer"]
    assert main(["compare", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["b: 0.200 0.500 0.400", "a: 0.200 0.300"]
    root = ElementTree.fromstring((tmp_path / "probe_by_layer.svg").read_text("utf-8"))
    assert {"a", "b"} <= {text.text for text in root.iter(f"{SVG}text")}, "the legend"
    assert main(["compare", *arguments, "--against", "mask_ratio"]) == 2


def make_measured_run(folder, offset: float, seed: int, **protocol) -> Run:
    """A run with the ELBO of 50 images, known image by image."""
    run = make_evaluated_run(folder, 0.5)
    pixels = np.zeros((50, 2, 2, 1), np.uint8)
    images = Images(pixels, names=[str(i) for i in range(50)])
    values = 10 * np.sin(np.arange(50)) + np.random.default_rng(seed).normal(offset, 0.5, 50)
    collected = collect([("elbo", estimate_over(images, values))])
    protocol = {"split": "test", "fingerprint": "abc"} | protocol
    run.write("evaluation.json", {"metrics": collected.metrics, "protocol": protocol})
    write_per_image(
        run.path / per_image_file("test"), collect_per_image(collected.estimates, images)
    )
    return run


def test_compare_prints_paired_differences_and_where_runs_were_measured_differently(
    tmp_path, capsys
):
    runs = [
        make_measured_run(tmp_path / "a", 0, 0),
        make_measured_run(tmp_path / "b", 1, 1),
        make_measured_run(tmp_path / "c", 1, 2, fingerprint="other", split="validation"),
    ]
    paths = [str(run.path) for run in runs]
    comparison = compare_evaluations(runs[:2])
    (difference,) = comparison.differences["elbo"]
    assert difference.paired
    assert difference.value == pytest.approx(1, abs=0.3)
    assert comparison.best == {"elbo": 1}
    assert main(["compare", *paths[:2]]) == 0
    out = capsys.readouterr().out
    assert "b - a" in out
    assert "warning" not in out
    assert main(["compare", *paths, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [d["paired"] for d in printed["differences"]["elbo"]] == [True, False]
    assert printed["errors"]["elbo"][0] == pytest.approx(1, abs=0.2)
    assert printed["warnings"] == comparison_warnings(paths)
    assert main(["compare", *paths]) == 0
    out = capsys.readouterr().out
    assert "c - a" in out
    assert "* not paired" in out
    assert "warning: measured differently, split: test (a, b); validation (c)" in out


def comparison_warnings(paths) -> list[str]:
    return compare_evaluations([Run(Path(path)) for path in paths]).warnings


def test_runs_of_equal_names_are_shown_by_their_paths(tmp_path):
    runs = [make_measured_run(tmp_path / part / "run", 0, 0) for part in ("x", "y")]
    assert unique_names(runs) == [str(run.path) for run in runs]
