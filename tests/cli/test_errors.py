"""Errors of the Python interface, as the command line prints them."""

from __future__ import annotations

import dataclasses

import pytest

from pinxit.cli.parse import run_command
from pinxit.cli.train import family_command
from pinxit.errors import UnusedOptionError, UsageError
from pinxit.models import list_families


@dataclasses.dataclass(frozen=True)
class Settings:
    # hidden units
    width: int = 64
    # heads
    heads: int = 4
    # latent dimension
    latent_dim: int = 8
    # weight
    beta: float = 1.0
    # levels
    fsq_levels: tuple[int, ...] = (8, 5)
    # labels
    label: str | None = None


def print_error(error: UsageError, *args: str) -> str:
    def command(settings: Settings = Settings()) -> None:
        """Do something."""
        raise error

    with pytest.raises(UsageError) as raised:
        run_command("do", command, args)
    assert raised.value.exit_code == 2
    return str(raised.value)


@pytest.mark.parametrize(
    ("text", "args", "expected"),
    [
        (
            "latent_dim must be at least 1, not 0.",
            "--latent-dim 0",
            "--latent-dim must be at least",
        ),
        ("beta must be 0 or more, not -1.0.", "--beta -1", "--beta must be 0 or more, not -1."),
        ("beta must be 0 or more, not 0.0.", "--beta=0e0", "--beta must be 0 or more, not 0e0."),
        ("beta must be 0 or more, not -1.0.", "", "--beta must be 0 or more, not -1.0."),
        (
            "fsq_levels must be 3 or more, as 8 5 5 5, not (2, 2).",
            "--fsq-levels 2 2",
            "--fsq-levels must be 3 or more, as 8 5 5 5, not 2 2.",
        ),
        (
            "heads 3 does not divide width 32.",
            "--heads 3 --width 32",
            "--heads 3 does not divide --width 32.",
        ),
        ("fsq_levels needs latent_dim 1.", "", "--fsq-levels needs --latent-dim 1."),
        # neither words of a sentence, nor paths, nor quoted names
        ("no label 'x'; the width must fit.", "--label x", "no label 'x'; the width must fit."),
        ("no folder runs/latent_dim.", "", "no folder runs/latent_dim."),
        ("no option 'latent_dim'.", "", "no option 'latent_dim'."),
        ("label names are missing.", "", "label names are missing."),
    ],
)
def test_errors_name_the_option_and_the_value_that_was_typed(text, args, expected):
    assert print_error(UsageError(text), *args.split()).startswith(expected)


def test_an_unused_option_is_answered_with_the_options_of_the_command():
    error = UnusedOptionError(["latent_dim"], ["beta", "start", "width"])
    assert "does not use latent_dim; it uses beta, start, width." in str(error)
    text = print_error(error, "--latent-dim", "3")
    assert text == "this model does not use --latent-dim; it uses --beta and --width."


@pytest.mark.parametrize("family", list_families())
def test_no_error_about_an_option_shows_the_name_of_its_field(family):
    """Every number of `train FAMILY` is set to -7."""
    command = family_command(family)
    from pinxit.cli.options import read_options

    for option in read_options(command):
        if option.kind not in ("integer", "number") or option.section not in ("model", "training"):
            continue
        with pytest.raises(UsageError) as error:
            run_command(f"train {family}", command, ["no-such-data", option.flag, "-7"])
        text = str(error.value)
        if "no-such-data" not in text:  # some numbers are checked when the images are known
            assert text.startswith(f"{option.flag} ")
            assert text.endswith(", not -7.")


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ("--minutes 0", "--minutes must be above 0, not 0."),
        ("--minutes 0.00", "--minutes must be above 0, not 0.00."),
        ("--size 0", "the sides of a size must be 4 to 4,096 pixels, not 0."),
        ("--size 2x8", "the sides of a size must be 4 to 4,096 pixels, not 2x8."),
    ],
)
def test_values_are_printed_as_they_were_typed(args, expected, capsys):
    from pinxit.cli import main

    assert main(["train", "vae", "digits", *args.split()]) == 2
    assert capsys.readouterr().err == f"pinxit: {expected}\n"
