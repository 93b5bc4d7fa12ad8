"""Default names of files: results of other options and texts do not overwrite each other."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinxit.cli.draw import _draw_name, _edit_name
from pinxit.cli.file_names import params_suffix
from pinxit.cli.sample import _sample_name
from pinxit.models.generation import GenerationParams

PARAMS = st.builds(
    GenerationParams,
    seed=st.integers(0, 3),
    temperature=st.sampled_from([None, 0, 0.5, 1, 0.1234567, 0.1234568]),
    top_k=st.sampled_from([None, 5, 7]),
    top_p=st.sampled_from([None, 0.5, 1.0]),
    guidance=st.sampled_from([None, 0, 1, 2.5]),
    best_of=st.sampled_from([1, 2, 8]),
    steps=st.sampled_from([None, 4, 8]),
    solver=st.sampled_from([None, "heun", "euler"]),
    strength=st.sampled_from([None, 0.5, 1]),
    start=st.integers(0, 2),
)
TEXT = st.sampled_from(["a blob", "a-blob", "a blob!", "b", "c", "a blob " * 9 + "d", "x " * 30])
LANGUAGE = st.sampled_from([None, "en", "zh-Hans"])
NUM_IMAGES = st.integers(1, 3)


@given(data=st.data())
@pytest.mark.parametrize("command", ["draw", "edit", "sample"])
def test_two_calls_with_other_arguments_write_other_files(command, data):
    kinds = {
        "draw": (_draw_name, (st.lists(TEXT, min_size=1, max_size=3), NUM_IMAGES, LANGUAGE)),
        "edit": (_edit_name, (st.just("circle.png"), TEXT, NUM_IMAGES, LANGUAGE)),
        "sample": (_sample_name, (NUM_IMAGES, st.sampled_from([None, "3", "a b", "a-b"]))),
    }
    function, arguments = kinds[command]
    calls = [data.draw(st.tuples(*arguments, PARAMS)) for _ in range(2)]
    names = [function(*call) for call in calls]
    assert (names[0] == names[1]) == (calls[0] == calls[1])
    assert all(len(name.encode()) < 250 for name in names)


def test_each_option_of_generation_changes_the_name():
    changes = {
        "seed": 1, "temperature": 0.5, "level_temperatures": (0.5,), "top_k": 3, "top_p": 0.5,
        "guidance": 0.5, "best_of": 2, "steps": 5, "solver": "euler", "strength": 0.5, "start": 1,
    }  # fmt: skip
    suffixes = [params_suffix(GenerationParams(**{k: v})) for k, v in changes.items()]
    suffixes += [params_suffix(GenerationParams(level_temperatures=(0.5, 1)))]
    assert all(suffixes)
    assert all(a != b for a, b in itertools.combinations(suffixes, 2))
    assert params_suffix(GenerationParams()) == ""


def test_the_names_of_calls_without_options_are_short():
    params = GenerationParams()
    assert _draw_name(["a large red star"], 16, None, params) == "draw-a-large-red-star-n16"
    edit = _edit_name("photos/circle.png", "make the circle green", 1, None, params)
    assert edit == "edit-circle-make-the-circle-green"
    assert _sample_name(64, None, params) == "sample-seed0-n64"
