"""Progress lines, durations, and output to consoles of any encoding."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys

import pytest

from pinxit import console
from pinxit.console import StageProgress, echo_wrapped, format_duration, format_number, track


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(console, "time", clock)
    return clock


def test_durations_are_in_the_two_largest_units():
    durations = {
        0: "0 s",
        4.25: "4 s",
        59.4: "59 s",
        61: "1 min 1 s",
        300: "5 min",
        3599: "59 min 59 s",
        7261: "2 h 1 min",
        7800: "2 h 10 min",
        -3: "0 s",
    }
    assert [format_duration(seconds) for seconds in durations] == list(durations.values())


def test_losses_and_metrics_have_four_digits_and_no_exponent_below_a_billion():
    numbers = {
        -67_880.65: "-67,881",
        14_482.9: "14,483",
        999_999_999.5: "1,000,000,000",
        13_421.0: "13,421",
        -99.523: "-99.52",
        24.5: "24.50",
        0.0123456: "0.01235",
        0.0: "0",
        2**40: "1,099,511,627,776",
        3.25e12: "3.250e+12",
        1.5e-7: "1.500e-07",
        float("nan"): "nan",
    }
    assert [format_number(number) for number in numbers] == list(numbers.values())
    assert format_number(0.0247, digits=2) == "0.025"


def test_tracked_items_pass_unchanged_with_a_line_every_ten_seconds(clock, capsys):
    def items():
        for i in range(5):
            clock.now += 6
            yield 20, i

    assert list(track(items(), 100, "decoding mnist", show=True)) == [0, 1, 2, 3, 4]
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["decoding mnist: 40 of 100", "decoding mnist: 80 of 100"]
    assert list(track(items(), 100, "decoding mnist", show=False)) == [0, 1, 2, 3, 4]
    assert capsys.readouterr().err == ""


def test_a_long_line_is_broken_between_words_in_a_terminal_only(monkeypatch, capsys):
    line = "vae with 572,001 parameters: latent_dim 16, width 256, batch_size 64"
    echo_wrapped(line)
    assert capsys.readouterr().err == f"{line}\n"
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    for width in (20, 44, 45, 46):
        monkeypatch.setenv("COLUMNS", str(width))
        echo_wrapped(line)
        lines = capsys.readouterr().err.splitlines()
        assert " ".join(lines) == line, "no word is broken"
        assert all(0 < len(part) <= width and part[0].isalnum() for part in lines)


def run_stage(clock, seconds_per_image: float, show: bool = True) -> None:
    with StageProgress(show) as progress, progress.stage("likelihood") as update:
        for done in range(1, 101):
            clock.now += seconds_per_image
            update(done, 100)


def test_a_long_stage_prints_its_time_left_once_and_then_every_thirty_seconds(clock, capsys):
    run_stage(clock, 2.0)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "likelihood: 3 min 18 s left"
    assert lines[1] == "likelihood: 17 of 100, 2 min 46 s left"
    assert 5 <= len(lines) <= 7


def test_a_short_stage_prints_nothing(clock, capsys):
    run_stage(clock, 0.1)
    assert capsys.readouterr().err == ""


def test_a_stage_that_is_not_shown_prints_nothing(clock, capsys):
    run_stage(clock, 2.0, show=False)
    assert capsys.readouterr().err == ""


PRINT_EVERYTHING = """
from rich.table import Table
from pinxit.console import echo, out, out_json, out_rich
text = "caf\\u00e9 \\u732b \\udce9 end"
table = Table("name")
table.add_row(text)
out(text); echo(text); out_json({"name": text}); out_rich(table)
"""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_no_character_fails_in_any_encoding(encoding):
    process = subprocess.run(
        [sys.executable, "-c", PRINT_EVERYTHING],
        env=os.environ | {"PYTHONIOENCODING": encoding},
        capture_output=True,
        check=True,
    )
    out, err = process.stdout.decode(encoding), process.stderr.decode(encoding)
    cafe = "caf?" if encoding == "ascii" else "café"
    cat = "猫" if encoding == "utf-8" else "?"
    lines = out.splitlines()
    assert lines[0] == f"{cafe} {cat} ? end"
    assert err.splitlines() == [lines[0]]
    assert json.loads("".join(lines[1:4])) == {"name": "café 猫 \udce9 end"}
    assert sum(f"{cafe} {cat} ? end" in line for line in lines[4:]) == 1


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (-99.5234, 0.2512, "-99.52 ± 0.25"),
        (0.93712, 0.00243, "0.9371 ± 0.0024"),
        (12345.6, 123.4, "12,346 ± 123"),
        (0.0012345, 0.0000123, "0.001234 ± 0.000012"),
        (1.2345e-9, 2e-11, "1.235e-09 ± 2.0e-11"),
        (1.0, 0.0, "1 ± 0"),
        (21.512, None, "21.51"),
        (math.inf, 0.1, "inf ± 0.1"),
    ],
)
def test_a_value_has_no_more_digits_than_its_error_supports(value, error, text):
    assert console.format_estimate(value, error) == text
