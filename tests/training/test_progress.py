"""The progress line of training."""

from __future__ import annotations

import base64

import pytest
import torch
from rich.console import Console

from pinxit.training import progress
from pinxit.training.loop import StepResult
from pinxit.training.progress import ProgressLine

PARTS = {"elbo": -81.25, "kl": 24.5}


def make_step(
    number: int, total: int, skipped: bool = False, parts: dict[str, float] = PARTS
) -> StepResult:
    return StepResult(
        step=number,
        progress=number / total,
        progress_before=(number - 1) / total,
        loss=torch.tensor(81.25),
        parts={name: torch.tensor(value) for name, value in parts.items()},
        unit="nats per image",
        learning_rate=1e-3,
        grad_norm=2.0,
        skipped=skipped,
    )


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """The time in seconds, in a list of one."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    return now


def run_steps(clock, count: int, total: int, **changes) -> None:
    """A step per second."""
    line = ProgressLine(batch_size=100)
    for number in range(1, count + 1):
        clock[0] += 1
        line.update(make_step(number, total, **changes), 82.0 if number > 30 else None)


def test_without_a_terminal_a_line_is_printed_every_ten_seconds(clock, capsys):
    run_steps(clock, 50, 200)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert len(lines) == 5
    assert lines[0].startswith("  5%  step 10  loss 81.25  elbo -81.25  kl 24.50  ")
    assert "val" not in lines[0]
    assert "val 82" in lines[-1]
    assert "100 images/s" in lines[-1]
    assert "2 min 30 s left" in lines[-1]
    assert "\x1b" not in err


def test_a_line_fits_80_columns_however_many_parts_the_loss_has(clock, capsys):
    run_steps(clock, 40, 1_000_000, parts={f"bits_per_token_{i}": 1234.5678 for i in range(9)})
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert all(50 < len(line) <= 80 for line in lines)
    assert all("images/s" in line and line.endswith(" left") for line in lines)


def test_progress_never_exceeds_100_percent(clock, capsys):
    """The last step of a budget of minutes may end after it."""
    line = ProgressLine(batch_size=100)
    for number in (11, 12):
        clock[0] += 20
        line.update(make_step(number, 11))
    assert capsys.readouterr().err.splitlines()[-1].startswith("100%  step 12  ")


def test_speed_and_time_left_are_shown_once_they_are_known(clock, capsys):
    line = ProgressLine(batch_size=100)
    for number in (91, 92):  # resumed at step 90
        clock[0] += 20
        line.update(make_step(number, 200), val_loss=82.0)
    first, second = capsys.readouterr().err.splitlines()
    assert first == " 46%  step 91  loss 81.25  val 82  elbo -81.25  kl 24.50"
    assert second.endswith("  5 images/s  36 min left")


@pytest.mark.parametrize("startup", [0.0, 30.0, 600.0])
def test_speed_and_time_left_are_those_of_steps_however_long_the_start_took(clock, capsys, startup):
    line = ProgressLine(batch_size=100)
    clock[0] += startup  # compiling, measuring precisions, the first batch
    for number in range(1, 31):
        clock[0] += 1
        line.update(make_step(number, 60))
    last = capsys.readouterr().err.splitlines()[-1]
    step = int(last.split("step ")[1].split()[0])
    assert last.endswith(f"100 images/s  {60 - step} s left")


def test_large_losses_have_no_exponent(clock, capsys):
    run_steps(clock, 10, 200, parts={"elbo": -13_732.4})
    assert "  elbo -13,732  " in capsys.readouterr().err


def test_a_skipped_update_is_reported(clock, capsys):
    run_steps(clock, 10, 200, skipped=True)
    assert "loss not finite" in capsys.readouterr().err


def test_quiet_prints_nothing(monkeypatch, capsys):
    monkeypatch.setattr(progress.Lines, "interval", 0)
    line = ProgressLine(batch_size=1, quiet=True)
    line.update(make_step(1, 2))
    line.print("a message")
    line.close()
    assert capsys.readouterr() == ("", "")


def test_a_terminal_has_a_live_line_and_permanent_lines(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    line = ProgressLine(batch_size=1)
    assert isinstance(line.display, progress.TerminalBar)
    line.print("step 7: [not finite]")
    line.close()
    assert line.display is None
    assert "step 7: [not finite]" in capsys.readouterr().err


def test_a_terminal_shows_a_bar_above_the_line(monkeypatch, capsys, clock):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(
        progress, "Console", lambda stderr: Console(stderr=stderr, force_terminal=True)
    )
    line = ProgressLine(batch_size=1)
    clock[0] += 1
    line.update(make_step(1, 2))
    assert "━" * 20 in capsys.readouterr().err
    line.close()


class FakeCell:
    """What `IPython.display.display` shows: the last content of each output, in order."""

    def __init__(self) -> None:
        self.outputs: list[dict[str, str]] = []

    def display(self, bundle, raw, display_id):
        assert raw
        assert display_id is True
        self.outputs.append(bundle)
        number = len(self.outputs) - 1

        class Handle:
            @staticmethod
            def update(new, raw):
                assert raw
                self.outputs[number] = new

        return Handle()


@pytest.fixture
def cell(monkeypatch) -> FakeCell:
    """A cell of a notebook."""
    fake = FakeCell()
    monkeypatch.setattr(progress, "in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", fake.display)
    return fake


def test_a_notebook_has_one_bar_that_is_updated_and_the_last_samples(cell, clock, tmp_path):
    line = ProgressLine(batch_size=100)
    (tmp_path / "titles.json").write_text('{"step": "samples: new images"}')
    for number in range(1, 21):
        clock[0] += 1
        line.update(make_step(number, 40))
        (tmp_path / f"step-{number:07d}.png").write_bytes(b"png %d" % number)
        line.show_samples(tmp_path, number)
    bar, samples = cell.outputs
    assert 'value="0.5000"' in bar["text/html"]
    assert " 50%  step 20  loss 81.25" in bar["text/plain"]
    assert base64.b64encode(b"png 20").decode() in samples["text/html"]
    line.print("20 steps, <b> nats")
    line.close()
    assert [output["text/html"] for output in cell.outputs[::2]] == ["", "20 steps, &lt;b&gt; nats"]
    assert cell.outputs[1]["text/plain"] == "[samples at step 20]"


def test_a_quiet_training_shows_nothing_in_a_notebook(cell, tmp_path):
    line = ProgressLine(batch_size=100, quiet=True)
    line.update(make_step(1, 2))
    line.show_samples(tmp_path, 1)
    line.print("a message")
    line.close()
    assert cell.outputs == []


def test_reconstructions_are_shown_of_a_model_that_does_not_sample(cell, tmp_path):
    line = ProgressLine(batch_size=100)
    line.show_samples(tmp_path, 3)
    (tmp_path / "reconstruct-0000003.png").write_bytes(b"png")
    line.show_samples(tmp_path, 3)
    assert len(cell.outputs) == 2
    line.close()
