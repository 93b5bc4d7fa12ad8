"""Codebook usage of an image tokenizer."""

from __future__ import annotations

import numpy as np
import pytest

from pinxit.evaluation.codebook_usage import codebook_metrics
from tests.builders import blobs, values_of


class FixedCodes:
    """A tokenizer that returns the same codes for any images."""

    vocab_size = 8

    def __init__(self, codes):
        self.codes = np.asarray(codes)

    def tokenize(self, images):
        return self.codes


@pytest.mark.parametrize(
    ("codes", "num_used", "perplexity"),
    [([[[3, 3], [3, 3]]], 1, 1.0), ([[[0, 1], [2, 3]]], 4, 4.0), ([[[0, 0], [0, 1]]], 2, 1.7548)],
)
def test_codes_used_perplexity_and_bits(codes, num_used, perplexity):
    metrics = values_of(codebook_metrics(FixedCodes(codes), blobs(1)))
    assert metrics["codebook_size"] == 8
    assert metrics["codes_used"] == num_used
    assert metrics["code_perplexity"] == pytest.approx(perplexity, rel=1e-4)
    assert metrics["code_bits"] == pytest.approx(4 * np.log2(perplexity), abs=1e-3)
