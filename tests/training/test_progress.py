"""What a training tells of itself."""

from __future__ import annotations

import torch

from pinxit.training import progress
from pinxit.training.loop import Step
from pinxit.training.progress import Progress


def step(number: int, total: int, skipped: bool = False) -> Step:
    parts = {"elbo": torch.tensor(-81.25), "kl": torch.tensor(24.5)}
    loss = torch.tensor(81.25)
    place = number / total, (number - 1) / total
    return Step(number, *place, loss, parts, "nats per image", 1e-3, 2.0, skipped)


def test_plain_lines_at_intervals_where_there_is_no_terminal(monkeypatch, capsys):
    now = [1000.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    told = Progress(batch=100)
    for number in range(1, 51):  # one step a second
        now[0] += 1
        told.step(step(number, 200), 82.0 if number > 30 else None)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert len(lines) == 5, "one every ten seconds"
    assert lines[0].startswith("  5%  step 10  elbo -81.25  kl 24.5 nats per image  ")
    assert "validation" not in lines[0]
    assert "validation 82" in lines[-1]
    assert "98 images/s" in lines[-1]
    assert "2 min 33 s left" in lines[-1]
    assert "\x1b" not in err


def test_quiet_says_nothing(monkeypatch, capsys):
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0)
    told = Progress(batch=1, quiet=True)
    told.step(step(1, 2), None)
    told.say("a word")
    told.stop()
    assert capsys.readouterr() == ("", "")


def test_a_terminal_has_a_live_line_and_lines_that_stay(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    told = Progress(batch=1)
    assert told.live is not None
    told.say("step 7: [not finite]")
    told.stop()
    assert told.live is None
    assert "step 7: [not finite]" in capsys.readouterr().err
