"""BLEU and chrF of texts against their references (Papineni 2002; Popovic 2015), by sacrebleu."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

from pinxit.data.captions import UNDETERMINED
from pinxit.evaluation.estimates import Estimate, Groups, estimate_from_sums

if TYPE_CHECKING:  # sacrebleu is in the extra `text`
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

# sacrebleu's tokenizers for languages that are written without spaces: BLEU counts words
UNSPACED_TOKENIZERS = {
    **dict.fromkeys(("zh", "yue"), "zh"),
    **dict.fromkeys(("ja", "th", "lo", "km", "my", "bo"), "char"),
}

References = Sequence[Sequence[str]]  # of each text, one or more


def bleu_metric(language: str, references: References) -> BLEU:
    """Return sacrebleu's BLEU: 13a tokens, or those of a language without spaces.

    In an undetermined language the references decide. Texts of fewer than 4 words count with the
    n-grams that they have (effective order).
    """
    from sacrebleu.metrics.bleu import BLEU

    from pinxit.data.text_vocabulary import is_written_unspaced  # imports the extra `text`

    tokenize = UNSPACED_TOKENIZERS.get(language.split("-")[0].lower())
    if language == UNDETERMINED and is_written_unspaced(itertools.chain(*references)):
        tokenize = "char"
    return BLEU(tokenize=tokenize, effective_order=True)


def chrf_metric() -> CHRF:
    """Return sacrebleu's chrF: character 6-grams, beta 2."""
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()


def corpus_score(
    metric: BLEU | CHRF,
    hypotheses: Sequence[str],
    references: References,
    groups: Groups | None = None,
) -> Estimate:
    """Return the score of a corpus, 0 to 100, with its error over texts or groups of them.

    A corpus score is a function of the summed n-gram counts of its texts. A text with several
    references counts with all of them in BLEU and with the best one in chrF, as is usual.
    """
    counts = metric._extract_corpus_statistics(list(hypotheses), _streams(references))

    def score(sums: Float64[np.ndarray, "rows k"]) -> Float64[np.ndarray, " rows"]:
        rows = sums.round().astype(int).tolist()
        return np.array([metric._compute_score_from_stats(row).score for row in rows])

    return estimate_from_sums(score, np.array(counts, np.float64), groups)


def _streams(references: References) -> list[list[str]]:
    """Return the first reference of each text, the second, ...; "" where there are fewer."""
    return [list(column) for column in itertools.zip_longest(*references, fillvalue="")]


def signature(metric: BLEU | CHRF, references: References) -> str:
    """Return sacrebleu's signature: number of references, tokenizer, smoothing, version."""
    metric.corpus_score([refs[0] for refs in references], _streams(references))
    return str(metric.get_signature())
