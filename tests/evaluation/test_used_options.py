"""Each option of `evaluate` changes what is measured, or is refused: none is dropped in silence."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import pinxit
from pinxit.errors import PinxitError, UsageError
from pinxit.evaluation.options import EvalOptions
from pinxit.evaluation.runner import evaluate
from pinxit.models import latent_densities
from pinxit.models.generation import GenerationParams
from pinxit.runs import Run
from tests.builders import blobs, save_npz, without_labels

TEXT = {"width": 16, "heads": 2, "depth": 1, "decoder_depth": 1, "max_text_tokens": 24}
FLOW = {"width": 16, "heads": 1, "depth": 1}
CONFIGS = {
    "vae": pinxit.VAE(network="mlp", latent_dim=3, width=16, depth=1),
    "vae of labels": pinxit.VAE(network="mlp", latent_dim=3, width=16, depth=1, condition="label"),
    "ladder": pinxit.VAE(latents="ladder", levels=2, width=8, depth=1),
    "grid": pinxit.VAE(latents="grid", width=8, depth=1),
    "igpt": pinxit.IGPT(width=16, depth=1, heads=2, palette_size=4),
    "flow": pinxit.Flow(**FLOW, condition="none"),
    "flow of labels": pinxit.Flow(**FLOW, condition="label"),
    "flow of text": pinxit.Flow(**FLOW, text_depth=1, condition="text"),
    "mae": pinxit.MAE(width=16, depth=1, heads=2),
    "tokenizer": pinxit.ImageTokenizer(),
    "draw": pinxit.Seq2Seq(source="text", target="image", palette_size=4, **TEXT),
    "edit": pinxit.Seq2Seq(source="image+text", target="image", palette_size=4, **TEXT),
    "caption": pinxit.Seq2Seq(source="image", target="text", **TEXT),
    "translate": pinxit.Seq2Seq(source="text", target="text", **TEXT),
}
BASE = EvalOptions(iw_samples=3, likelihood_images=4, max_images=12, probe_train_size=20)
GENERATION = {
    "temperature": 0.5, "level_temperatures": (0.5, 0.2), "top_k": 1, "top_p": 0.3,
    "guidance": 3.0, "best_of": 2, "steps": 2, "solver": "euler", "strength": 0.2, "start": 3,
}  # fmt: skip
MEASURED = {
    "split": "validation", "iw_samples": 5, "defensive_share": 0.5, "average_labels": True,
    "likelihood_images": 9, "max_images": 3, "prior": "mixture", "distances": False,
    "probe_train_size": 9, "feature_run": Path("vae"), "seed": 1,
}  # fmt: skip
# what takes each option of generation
TAKEN = {
    "temperature": set(CONFIGS) - {"mae", "tokenizer", "translate"},
    "level_temperatures": {"ladder"},
    "top_k": {"igpt", "draw"}, "top_p": {"igpt", "draw"},
    "guidance": {"flow of labels", "flow of text", "draw", "edit"},
    "best_of": {"draw", "flow of text"},
    "steps": {"flow", "flow of labels", "flow of text"},
    "solver": {"flow", "flow of labels", "flow of text"},
    "strength": {"flow of text"},
    "start": set(CONFIGS) - {"mae", "tokenizer", "translate", "caption", "edit"},
}  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    path = save_npz(tmp_path_factory.mktemp("data") / "blobs.npz", blobs())
    return dataclasses.replace(
        pinxit.load_images(str(path)), captions=blobs().captions, before=blobs().before
    )


@pytest.fixture(scope="module")
def measure(tmp_path_factory, images):
    """Evaluate a run of a configuration, which is trained on first use."""
    folder, runs, records = tmp_path_factory.mktemp("runs"), {}, {}
    patch = pytest.MonkeyPatch()
    patch.setattr(latent_densities, "COMPONENTS", (1,))
    patch.setattr("pinxit.evaluation.feature_space.STEPS", 3)

    def call(name: str, data=None, **changes):
        if name not in runs:
            settings = {"steps": 2, "batch_size": 8, "quiet": True, "augment": "off"}
            run = pinxit.train(CONFIGS[name], images, out=folder / name, **settings)
            runs[name] = Run(run.path)
        if "feature_run" in changes:
            changes["feature_run"] = folder / changes["feature_run"]
        options = {"progress": False, "write": False, **changes}
        data = images if data is None else data
        key = (name, repr(changes))
        if data is not images or key not in records:
            records[key] = evaluate(runs[name], data, BASE, **options)
        return records[key]

    yield call
    patch.undo()


def figures(record) -> dict:
    return {name: record[name] for name in ("metrics", "facts", "curves")}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("option", GENERATION)
def test_an_option_of_generation_changes_the_figures_or_is_refused(measure, name, option):
    given = {option: GENERATION[option]}
    if name not in TAKEN[option]:
        with pytest.raises(UsageError, match=rf"{option}"):
            measure(name, distances=False, **given)
        return
    record = measure(name, distances=False, **given)
    if (name, option) != ("edit", "guidance"):  # after two steps an edit ignores its text
        assert figures(record) != figures(measure(name, distances=False))
    assert record["protocol"]["generation"][option] == GENERATION[option]


@pytest.mark.parametrize("name", ["vae", "vae of labels", "igpt", "mae", "caption", "translate"])
@pytest.mark.parametrize("option", MEASURED)
def test_an_option_of_the_evaluation_changes_the_record_or_is_refused(measure, name, option):
    measure("vae", distances=False)  # whose encoder is a feature space
    base = measure(name)
    try:
        record = measure(name, **{option: MEASURED[option]})
    except PinxitError:
        return
    is_off = not MEASURED[option] and option not in base["protocol"]
    has_effect = figures(record) != figures(base)
    is_warned = any(option in warning for warning in record["warnings"])
    assert is_off or has_effect or is_warned or option == "seed"


def test_every_option_is_among_those_that_are_tried():
    names = {field.name for field in dataclasses.fields(EvalOptions)}
    assert names == {*MEASURED, "generation", "fid"} - {"seed"}  # fid needs a download
    names = {field.name for field in dataclasses.fields(GenerationParams)}
    assert names == {*GENERATION, "seed", "reranker"}  # tests/cli/test_text_and_images.py
    assert set(TAKEN) == set(GENERATION)


@pytest.mark.parametrize(("name", "changes", "message"), [
    ("grid", {"iw_samples": None, "defensive_share": 0.3}, "defensive_share needs iw_samples"),
    ("igpt", {"defensive_share": 0.3}, "defensive_share needs a model with an ELBO"),
    ("vae", {"average_labels": True}, "average_labels needs a model that is conditioned"),
    ("vae of labels", {"average_labels": True, "iw_samples": 0}, "average_labels needs iw_samp"),
    ("mae", {"feature_run": "vae"}, "feature_run needs a model that generates"),
    ("vae", {"prior": "mixture", "guidance": 2.0}, "does not use guidance; it uses seed"),
    ("translate", {"temperature": 0.5}, "temperature needs a model that generates"),
    ("caption", {"top_k": 2}, "top_k and top_p need temperature"),
])  # fmt: skip
def test_options_without_an_effect_are_refused_by_name(measure, name, changes, message):
    measure("vae", distances=False)
    with pytest.raises(UsageError, match=message):
        measure(name, **changes)


def test_samples_of_a_fitted_prior_have_the_temperature(measure):
    records = [measure("vae", prior="mixture", distances=False, temperature=t) for t in (0.3, 0.6)]
    assert figures(records[0]) != figures(records[1])


def test_labels_that_are_averaged_over_must_be_there(measure, images):
    with pytest.raises(UsageError, match="average_labels needs training images with labels"):
        measure("vae of labels", without_labels(images), average_labels=True, distances=False)


def test_the_strength_of_edits_needs_pairs(measure, images):
    with pytest.raises(UsageError, match="strength needs pairs"):
        measure(
            "flow of text", dataclasses.replace(images, before=None),
            strength=0.5, distances=False,
        )  # fmt: skip


def test_captions_are_sampled_by_the_seed(measure):
    first, second = (
        measure("caption", distances=False, temperature=1.0, seed=seed) for seed in (1, 2)
    )
    assert figures(first) != figures(second)
    assert np.isfinite([v for v in first["metrics"].values() if v is not None]).all()


def test_amounts_of_what_is_not_measured_give_warnings(measure):
    warnings = measure("caption")["warnings"]
    assert "iw_samples has no effect: this model has no ELBO" in warnings
    assert "probe_train_size has no effect: this model has no features" in warnings
    assert not [w for w in measure("vae")["warnings"] if "no effect" in w]
