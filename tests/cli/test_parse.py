"""From words to values: what is understood, and what is said about what is not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from tyro.conf import FlagCreatePairsOff, Positional, arg

from pinxit.cli.draw import draw
from pinxit.cli.evaluate import evaluate
from pinxit.cli.parse import has_help_flag, parse_args
from pinxit.cli.sample import sample
from pinxit.cli.train import family_command
from pinxit.errors import UsageError
from pinxit.models.generation import GenerationParams
from tests.builders import CaptionScorer


def command(
    run: Annotated[Positional[Path], arg(metavar="RUN")],
    data: Annotated[Positional[tuple[str, ...]], arg(metavar="[DATA ...]")] = (),
    num_images: Annotated[int, arg(aliases=("-n",))] = 8,
    ratio: float | None = None,
    half: Literal["upper", "lower", "left"] = "upper",
    box: tuple[int, int] | None = None,
    language: tuple[str, ...] = (),
    report: bool = True,
    quiet: Annotated[bool, FlagCreatePairsOff] = False,
) -> None:
    """Do something with a run."""


def parse(line: str):
    return parse_args("do", command, line.split())


def test_words_become_values():
    values = parse("x a b -n 3 --ratio -0.5 --half lower --box 1 2 --language en fr --no-report")
    assert values == {
        "run": Path("x"),
        "data": ("a", "b"),
        "num_images": 3,
        "ratio": -0.5,
        "half": "lower",
        "box": (1, 2),
        "language": ("en", "fr"),
        "report": False,
        "quiet": False,
    }


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("x -n16", "num_images", 16),
        ("x -n=16", "num_images", 16),
        ("x --num-images=16", "num_images", 16),
        ("x --num_images 16", "num_images", 16),
        ("x -n 1 -n 2", "num_images", 2),
        ("-n 2 x", "num_images", 2),
        ("--quiet x", "quiet", True),
        ("x --ratio 1e-3", "ratio", 1e-3),
        ("x --ratio .5", "ratio", 0.5),
        ("x", "data", ()),
        ("x --quiet a b", "data", ("a", "b")),
        ("x --report", "report", True),
    ],
)
def test_spellings_of_options(line, name, value):
    assert parse(line)[name] == value


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("", "do needs RUN, the folder of a trained run. List yours with: pinxit runs"),
        ("x --ratio five", "--ratio takes a number, not 'five'."),
        ("x -n 2.5", "--num-images takes a whole number, not '2.5'."),
        ("x -n", "--num-images needs a value: a whole number."),
        ("x --box 1", "--box takes 2 whole numbers, not 1."),
        ("x --box 1 b", "--box takes whole numbers, not 'b'."),
        ("x --half uper", "--half is upper, lower or left, not 'uper'. Did you mean 'upper'?"),
        ("x --half top", "--half is upper, lower or left, not 'top'."),
        ("x --half", "--half needs a value: upper or lower or left."),
        ("x --quiet=1", "--quiet takes no value."),
        ("x --ration 1", "do has no option '--ration'. Did you mean '--ratio'? See: pinxit do -"),
        ("x --zzz 1", "do has no option '--zzz'. See: pinxit do --help"),
    ],
)
def test_errors_are_one_line_that_says_what_to_do(line, text):
    with pytest.raises(UsageError) as error:
        parse(line)
    assert str(error.value).startswith(text)
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 2


def test_a_word_too_many_is_an_error():
    def translate(text: Positional[str]) -> None:
        """Translate."""

    with pytest.raises(UsageError, match="unexpected argument 'b'"):
        parse_args("translate", translate, ["a", "b"])


def test_generation_options_become_one_value():
    values = parse_args(
        "draw", draw, ["runs/x", "a star", "--seed", "3", "--top-k", "5", "--guidance", "2"]
    )
    assert values["params"] == GenerationParams(seed=3, top_k=5, guidance=2.0)
    assert parse_args("sample", sample, ["runs/x"])["params"] == GenerationParams()


def test_an_invalid_generation_option_fails_with_its_reason():
    with pytest.raises(UsageError, match="top_p must be above 0 and at most 1, not 2"):
        parse_args("sample", sample, ["runs/x", "--top-p", "2"])
    with pytest.raises(UsageError, match="start must be 0 or more, not -2"):
        parse_args("sample", sample, ["runs/x", "--start=-2"])
    with pytest.raises(UsageError, match="evaluate has no option '--start'"):
        parse_args("evaluate", evaluate, ["runs/x", "--start", "2"])


def test_a_reranker_is_loaded_from_its_run(monkeypatch):
    runs = []
    monkeypatch.setattr(
        "pinxit.cli.tyro_rules.load_reranker", lambda run: runs.append(run) or CaptionScorer()
    )
    words = ["runs/x", "a star", "--best-of", "4", "--reranker", "runs/captions"]
    assert isinstance(parse_args("draw", draw, words)["params"].reranker, CaptionScorer)
    assert runs == [Path("runs/captions")]


@pytest.mark.parametrize(
    ("words", "option"),
    [("photos --size 64", 64), ("photos --size 96x64", "96x64"), ("photos", None)],
)
def test_a_size_is_one_number_or_two(words, option):
    values = parse_args("train vae", family_command("vae"), words.split())
    assert values["load"].size == option


def test_after_two_dashes_all_are_arguments():
    values = parse_args("draw", draw, ["-n", "2", "--", "runs/x", "--seed", "-h"])
    assert values["run"] == Path("runs/x")
    assert (values["texts"], values["num_images"]) == (("--seed", "-h"), 2)
    assert not has_help_flag(["runs/x", "--", "--help"])


def test_a_value_may_begin_with_a_dash():
    assert parse_args("sample", sample, ["runs/x", "--label=-x"])["label"] == "-x"
