"""The samples that an evaluation measures: of its own prior, or of one fitted afterwards."""

from __future__ import annotations

from typing import Any

from pinxit.data.images import Images
from pinxit.evaluation.options import EvalOptions
from pinxit.extras import require_extra
from pinxit.models.abilities import require
from pinxit.models.levels import require_posterior_density
from pinxit.runs import run_of
from pinxit.sampling.fitted_priors import load_or_fit_prior, sample_from_density
from pinxit.sampling.label_matched import sample_with_label_frequencies


def check_prior(model: Any, prior: str) -> None:
    """Raise PinxitError where samples cannot come from this prior."""
    if prior == "own":
        return
    if prior == "mixture":
        require_extra("explain", "--prior mixture", "use --prior realnvp")
    require_posterior_density(require(model, "encode"), f"--prior {prior}")


def draw_samples(
    model: Any, images: Images, count: int, options: EvalOptions, **generation: Any
) -> Images:
    """Sample `count` images; a label-conditional model gets the label frequencies of `images`.

    `generation` are options of generation that the model takes, without the seed. A prior that is
    fitted now is kept in the run folder. Raises PinxitError if the run's own images cannot be found
    any more.
    """
    if options.prior == "own":
        return sample_with_label_frequencies(model, images, count, options.seed, **generation)
    run = run_of(model)
    assert run is not None, "the model of a run"
    density = load_or_fit_prior(run, model, options.prior)
    return sample_from_density(model, density, count, options.seed, like=images, **generation)
