"""The use of codes."""

from __future__ import annotations

import numpy as np
import pytest

from pinxit.evaluation.codebook_usage import codebook_metrics
from tests.builders import blobs


class Fake:
    vocab_size = 8

    def __init__(self, codes):
        self.codes = np.asarray(codes)

    def tokenize(self, images):
        return self.codes


@pytest.mark.parametrize(
    ("codes", "used", "perplexity"),
    [([[[3, 3], [3, 3]]], 1, 1.0), ([[[0, 1], [2, 3]]], 4, 4.0), ([[[0, 0], [0, 1]]], 2, 1.7548)],
)
def test_codes_used_and_perplexity(codes, used, perplexity):
    found = dict(codebook_metrics(Fake(codes), blobs(1)))
    assert found["codebook_size"] == 8
    assert found["codes_used"] == used
    assert found["code_perplexity"] == pytest.approx(perplexity, rel=1e-4)
    assert found["code_bits"] == pytest.approx(4 * np.log2(perplexity), abs=1e-3)
