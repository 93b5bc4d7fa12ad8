"""Each option of `score` and `map score` changes the scores of a family, or is refused."""

from __future__ import annotations

import inspect
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import pinxit
from pinxit.errors import UsageError
from pinxit.models import get_family, list_families
from tests.builders import blobs, save_npz

SMALL = {"width": 16, "depth": 1, "heads": 2}
CONFIGS = {
    name: get_family(name).Config()
    for name in list_families()
    if "score" in get_family(name).ABILITIES
} | {
    "vae": pinxit.VAE(network="mlp", latent_dim=2, width=16, depth=1),
    "flow": pinxit.Flow(width=16, depth=1, heads=1),
    "igpt": pinxit.IGPT(palette_size=4, **SMALL),
    "igpt-sampled": pinxit.IGPT(palette="binary", binarize="dynamic", **SMALL),
}
OPTIONS = {"samples": 3, "seed": 5}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return save_npz(tmp_path_factory.mktemp("data") / "blobs.npz", blobs(16, height=8, width=8))


@pytest.fixture(scope="module", params=CONFIGS)
def run(request, data, tmp_path_factory) -> pinxit.Run:
    out = tmp_path_factory.mktemp("runs") / request.param
    config = CONFIGS[request.param]
    pinxit.train(config, str(data), out=out, steps=3, batch_size=8, quiet=True)
    return pinxit.Run(out)


@pytest.mark.parametrize("option", OPTIONS)
def test_each_option_of_score_changes_the_scores_or_is_refused(
    run, option, run_pinxit, fail, tmp_path
):
    known = set(inspect.signature(pinxit.Run.score).parameters) - {"self", "images", "split"}
    assert known == set(OPTIONS)
    words = [f"--{option}", OPTIONS[option], "--out"]
    plain = {row["name"]: row["log_likelihood"] for row in run.score()}
    try:
        rows = run.score(**{option: OPTIONS[option]})
    except UsageError:
        error = fail("score", run.path, *words, tmp_path / "s.csv")
        assert error.startswith(f"--{option} is of ")
        assert fail("map", "score", run.path, *words, tmp_path / "map") == error
        with pytest.raises(UsageError, match=rf"^{option} is of "):
            run.map("score", out=tmp_path / "map", quiet=True, **{option: OPTIONS[option]})
        assert not list(tmp_path.iterdir())
        return
    changed = {row["name"]: row["log_likelihood"] for row in rows}
    assert changed != plain
    run_pinxit("map", "score", run.path, "--split", "test", *words, tmp_path / "map")
    table = pq.read_table(tmp_path / "map").to_pydict()
    mapped = dict(zip(table["name"], table["log_likelihood"], strict=True))
    assert mapped == pytest.approx(changed, abs=1e-3)


def test_the_options_of_exact_likelihoods_are_refused(run, run_pinxit, fail):
    """And the name of the file does not claim them."""
    is_exact = run.model.likelihood_is_exact
    path = Path(run_pinxit("score", run.path)[-1])
    assert path.name == f"scores-test{'' if is_exact else '-k1'}.csv"
    if is_exact:
        text = "--samples is of no effect: this likelihood is exact; leave it out."
        assert text in fail("score", run.path, "--samples", 1)
