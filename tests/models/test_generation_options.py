"""Every parameter that an ability takes changes its images; any other one is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from pinxit.data.masks import half_mask
from pinxit.errors import UsageError
from pinxit.models import build_model, family_of, flow, get_family, list_families
from pinxit.models.abilities import abilities
from tests.builders import blobs

TEXTS = [blobs().captions["en"][i] for i in (0, 9, 20, 31)]
IMAGES = blobs(4)
VALUES = {
    "seed": (1,),
    "temperature": (0.2,),
    "level_temperatures": ((0.2, 0.2),),
    "top_k": (1,),
    "top_p": (0.1,),
    "guidance": (4.0, 0.0),
    "best_of": (4,),
    "steps": (3,),
    "solver": ("euler",),
    "strength": (0.9, 0.2),
    "start": (5,),
}
CALLS = {
    "sample": lambda model, **options: model.sample(4, **options),
    "draw": lambda model, **options: model.draw(TEXTS, **options),
    "edit": lambda model, **options: model.edit(IMAGES, TEXTS, **options),
    "complete": lambda model, **options: model.complete(
        IMAGES, half_mask(IMAGES, "lower"), **options
    ),
}


def list_configs():
    for name in list_families():
        family = get_family(name)
        yield from family.variants() if hasattr(family, "variants") else (family.Config(),)
    yield flow.Config(condition="none", width=32, depth=2)


def build(config):
    """A model that no training has changed, but whose every part has an effect."""
    torch.manual_seed(0)
    model = build_model(config, blobs(), np.arange(48))[0]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.08 * torch.randn_like(parameter)
    return model.eval()


CASES = [
    (config, ability)
    for config in list_configs()
    for ability in CALLS
    if ability in abilities(build(config))
]


def call(model, ability, **options):
    """The pixels of a call of few steps, not greedy; None if it refuses an option."""
    for default in ({"temperature": 1.0}, {"steps": 2}):
        try:
            CALLS[ability](model, **default)
        except UsageError:
            continue
        if "level_temperatures" not in options:
            options = default | options
    try:
        return CALLS[ability](model, **options).pixels
    except UsageError:
        return None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "ability"), CASES, ids=lambda v: v if isinstance(v, str) else family_of(v)
)
def test_a_parameter_that_is_taken_changes_the_images(config, ability):
    model = build(config)
    plain, taken = call(model, ability), []
    for name, values in VALUES.items():
        images = [call(model, ability, **{name: value}) for value in values]
        if images[0] is None:
            continue
        taken.append(name)
        is_exempt = name == "seed" and family_of(config) == "mae"  # it chooses the mask
        assert is_exempt or any((pixels != plain).any() for pixels in images), name
    assert "seed" in taken


SMALL, WIDE = blobs(1), blobs(1, width=12)
STREAMS = {
    "sample": [((1,), {}), ((0,), {}), ((1,), {"label": "nowhere"}), ((1,), {"label": TEXTS[0]})],
    "draw": [((TEXTS[:1],), {}), (([""],), {}), ((["blob " * 99],), {"language": "xx"})],
    "edit": [((SMALL, TEXTS[:1]), {}), ((WIDE, TEXTS[:1]), {}), ((SMALL, TEXTS), {})],
    "complete": [
        ((SMALL, half_mask(SMALL, "lower")), {}),
        ((WIDE, half_mask(WIDE, "lower")), {}),
        ((SMALL, half_mask(WIDE, "lower")), {}),
    ],
}
OPTIONS = [
    {},
    {"solver": "shortcut"},
    {"solver": "shortcut", "steps": 2},
    {"solver": "shortcut", "steps": 3},
    {"solver": "shortcut", "strength": 0.5},
    {"solver": "dopri5"},
    {"strength": 2.0},
    {"steps": 0},
    {"guidance": -1.0},
    {"temperature": -1.0},
    {"top_k": 0},
    {"start": -1},
    {"level_temperatures": (0.5,)},
    {"unknown": 1},
]


def list_stream_cases():
    """The cases with a stream, those of a flow also with shortcuts."""
    for config, ability in CASES:
        if hasattr(build(config), f"{ability}_stream"):
            yield config, ability
            if isinstance(config, flow.Config):
                yield dataclasses.replace(config, shortcut_share=0.25), ability


@pytest.mark.parametrize(
    ("config", "ability"),
    list(list_stream_cases()),
    ids=lambda v: v if isinstance(v, str) else family_of(v),
)
def test_a_stream_that_is_refused_is_refused_at_the_call(config, ability):
    stream_of = getattr(build(config), f"{ability}_stream")
    for arguments, words in STREAMS[ability]:
        for options in OPTIONS:
            few = {"steps": 1} if family_of(config) == "flow" and "solver" not in options else {}
            try:
                stream = stream_of(*arguments, **words, **{**few, **options})
            except UsageError:
                continue
            next(iter(stream))
