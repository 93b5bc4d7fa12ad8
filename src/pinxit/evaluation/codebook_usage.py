"""How many codes of an image tokenizer are used, and how evenly."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pinxit.data.images import Images
from pinxit.evaluation.metrics import Fact, MetricValue
from pinxit.models.protocols import CanTokenize


def codebook_metrics(model: CanTokenize, images: Images) -> Iterator[MetricValue]:
    """Yield the codebook size, the number of codes used, their perplexity and bits per image.

    Perplexity is exp(H), H the entropy of the code frequencies. `code_bits` is H in bits times
    the codes per image: the size of an image under an entropy code that knows the frequencies
    but no dependence between codes.
    """
    codes = model.tokenize(images)
    counts = np.bincount(codes.ravel(), minlength=model.vocab_size)
    frequencies = counts[counts > 0] / counts.sum()
    entropy = float(-(frequencies * np.log(frequencies)).sum())
    yield "codebook_size", Fact(model.vocab_size)
    yield "codes_used", float((counts > 0).sum())
    yield "code_perplexity", float(np.exp(entropy))
    yield "code_bits", entropy / np.log(2) * codes[0].size
