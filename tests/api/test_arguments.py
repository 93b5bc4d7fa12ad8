"""Arguments of the methods of a run that are not valid: UsageError, and nothing else."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pinxit
from pinxit.api.run import METHODS
from pinxit.data.images import Images
from pinxit.errors import PinxitError, UsageError
from tests.builders import blobs, train_runs

RUNS = {"draw": "draw", "edit": "edit", "caption": "caption", "complete": "igpt"}
# what a call of a method needs beside the argument that is invalid
NEEDED = {
    "draw": ("a blob",),
    "edit": (0, "a blob"),
    "interpolate": (0, 1),
    "push": ("me/x",),
    "map": ("embed",),
    "translate": ("a blob",),
}
INVALID = {  # by what stands in the annotation
    "int": [0, -1, 2.5, "2", True, [3]],
    "Literal": ["curvy", "", 0, "Ray"],
    "Half": ["top", 1],
    "InterpolationPath": ["curvy", 0],
    "Along": ["x", 0],
    "SplitOrAll": ["foo", "tests"],
    "PriorOfSamples": ["gmm", "Own"],
}
TRAINING = {"resume", "serve"}  # start a training, a server


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    train_runs(folder)
    return folder


@pytest.fixture(scope="module")
def open_run(folder):
    opened = {}

    def open_named(name: str) -> pinxit.Run:
        if name not in opened:
            opened[name] = pinxit.Run(folder / f"blobs-{name}")
            opened[name].attach_images(blobs(channels=1))
        return opened[name]

    return open_named


def list_invalid():
    """Each int and Literal parameter of each method, with values that it does not take."""
    for method in sorted({*METHODS} - TRAINING):
        for name, parameter in inspect.signature(getattr(pinxit.Run, method)).parameters.items():
            kinds = re.findall(r"\w+", str(parameter.annotation))
            for kind, values in INVALID.items():
                if kind in kinds and "tuple" not in kinds and "AnyImage" not in kinds:
                    for value in values:
                        if not (name == "seed" and value in (0, -1)):
                            yield method, name, value


@pytest.mark.parametrize(("method", "name", "value"), list_invalid())
def test_an_invalid_number_or_choice_is_bad_usage(method, name, value, open_run, tmp_path):
    run = open_run(RUNS.get(method, "vae"))
    options = {"out": tmp_path / "out", "quiet": True} if method == "map" else {}
    with pytest.raises(PinxitError):
        getattr(run, method)(*NEEDED.get(method, ()), **{**options, name: value})
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


IMAGES = [
    3,
    [],
    blobs(channels=1)[:0],
    np.zeros((0, 8, 8, 1), np.uint8),
    [3],
    ["a.png", np.zeros((8, 8), np.uint8)],
    2.5,
    {"a": 1},
]


@pytest.mark.parametrize("images", IMAGES, ids=repr)
@pytest.mark.parametrize("method", ["reconstruct", "embed", "score", "map", "export", "caption"])
def test_what_is_no_images_is_bad_usage(method, images, open_run, tmp_path):
    run = open_run(RUNS.get(method, "vae"))
    arguments = {"map": ("embed", images), "export": (None, images)}.get(method, (images,))
    options = {"out": tmp_path / "out", "quiet": True} if method == "map" else {}
    with pytest.raises(UsageError):
        getattr(run, method)(*arguments, **options)


def test_lists_of_arrays_and_of_pillow_images_are_images(open_run):
    run, images = open_run("vae"), blobs(channels=1)[:3]
    expected = run.reconstruct(images).pixels
    for given_list in ([images.pil(i) for i in range(3)], [*images.pixels]):
        assert (run.reconstruct(given_list).pixels == expected).all()


@pytest.mark.parametrize(
    ("method", "options", "error"),
    [
        ("interpolate", {"seeds": (1, 2, 3)}, "seeds are 2 integers"),
        ("interpolate", {"seeds": (1,)}, "seeds are 2 integers"),
        ("interpolate", {"texts": ("a", "b", "c")}, "texts are two texts"),
        ("interpolate", {"texts": "ab"}, "texts are two texts"),
        ("complete", {"box": (0, 0, 4)}, "box .* are 4 integers"),
        ("complete", {"box": (0, 0, 4, 2.5)}, "box .* are 4 integers"),
        ("complete", {"ratio": "half"}, "ratio is a number"),
        ("complete", {"compare": "75,85", "completions": 2}, "compare is one completion"),
        ("complete", {"mask": np.zeros((8, 8), bool)}, "the mask is all False"),
        ("map", {"shard": (0, 4)}, "shard is i/n such as '0/4'"),
        ("map", {"shard": 0}, "shard is i/n such as '0/4'"),
        ("sample", {"prior": "mixture", "seed": [1, 2]}, "one seed, not one for each image"),
        ("sample", {"temperature": "hot"}, "temperature is a number, not 'hot'"),
        ("sample", {"seed": "first"}, "seed is an integer"),
        ("sample", {"start": 1.5}, "start is an integer"),
        ("report", {"out": "x.pdf"}, "out is a file that ends in .html"),
        ("explain", {"out": "x.pdf"}, "out is a file that ends in .html"),
        ("explain", {"trial_minutes": "long"}, "trial_minutes is a number"),
        ("compare", {"page": "p.pdf"}, "page is a file that ends in .html"),
        ("export", {"images": blobs(height=16, channels=1)}, "this model takes images of"),
        ("export", {"images": blobs(channels=3)}, "this model takes images of"),
    ],
)
def test_other_invalid_arguments_are_bad_usage(method, options, error, open_run, tmp_path):
    run = open_run(RUNS.get(method, "vae"))
    out = {"out": tmp_path / "out"} if method == "map" else {}
    with pytest.raises(UsageError, match=error):
        getattr(run, method)(*NEEDED.get(method, ()) * (method == "map"), **out, **options)


ANY = st.none() | st.integers(-3, 3) | st.floats() | st.text(max_size=4) | st.lists(st.integers())


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=ANY, steps=ANY, seeds=ANY | st.tuples(ANY, ANY))
def test_interpolation_takes_what_it_is_for_and_refuses_the_rest(path, steps, seeds, open_run):
    try:
        frames = open_run("vae").interpolate(seeds=seeds, steps=steps, path=path)
    except PinxitError:
        return
    assert isinstance(frames, Images)
    assert path in ("spherical", "linear")
    assert len(frames) == steps
