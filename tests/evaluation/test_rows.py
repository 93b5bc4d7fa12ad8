"""A metric over a part of the images is the same, within its error, in whatever order they are.

Images of a source often come sorted: by label, by name, by group. The first of them are no sample.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.console import StageProgress
from pinxit.data.images import Images
from pinxit.evaluation import evaluator as evaluator_module
from pinxit.evaluation import reconstruction
from pinxit.evaluation.captioning import caption_retrieval_metrics, captioning_metrics
from pinxit.evaluation.evaluator import Evaluator
from pinxit.evaluation.inpainting import inpainting_metrics
from pinxit.evaluation.metrics import collect
from pinxit.evaluation.options import EvalOptions
from pinxit.evaluation.reconstruction import reconstruction_metrics
from pinxit.evaluation.retrieval import retrieval_metrics
from pinxit.models.results import ScoredText

N = 300


def make_sorted_images(per_group: int = 1) -> Images:
    """Images from dark to bright. Fakes do well on dark images, and badly on bright ones."""
    level = np.repeat(np.linspace(0, 240, N // per_group), per_group)
    noise = np.random.default_rng(0).integers(0, 16, (N, 12, 12, 1))
    return Images(
        (level[:, None, None, None] + noise).astype(np.uint8),
        names=[f"image {i:03d}" for i in range(N)],
        captions={"en": [f"a picture of number {i}" for i in range(N)]},
        groups=None if per_group == 1 else np.repeat(np.arange(N // per_group), per_group),
        splits=np.full(N, 2, np.int8),
    )


def difficulty(images: Images) -> np.ndarray:
    """From 0 for dark images to 1 for bright ones."""
    return images.pixels.mean((1, 2, 3)) / 255


def worsen(images: Images) -> Images:
    """Add errors that grow with the difficulty."""
    error = (60 * difficulty(images))[:, None, None, None] * np.sign(
        128 - images.pixels.astype(int)
    )
    return dataclasses.replace(images, pixels=(images.pixels + error).clip(0, 255).astype(np.uint8))


class Completer:
    """Completes dark images well, bright ones badly; token by token."""

    left_to_right = True

    def complete(self, images, mask, *, seed=0, temperature=1.0):
        pixels = np.where(mask[..., None], worsen(images).pixels, images.pixels)
        return dataclasses.replace(images, pixels=pixels)


class Captioner:
    """Gives dark images their caption, bright ones another."""

    class text_tokenizer:
        languages = ("en",)
        encode = staticmethod(str.split)

    max_text_tokens = 20

    def truncate_text(self, text):
        return text

    def caption(self, images, *, language):
        pairs = zip(images.captions["en"], difficulty(images), strict=True)
        return [[ScoredText(text if hard < 0.5 else "another", 0.0)] for text, hard in pairs]

    def caption_log_prob_matrix(self, images, texts, language):
        is_own = np.array(images.captions["en"])[:, None] == np.array(texts)
        noise = np.random.default_rng(0).normal(0, 1, is_own.shape)
        return np.where(is_own, 3 - 6 * difficulty(images)[:, None], noise)


def measure_retrieval(images: Images):
    noise = np.random.default_rng(0).normal(0, 1, (len(images), 20))
    own = np.random.default_rng(1).normal(0, 1, (N, 20))
    number = np.array([int(text.split()[-1]) for text in images.captions["en"]])
    near = own[number] + 3 * difficulty(images)[:, None] * noise
    features = iter([own[number], near])  # of the true images, then of the generated ones
    train = dataclasses.replace(images[:0], captions={})
    return retrieval_metrics(lambda _: next(features), images, images, images.captions["en"], train)


EVALUATORS = {
    "inpainting": lambda images: inpainting_metrics(Completer(), images),
    "reconstruction": lambda images: reconstruction_metrics(images, worsen(images)),
    "captions": lambda images: captioning_metrics(Captioner(), images, images[:0]),
    "caption retrieval": lambda images: caption_retrieval_metrics(Captioner(), images, "en"),
    "image retrieval": measure_retrieval,
}


@pytest.mark.parametrize("name", EVALUATORS)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3]))
@settings(max_examples=6, deadline=None, derandomize=True)
def test_metrics_do_not_depend_on_the_order_of_the_images(name, seed, per_group):
    images = make_sorted_images(per_group)
    shuffled = images[np.random.default_rng(seed).permutation(N)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconstruction, "MAX_SSIM_IMAGES", 50)
        in_order, mixed = (collect(EVALUATORS[name](rows)).estimates for rows in (images, shuffled))
    assert in_order.keys() == mixed.keys()
    for metric, estimate in in_order.items():
        difference = abs(estimate.value - mixed[metric].value)
        assert difference <= 4 * math.hypot(estimate.error, mixed[metric].error), metric


def test_the_evaluator_takes_images_from_the_whole_split(monkeypatch):
    monkeypatch.setattr(evaluator_module, "MAX_TEST_IMAGES", 100)
    monkeypatch.setattr(evaluator_module, "MAX_TEXT_IMAGES", 40)
    images = make_sorted_images()
    evaluator = Evaluator(Captioner(), images, EvalOptions(), StageProgress(False))
    for part in (evaluator.test, evaluator.caption_pairs[0]):
        assert part.names[0] == "image 000"
        assert part.names[-1] == "image 299"
        assert difficulty(part).mean() == pytest.approx(difficulty(images).mean(), abs=0.02)
