"""How the codes of an image tokenizer are used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pinxit.data.images import Images
from pinxit.evaluation.metrics import MetricValue


def codebook_metrics(model: Any, images: Images) -> Iterator[MetricValue]:
    """How many codes images use, and how evenly: exp of the entropy of their use.

    `code_bits` is that entropy for all codes of an image: what it would take to store one without
    a model of which codes follow which.
    """
    codes = model.tokenize(images)
    counts = np.bincount(codes.ravel(), minlength=model.vocab_size)
    share = counts[counts > 0] / counts.sum()
    entropy = float(-(share * np.log(share)).sum())
    yield "codebook_size", float(model.vocab_size)
    yield "codes_used", float((counts > 0).sum())
    yield "code_perplexity", float(np.exp(entropy))
    yield "code_bits", entropy / np.log(2) * codes[0].size
