"""Default names of files: results of other options and texts do not overwrite each other."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinxit.cli.complete import _complete_name, _mask_slug
from pinxit.cli.draw import _draw_name, _edit_name
from pinxit.cli.file_names import params_suffix
from pinxit.cli.latents import _interpolate_name, _traverse_name
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


IMAGE = st.sampled_from(["3", "17", "3.png", "a/3.png", "b/3.png", "3.jpg", "a-b", "a b", "texts"])
PAIR = st.tuples(TEXT, TEXT) | st.tuples(st.text(max_size=60), st.text(max_size=60))
STEPS = st.integers(8, 12)
# images, seeds and texts: one of them, and seeds beside texts
ENDS = st.one_of(
    st.tuples(st.tuples(IMAGE, IMAGE), st.none(), st.none(), st.none()),
    st.tuples(st.just(()), st.tuples(st.integers(0, 2), st.integers(0, 2)), st.none(), st.none()),
    st.tuples(st.just(()), st.none() | st.tuples(st.integers(0, 2), st.just(0)), PAIR, LANGUAGE),
)
REMOVED = st.one_of(
    st.sampled_from(["left", "0.5", "box-1-2-3-4", "compare-75-85"]),
    st.sampled_from(["left", "m.png", "a/m.png", "b/m.png", "m.jpg", "x1"]).map(
        lambda name: _mask_slug(Path(name))
    ),
)


@given(data=st.data())
@pytest.mark.parametrize("command", ["interpolate", "traverse", "complete"])
def test_two_calls_with_other_pixels_write_other_files(command, data):
    path, along = st.sampled_from(["spherical", "linear"]), [None, "latents", "directions"]
    split = st.sampled_from([None, "test", "validation"])
    kinds = {
        "interpolate": (
            lambda ends, *more: _interpolate_name(*ends, *more),
            (ENDS, STEPS, path),
        ),
        "traverse": (
            _traverse_name,
            (st.integers(1, 3), st.none() | IMAGE, STEPS, st.sampled_from(along)),
        ),
        "complete": (
            lambda *call: _complete_name((), *call),
            (split, NUM_IMAGES, PARAMS, REMOVED, st.integers(1, 3), st.booleans()),
        ),
    }
    function, arguments = kinds[command]
    calls = [data.draw(st.tuples(*arguments)) for _ in range(2)]
    names = [function(*call) for call in calls]
    if command == "complete":  # no split is the test split
        calls = [(call[0] or "test", *call[1:]) for call in calls]
    assert (names[0] == names[1]) == (calls[0] == calls[1])
    assert all(len(name.encode()) < 250 and "/" not in name for name in names)


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
    assert _interpolate_name(("3", "17"), None, None, None, 10, "spherical") == "interpolate-3-17"
    assert _traverse_name(8, "3", 11, None) == "traverse-8-image-3"
