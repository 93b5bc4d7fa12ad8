"""Samples with the label frequencies of the data."""

from __future__ import annotations

import numpy as np

from pinxit.data.images import Images
from pinxit.sampling.label_matched import largest_remainder, sample_with_label_frequencies
from tests.builders import blobs, build_vae


def test_largest_remainder_gives_whole_parts_in_proportion():
    assert largest_remainder(np.array([1, 1, 1]), 4).tolist() == [2, 1, 1]
    assert largest_remainder(np.array([90, 10, 0]), 10).tolist() == [9, 1, 0]


def test_samples_have_the_label_frequencies_of_the_data(monkeypatch):
    model = build_vae(condition="label")
    images = blobs()
    calls = {}
    original_sample = model.sample

    def sample(n, *, seed, label):
        calls[label] = n, seed
        return original_sample(n, seed=seed, label=label)

    monkeypatch.setattr(model, "sample", sample)
    samples = sample_with_label_frequencies(model, images, 40)
    assert len(samples) == 40
    frequencies = np.bincount(images.labels, minlength=4) / len(images)
    for name, expected in zip(images.label_names, frequencies, strict=True):
        assert abs(calls[name][0] / 40 - expected) < 1 / 40
    assert len({seed for _, seed in calls.values()}) == len(calls)  # each label has its own seed


class LabelSampler:
    """A fake label-conditional model: the pixels of an image are the number of its label."""

    label_conditional = True
    info = blobs().info()

    def sample(self, n, *, seed, label):
        pixels = np.full((n, 2, 2, 1), self.info.label_names.index(label), np.uint8)
        return Images(pixels)


def test_the_first_samples_have_the_label_frequencies_too():
    images = blobs(400)
    samples = sample_with_label_frequencies(LabelSampler(), images, 400)
    labels = samples.pixels[:, 0, 0, 0]
    assert np.array_equal(np.bincount(labels), np.bincount(images.labels))
    assert np.bincount(labels[:100], minlength=4).min() > 10
    again = sample_with_label_frequencies(LabelSampler(), images, 400)
    assert np.array_equal(again.pixels, samples.pixels)


def test_a_model_without_labels_samples_as_usual():
    model = build_vae()
    samples = sample_with_label_frequencies(model, blobs(), 5, seed=2)
    assert np.array_equal(samples.pixels, model.sample(5, seed=2).pixels)
