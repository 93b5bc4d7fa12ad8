"""`GenerationParams` of any values: valid, or UsageError."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.errors import UsageError
from pinxit.models.generation import GenerationParams
from pinxit.sampling.captions import caption_images
from tests.builders import blobs, build_vae

FIELDS = [field.name for field in dataclasses.fields(GenerationParams)]
NUMBERS = st.integers(-2, 3) | st.floats() | st.sampled_from([math.nan, math.inf, 0.5, 1.0])
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(max_size=4) | st.just("heun")
ANY = SCALARS | st.lists(SCALARS, max_size=3) | st.lists(NUMBERS).map(tuple) | st.just({})


@settings(max_examples=1_000)
@given(options=st.dictionaries(st.sampled_from(FIELDS), ANY, min_size=1, max_size=3))
def test_values_are_valid_or_bad_usage(options):
    try:
        params = GenerationParams(**options)
    except UsageError:
        return
    assert dataclasses.replace(params) == params
    assert params.overrides().keys() <= options.keys()
    assert isinstance(params.start, int)
    assert isinstance(params.best_of, int)
    numbers = (params.temperature, *(params.level_temperatures or ()), params.guidance)
    assert all(math.isfinite(number) for number in numbers if number is not None)
    if not isinstance(params.seed, int):
        assert params.start == 0
        assert all(isinstance(seed, int) for seed in params.seed)
    else:
        hash(params)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level_temperatures": 0.5}, "level_temperatures are numbers, one for each level, not"),
        ({"level_temperatures": "hot"}, "level_temperatures are numbers"),
        ({"level_temperatures": [True]}, "level_temperatures are numbers"),
        ({"seed": [1, 2], "start": 5}, "start needs one seed"),
        ({"best_of": None}, "best_of is an integer, not None"),
        ({"start": None}, "start is an integer, not None"),
        ({"best_of": 2, "reranker": "runs/captions"}, "a reranker is a captioning model, not"),
    ],
)
def test_what_is_refused_is_named(options, message):
    with pytest.raises(UsageError, match=message):
        build_vae().sample(2, **options)


def test_arrays_stand_for_lists():
    params = GenerationParams(seed=np.array([3, 4]))
    assert params.seed == (3, 4)
    assert params.overrides() == {"seed": (3, 4)}
    levels = GenerationParams(level_temperatures=np.array([0.5, 1.0])).level_temperatures
    assert levels == (0.5, 1.0)
    assert GenerationParams(seed=range(2)).seed == (0, 1)


class SeedCaptioner:
    """A fake model: the caption of an image is its seed, or the seed with the image's number."""

    def caption(self, images, params, **options):
        if isinstance(params.seed, int):
            return [(params.seed, params.start + i) for i in range(len(images))]
        assert len(params.seed) == len(images)
        return list(params.seed)


def test_every_batch_of_captions_has_its_own_seeds():
    images = blobs(150)
    seeds = list(range(10, 160))
    captions = caption_images(SeedCaptioner(), images, GenerationParams(seed=seeds))
    assert list(captions) == seeds
    numbered = caption_images(SeedCaptioner(), images, GenerationParams(seed=7, start=3))
    assert list(numbered) == [(7, 3 + i) for i in range(150)]
