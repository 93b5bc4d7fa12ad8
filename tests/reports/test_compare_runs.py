"""Runs side by side, and the curve of a figure against an option."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from pinxit.cli import main
from pinxit.errors import UsageError
from pinxit.reports.compare_runs import by_layer, compared, curve, drawn
from pinxit.runs import Run


def run_of(folder, ratio, **figures):
    run = Run(folder)
    model = {"mask_ratio": ratio, "kind": "random"}
    run.write("config.json", {"family": "vae", "model": model, "training": {"steps": 3}})
    if figures:
        run.write("evaluation.json", {"metrics": figures})
    return Run(folder)


@pytest.fixture
def runs(tmp_path):
    return [
        run_of(tmp_path / "b", 0.75, probe_accuracy=0.5, psnr=20.0),
        run_of(tmp_path / "a", 0.25, probe_accuracy=0.4),
        run_of(tmp_path / "c", 0.9, probe_accuracy=0.3, elbo_error=1.0),
    ]


def test_each_figure_has_a_value_a_run(runs):
    assert compared(runs) == {"psnr": [20, None, None], "probe_accuracy": [0.5, 0.4, 0.3]}


def test_the_curve_is_in_the_option_s_order(runs):
    points = curve(runs, "probe_accuracy", "mask_ratio")
    assert points == [(0.25, 0.4), (0.75, 0.5), (0.9, 0.3)]
    with Image.open(io.BytesIO(drawn(points, "probe_accuracy", "mask_ratio"))) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert (np.abs(pixels.astype(int) - (200, 64, 40)).sum(-1) < 30).sum() > 500, "a line is there"


@pytest.mark.parametrize(
    ("figure", "against", "words"),
    [
        ("probe_acuracy", "mask_ratio", "Did you mean 'probe_accuracy'"),
        ("probe_accuracy", "mask_ration", "Did you mean 'mask_ratio'"),
        ("probe_accuracy", "kind", "needs numbers"),
        ("psnr", "mask_ratio", "two runs with the figure"),
    ],
)
def test_what_cannot_be_drawn_is_refused(runs, figure, against, words):
    with pytest.raises(UsageError, match=words):
        curve(runs, figure, against)


def test_the_command_prints_and_draws(runs, tmp_path, capsys):
    paths = [str(run.path) for run in runs]
    assert main(["compare", *paths]) == 0
    table = capsys.readouterr().out
    assert "linear probe" in table
    assert "0.5" in table
    assert main(["compare", *paths, "--metric", "psnr", "--against", "mask_ratio"]) == 2
    assert main(["compare", *paths[:1]]) == 2
    assert main(["compare", *paths, "--metric", "psnr"]) == 2
    capsys.readouterr()
    words = ["--metric", "probe_accuracy", "--against", "mask_ratio"]
    assert main(["compare", *paths, *words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["points"][1] == [0.75, 0.5]
    assert (tmp_path / "probe_accuracy-mask_ratio.png").is_file()


def test_a_run_that_was_not_evaluated_says_so(runs, tmp_path):
    with pytest.raises(UsageError, match="not evaluated yet: pinxit evaluate"):
        compared([*runs, run_of(tmp_path / "d", 0.5)])


def test_probes_by_layer_are_drawn_together(runs, tmp_path, capsys):
    with pytest.raises(UsageError, match="none of these runs"):
        by_layer(runs)
    for run, layers in zip(runs, ([0.2, 0.5, 0.4], [0.2, 0.3]), strict=False):
        run.write("evaluation.json", {"metrics": {"psnr": 1}, "curves": {"probe_by_layer": layers}})
    words = [*(str(run.path) for run in runs), "--metric", "probe_by_layer"]
    assert main(["compare", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["b: 0.200 0.500 0.400", "a: 0.200 0.300"]
    assert (tmp_path / "probe_by_layer.png").read_bytes().startswith(b"\x89PNG")
    assert main(["compare", *words, "--against", "mask_ratio"]) == 2
