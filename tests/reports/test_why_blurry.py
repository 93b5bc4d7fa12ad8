"""What the section on blur measures is what it says."""

from __future__ import annotations

import numpy as np
import pytest

from pinxit.reports.context import open_material
from pinxit.reports.remedies import remedies
from pinxit.reports.why_blurry import _decodings, _split
from tests.builders import blobs, make_run


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    images = blobs(n=64)
    run = make_run(tmp_path_factory.mktemp("blurry"), images, steps=80)
    return open_material(run, images)


def test_the_two_parts_add_up_to_the_error_of_sampled_reconstructions(material):
    split = _split(material)
    assert split.total**2 == pytest.approx(split.lost**2 + split.open**2)
    rows = np.arange(len(material.seen))
    made = _decodings(material, rows, 100, seed=7).astype(np.float64)
    errors = np.square(made - material.seen.pixels[:, None]).mean()
    assert split.total == pytest.approx(np.sqrt(errors), rel=0.05)
    average = made.mean(1, keepdims=True)
    assert split.open == pytest.approx(np.sqrt(np.square(made - average).mean()), rel=0.1)
    assert split.lost > 1
    assert split.open > 0.1


def test_decodings_of_an_image_do_vary_and_are_its_own(material):
    made = _decodings(material, np.array([0, 1]), 50, seed=0).astype(float)
    assert made.std(1).max() > 1
    own = np.square(made.mean(1) - material.reconstructions.pixels[:2]).mean()
    other = np.square(made.mean(1) - material.reconstructions.pixels[1::-1]).mean()
    assert own < other / 2


def test_remedies_are_settings_that_the_family_has_and_follow_the_run(material):
    found = {remedy.option: remedy for remedy in remedies(material)}
    assert found["`--beta 0.5`"].hopeful
    assert "of 4 latents are active" in " ".join(remedy.here for remedy in found.values())
    known = set(vars(material.model.config)) | {"minutes"}
    for option in found:
        for word in option.replace("`", " ").split():
            if word.startswith("--"):
                assert word[2:].replace("-", "_") in known
