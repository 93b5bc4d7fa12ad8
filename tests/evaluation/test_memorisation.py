"""Copies among fresh samples are found; plain, blurry and constant samples are not accused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.data.images import Images
from pinxit.evaluation.memorisation import (
    MIN_EXCESS,
    distinct_rows,
    measure_memorisation,
    nearest_distances,
)
from tests.builders import noise_images

SETTINGS = settings(max_examples=25, deadline=None, derandomize=True)
seeds, dimensions = st.integers(0, 10_000), st.integers(3, 24)


class Population:
    """Features of two clusters of different density on a curved surface."""

    def __init__(self, seed, dimension):
        self.rng = np.random.default_rng(seed)
        self.map = self.rng.normal(size=(dimension, 32))

    def sample(self, n):
        z = self.rng.normal(size=(n, len(self.map))) * self.rng.choice([0.3, 1.0], (n, 1))
        return np.tanh(z @ self.map / 4).astype(np.float32)


@SETTINGS
@given(seeds, dimensions, st.sampled_from([0.0, 0.01, 0.03]))
def test_five_percent_of_copies_are_found(seed, dimension, duplicates):
    """Also if some test images are in the training part: the interval is above the control's."""
    population = Population(seed, dimension)
    train, test, samples = (population.sample(n) for n in (1000, 800, 800))
    num = int(duplicates * len(test))
    test[:num] = train[100 : 100 + num]
    samples[:40] = train[200:240]
    result = measure_memorisation(train, test[num:], samples)
    assert result.samples.value >= 0.05
    low = result.samples.value - 1.96 * result.samples.error
    assert low > result.control.value + 1.96 * result.control.error
    assert result.excess.low > MIN_EXCESS


@SETTINGS
@given(seeds, dimensions, st.floats(0.1, 1.0), st.floats(0, 1))
def test_fresh_samples_of_less_variance_or_variety_are_no_copies(seed, dimension, scale, share):
    population = Population(seed, dimension)
    train, test, samples = (population.sample(n) for n in (1000, 500, 500))
    mean = train.mean(0)
    samples = mean + scale * (samples - mean)
    samples[: int(share * 500)] = samples[0]  # mode collapse
    assert measure_memorisation(train, test, samples).excess.low < MIN_EXCESS


@pytest.mark.parametrize("num_samples", [1, 2, 500])
def test_samples_at_the_mean_are_no_copies(num_samples):
    population = Population(0, 8)
    train, test = population.sample(1000), population.sample(300)
    result = measure_memorisation(train, test, np.repeat(train.mean(0)[None], num_samples, 0))
    assert result.samples.value == 0
    assert not result.samples.error < 0.1  # as of one sample; NaN is unknown
    assert not result.excess.low > 0


def test_duplicates_in_the_control_do_not_switch_the_test_off():
    population = Population(1, 16)
    train, test = population.sample(1000), population.sample(200)
    test[:3] = train[500:503]
    result = measure_memorisation(train, test, train[:200])
    assert result.samples.value == 1
    assert result.control.value == pytest.approx(3 / 200)


def test_copies_of_images_that_the_training_set_has_twice_are_found():
    population = Population(2, 8)
    train, test, samples = (population.sample(n) for n in (500, 300, 300))
    result = measure_memorisation(np.concatenate([train, train]), test, train[:100])
    assert result.samples.value == 1
    assert measure_memorisation(np.concatenate([train, train]), test, samples).excess.low < 0


@pytest.mark.parametrize("num_train", [0, 1, 4])
def test_few_training_images_give_no_estimate(num_train):
    rows = Population(0, 4).sample(20)
    assert measure_memorisation(rows[:num_train], rows, rows) is None
    assert measure_memorisation(rows, rows[:0], rows) is None
    assert measure_memorisation(rows, rows, rows[:0]) is None


def test_equal_features_give_no_copies_beyond_the_control():
    rows = np.ones((30, 4), np.float32)
    assert measure_memorisation(rows, rows, rows).excess.low < 0


def test_nearest_distances_are_exact_and_that_of_a_copy_is_0():
    rng = np.random.default_rng(0)
    train = (1000 + rng.normal(size=(300, 8))).astype(np.float32)
    queries = np.concatenate([train[:5], train[:20] + rng.normal(size=(20, 8)).astype(np.float32)])
    distances = nearest_distances(train, queries, 4)
    expected = np.linalg.norm(queries[:, None].astype(float) - train, axis=2)
    assert np.allclose(distances, np.sort(expected, 1)[:, :4], atol=1e-3)
    assert (distances[:5, 0] == 0).all()


def test_images_of_both_sides_are_left_out_of_both():
    pixels = noise_images(8).pixels[[0, 1, 1, 2, 3, 4, 5]]
    train, test = distinct_rows(Images(pixels), np.arange(5), Images(pixels[[3, 5, 6]]))
    assert train.tolist() == [0, 1, 4]  # row 2 is row 1, row 3 is a test image
    assert test.tolist() == [1, 2]
