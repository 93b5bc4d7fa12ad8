"""`python -m benchmarks.choose RUN --metric NAME ...`: choose options of generation.

Evaluates a run once for every combination of the values given, on a validation split, and prints
the metric of each with its standard error, the best first. Nothing is written to the run.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import Positional

Options = dict[str, Any]
Evaluate = Callable[..., Mapping[str, Any]]


def choose(
    run: Annotated[Positional[Path], tyro.conf.arg(metavar="RUN")],
    metric: str,
    split: Literal["validation", "validation-held-out"] = "validation",
    guidance: tuple[float, ...] = (),
    top_p: tuple[float, ...] = (),
    temperature: tuple[float, ...] = (),
    best_of: tuple[int, ...] = (),
    reranker: Path | None = None,
    images: int = 512,
    lower: bool = False,
) -> int:
    """Evaluate a run with every combination of generation options, on validation images.

    Args:
        run: run folder
        metric: a name in evaluation.json, for example t2i_exact
        split: split to choose on; never one that is reported
        guidance: values to try
        top_p: values to try
        temperature: values to try
        best_of: values to try
        reranker: run that chooses among the candidates of --best-of
        images: images at most
        lower: lower values of the metric are better
    """
    import pinxit

    values = {"guidance": guidance, "top_p": top_p, "temperature": temperature, "best_of": best_of}
    fixed: Options = {"split": split, "likelihood_images": images, "max_images": images}
    fixed |= {"distances": needs_distances(metric), "probe_train_size": 0, "write": False}
    if reranker is not None:
        fixed["reranker"] = pinxit.load(reranker)
    results = list(measure(pinxit.evaluate, run, metric, list(combine(values)), fixed))
    for line in format_results(results, metric, split, lower):
        print(line)
    return 0


def needs_distances(metric: str) -> bool:
    """Return whether a metric is computed in a feature space."""
    return not metric.startswith(("t2i_exact", "edit_", "caption_exact", "chrf", "bleu"))


def combine(values: Mapping[str, Sequence[float]]) -> Iterator[Options]:
    """Yield every combination of the values; options without values keep their default."""
    given = {name: tried for name, tried in values.items() if tried}
    for combination in itertools.product(*given.values()):
        yield dict(zip(given, combination, strict=True))


def measure(
    evaluate: Evaluate, run: Path, metric: str, combinations: Iterable[Options], fixed: Options
) -> Iterator[tuple[Options, float, float]]:
    """Yield each combination with the metric's value and standard error.

    Raises KeyError if the evaluation has no such metric.
    """
    for options in combinations:
        metrics = evaluate(run, **fixed, **options)["metrics"]
        yield options, metrics[metric], metrics[f"{metric}_error"]


def format_results(
    results: Sequence[tuple[Options, float, float]], metric: str, split: str, lower: bool
) -> Iterator[str]:
    """Yield a line for each combination, the best first."""
    yield f"{metric} on {split}"
    for options, value, error in sorted(results, key=lambda r: r[1], reverse=not lower):
        text = " ".join(f"--{name.replace('_', '-')} {v:g}" for name, v in options.items())
        yield f"{value:.4g} ± {error:.2g}  {text or 'defaults'}"
    yield "the best value is too good where values differ by less than their errors"


if __name__ == "__main__":
    sys.exit(tyro.cli(choose, prog="python -m benchmarks.choose"))
