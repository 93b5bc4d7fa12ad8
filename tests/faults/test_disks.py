"""Full disks, read-only folders and the like: two lines, and no figures are lost."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinxit import cli
from pinxit.cli import main
from pinxit.data.atomic_write import write_atomically
from pinxit.errors import describe_os_error
from pinxit.evaluation import runner
from pinxit.runs import Run
from tests.builders import blobs, make_run

NO_SPACE = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/full/file")
CHEAP = ["--no-distances", "--iw-samples", "0", "--probe-train-size", "0", "--quiet"]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return make_run(tmp_path_factory.mktemp("runs") / "run", blobs(), steps=5)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    from PIL import Image

    folder = tmp_path_factory.mktemp("data")
    for i, pixels in enumerate(blobs().pixels[:12]):
        Image.fromarray(pixels[..., 0]).save(folder / f"{i}.png")
    return str(folder)


@given(
    st.sampled_from(sorted(errno.errorcode)),
    st.none() | st.text(min_size=1, max_size=20).filter(lambda text: "\n" not in text),
)
def test_any_os_error_is_two_lines(code, name):
    lines = describe_os_error(OSError(code, os.strerror(code), name)).split("\n")
    assert len(lines) == 2
    assert os.strerror(code) in lines[0]
    assert name is None or name in lines[0]


@pytest.mark.parametrize("error", [NO_SPACE, OSError("no errno"), OSError(), ConnectionError("x")])
def test_the_command_line_says_any_os_error_in_two_lines(monkeypatch, capsys, error):
    def fail(_):
        raise error

    monkeypatch.setattr(cli, "_dispatch", fail)
    assert main(["runs"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("pinxit: ")


@pytest.mark.parametrize(
    "text", ["DefaultCPUAllocator: can't allocate memory", "CUDA out of memory"]
)
def test_too_little_memory_is_said_in_words(monkeypatch, capsys, text):
    def fail(_):
        raise RuntimeError(text)

    monkeypatch.setattr(cli, "_dispatch", fail)
    assert main(["runs"]) == 1
    assert capsys.readouterr().err.startswith("pinxit: there is not enough memory.\n")


def test_output_to_a_full_disk_is_an_error():
    code = "import sys; from pinxit.cli import main; sys.exit(main(['sources']))"
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "pinxit: No space left on device."
    assert len(done.stderr.splitlines()) == 2


def test_a_write_error_names_the_file_and_leaves_nothing(tmp_path, monkeypatch):
    def fail(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomically(tmp_path / "file", b"content")
    assert caught.value.filename == str(tmp_path / "file")
    assert not list(tmp_path.iterdir())


def fail_to_write(*_):
    raise NO_SPACE


def test_figures_are_printed_before_they_are_written(run, data, monkeypatch, capsys):
    monkeypatch.setattr(runner.Measured, "write", fail_to_write)
    assert main(["evaluate", str(run.path), data, *CHEAP]) == 1
    output = capsys.readouterr()
    assert "reconstruction" in output.out
    assert output.err.splitlines()[-2] == "pinxit: /full/file: No space left on device."
    assert main(["evaluate", str(run.path), data, *CHEAP, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["metrics"]["mse"] > 0


def test_python_gets_the_figures_and_a_warning(run, monkeypatch):
    monkeypatch.setattr(runner.Measured, "write", fail_to_write)
    record = runner.evaluate(
        run, blobs(), distances=False, iw_samples=0, probe_train_size=0, progress=False
    )
    assert record["metrics"]["mse"] > 0
    assert record["warnings"][-1].startswith("not written: /full/file: No space left")


def test_evaluate_writes_to_out_and_leaves_the_run_alone(run, data, tmp_path, capsys):
    before = sorted(path.name for path in run.path.iterdir())
    out = tmp_path / "metrics.json"
    assert main(["evaluate", str(run.path), data, *CHEAP, "--out", str(out)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(out)
    assert json.loads(out.read_text())["metrics"]["mse"] > 0
    assert (tmp_path / "metrics-images.csv").is_file()
    assert sorted(path.name for path in run.path.iterdir()) == before
    assert main(["evaluate", str(run.path), data, "--out", str(tmp_path / "a.txt")]) == 2
