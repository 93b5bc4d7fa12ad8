"""Suggestions for misspelt words, and unknown keys."""

from __future__ import annotations

import pytest

from pinxit.errors import PinxitError, UsageError, check_keys, did_you_mean, find_closest

KNOWN = ["latent-dim", "learning_rate", "batch_size", "batch_norm"]


@pytest.mark.parametrize(
    ("word", "closest"),
    [
        ("latent_dim", "latent-dim"),  # case, hyphens and underscores do not matter
        ("LearningRate", "learning_rate"),
        ("lr", "learning_rate"),  # a synonym
        ("latent", "latent-dim"),  # the only word that begins so
        ("l", None),  # two words begin so
        ("learnin_rate", "learning_rate"),  # misspelt
        ("xyz", None),
        ("", None),
    ],
)
def test_the_closest_known_word_is_found(word, closest):
    assert find_closest(word, KNOWN, {"lr": "learning-rate"}) == closest


def test_a_suggestion_is_a_question_or_empty():
    assert did_you_mean("batchsize", KNOWN) == " Did you mean 'batch_size'?"
    assert did_you_mean("xyz", KNOWN) == ""


def test_unknown_keys_are_errors_with_a_suggestion():
    check_keys(["batch_size"], KNOWN, "the configuration")
    with pytest.raises(UsageError, match=r"has no .batchs_ize.\. Did you mean .batch_size"):
        check_keys(["batch_size", "batchs_ize"], KNOWN, "the configuration")


def test_exit_codes_tell_usage_errors_from_failures():
    assert (PinxitError.exit_code, UsageError.exit_code) == (1, 2)
