"""Beam search against exhaustive search, and sampling against exact probabilities."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from pinxit.data.special_tokens import EOS
from pinxit.nn.beam_search import beam_search, length_normalized, sample_text
from pinxit.nn.rng import per_image_uniform
from pinxit.nn.token_sampling import SamplingParams


class RandomLanguageModel:
    """A few tokens whose probabilities depend on the whole prefix."""

    def __init__(self, vocab_size, rows=1):
        self.vocab_size = vocab_size
        self.prefixes = [()] * rows

    def log_probs(self, prefix):
        random = np.random.default_rng((len(prefix), *prefix))
        return torch.from_numpy(random.normal(0, 2, self.vocab_size)).float().log_softmax(0)

    def __call__(self, token, t, rows):
        if rows is not None:
            self.prefixes = [self.prefixes[i] for i in rows.tolist()]
        pairs = zip(self.prefixes, token.tolist(), strict=True)
        self.prefixes = [(*prefix, last) for prefix, last in pairs]
        return torch.stack([self.log_probs(prefix) for prefix in self.prefixes])


def all_texts(language_model, start, max_len):
    """Every text of at most `max_len` tokens, with its log-probability."""
    for length in range(max_len + 1):
        others = [v for v in range(language_model.vocab_size) if v != EOS]
        for text in itertools.product(others, repeat=length):
            prefix, log_prob = (start,), 0.0
            for token in (*text, EOS):
                log_prob += float(language_model.log_probs(prefix)[token])
                prefix = (*prefix, token)
            yield text, log_prob


@pytest.mark.parametrize("penalty", [0.0, 0.6, 2.0])
def test_beam_search_with_enough_beams_finds_the_best_text(penalty):
    vocab_size, max_len, num_beams = 4, 3, 4**3
    step = RandomLanguageModel(vocab_size, 2 * num_beams)
    hypotheses = beam_search(step, torch.tensor([0, 2]), max_len, num_beams, penalty)
    for start, row in zip((0, 2), hypotheses, strict=True):
        texts = list(all_texts(RandomLanguageModel(vocab_size), start, max_len))
        ranked = sorted(texts, key=lambda t: -length_normalized(t[1], len(t[0]) + 1, penalty))
        assert row[0].tokens == ranked[0][0]
        assert row[0].log_prob == pytest.approx(ranked[0][1], abs=1e-4)
        assert [h.tokens for h in row[:5]] == [text for text, _ in ranked[:5]]


def test_beam_search_with_one_beam_is_greedy():
    language_model, text, log_prob = RandomLanguageModel(5), (0,), 0.0
    while text[-1] != EOS and len(text) <= 6:
        text = (*text, int(language_model.log_probs(text).argmax()))
    (hypothesis,) = beam_search(RandomLanguageModel(5, 1), torch.tensor([0]), 12, 1)[0]
    for i in range(1, len(text)):
        log_prob += float(language_model.log_probs(text[:i])[text[i]])
    if text[-1] == EOS:
        assert hypothesis.tokens == text[1:-1]
        assert hypothesis.log_prob == pytest.approx(log_prob, abs=1e-4)


def test_texts_are_sampled_with_their_probabilities():
    n = 4_000
    uniforms = per_image_uniform(n, 3, 0)[:, 0]
    start = torch.zeros(n, dtype=torch.long)
    samples = sample_text(RandomLanguageModel(3, n), start, uniforms, SamplingParams())
    probs = {text: math.exp(log_p) for text, log_p in all_texts(RandomLanguageModel(3), 0, 1)}
    for text, p in probs.items():
        if len(text) <= 1:
            frequency = sum(s.tokens == text for s in samples) / n
            assert frequency == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / n) + 1e-3)
            assert all(
                s.log_prob == pytest.approx(math.log(p), abs=1e-4)
                for s in samples
                if s.tokens == text
            )


def test_length_penalty_is_that_of_wu_2016_and_prefers_longer_texts():
    assert length_normalized(-6.0, 7, 1.0) == pytest.approx(-3.0)  # (5 + 7) / 6 = 2
    assert length_normalized(-6.0, 1, 0.6) == -6.0
    short, long = length_normalized(-4.0, 2, 0.6), length_normalized(-4.4, 6, 0.6)
    assert long > short, "a long text of slightly lower probability ranks higher"
    assert length_normalized(-4.4, 6, 0.0) < length_normalized(-4.0, 2, 0.0)
