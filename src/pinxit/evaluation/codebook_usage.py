"""How many codes of an image tokenizer are used, and how evenly."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Int64

from pinxit.data.images import Images
from pinxit.evaluation.estimates import Estimate, Groups, estimate_over
from pinxit.evaluation.metrics import Fact, MetricValue
from pinxit.models.protocols import CanTokenize


def codebook_metrics(model: CanTokenize, images: Images) -> Iterator[MetricValue]:
    """Yield the codebook size, the number of codes used, their perplexity and bits per image.

    Perplexity is exp(H), H the entropy of the code frequencies. `code_bits` is H in bits times
    the codes per image: the size of an image under an entropy code that knows the frequencies
    but no dependence between codes.
    """
    codes = model.tokenize(images).reshape(len(images), -1)
    counts = np.bincount(codes.ravel(), minlength=model.vocab_size)
    # the entropy is the mean of -log f over all codes, f estimated from the same images
    surprisal = -np.log(np.maximum(counts, 1) / counts.sum())
    entropy = estimate_over(images, surprisal[codes].mean(1))
    perplexity = math.exp(entropy.value)
    yield "codebook_size", Fact(model.vocab_size)
    yield "codes_used", estimate_distinct(codes, images.groups)
    assert entropy.per_image is not None
    per_image = perplexity * (1 + entropy.per_image - entropy.value)
    yield "code_perplexity", dataclasses.replace(estimate_over(images, per_image), value=perplexity)
    yield "code_bits", estimate_over(images, entropy.per_image / math.log(2) * codes.shape[1])


def estimate_distinct(codes: Int64[np.ndarray, "n codes"], groups: Groups | None) -> Estimate:
    """Return how many distinct codes images use, its error by the jackknife (Burnham 1978).

    Without an image, or a group, the codes that no other has are missing.
    """
    owners = np.arange(len(codes)) if groups is None else np.unique(groups, return_inverse=True)[1]
    pairs = np.unique(np.stack([np.repeat(owners, codes.shape[1]), codes.ravel()], 1), axis=0)
    num_owners = np.bincount(pairs[:, 1])  # of each code
    is_unique = num_owners[pairs[:, 1]] == 1
    unique = np.bincount(pairs[is_unique, 0], minlength=owners.max() + 1)  # of each owner
    g = len(unique)
    error = math.sqrt((g - 1) / g * np.square(unique - unique.mean()).sum()) if g > 1 else math.nan
    return Estimate(float((num_owners > 0).sum()), error)
