"""Each option of a model has an effect, or is refused where it is given: none is dropped.

In a configuration an option is changed. Then the training refuses it, or something is different:
the shapes or initial values of the weights, the tensors fitted to the images, or the loss.
"""

from __future__ import annotations

import contextlib
import dataclasses
import typing

import numpy as np
import pytest
import torch

from pinxit.data.images import Images
from pinxit.errors import UsageError
from pinxit.models import build_model, get_family
from pinxit.models.option_effects import check_effects
from pinxit.training.option_types import option_types
from tests.builders import blobs

TINY = {"width": 16, "depth": 1, "heads": 1}
BASES: dict[str, dict[str, dict[str, typing.Any]]] = {
    "vae": {
        "plain": {},
        "linear": {"network": "linear"},
        "gaussian": {"likelihood": "gaussian"},
        "head": {"likelihood": "discretized-logistic", "decoder_head": "autoregressive"},
        "logistic": {"likelihood": "discretized-logistic"},
        "weighted": {"iw_samples": 2, "iw_from": 0.1},
        "grid": {"latents": "grid"},
        "ladder": {"levels": 2},
        "vector": {"levels": 1},
        "labels": {"condition": "label"},
        "point": {"posterior": "deterministic"},
        "no kl": {"beta": 0.0, "mmd": 1.0},
        "factors": {"total_correlation": 1.0},
        "adversarial": {"adversarial": 1.0, "adversarial_from": 0.1},
    },
    "mae": {"plain": {}},
    "igpt": {"plain": {}, "masked": {"objective": "masked"}, "labels": {"condition": "label"}},
    "tokenizer": {"fsq": {}, "vq": {"quantizer": "vq"}},
    "flow": {
        "none": {"condition": "none"},
        "label": {"condition": "label"},
        "cluster": {"condition": "cluster"},
        "text": {"condition": "text"},
    },
    "seq2seq": {
        "draw": {},
        "caption": {"source": "image", "target": "text"},
        "codes": {"source": "image", "target": "text", "source_encoding": "codes"},
        "translate": {"source": "text", "target": "text"},
    },
}
# bases whose options no Need is about
LIKE_PLAIN = {"gaussian", "weighted", "vector", "labels", "point", "factors", "adversarial"}
# an option and another value than its default, where the type does not say one
VALUES = {
    "width": 32, "depth": 2, "heads": 2, "latent_dim": 3, "palette_size": 5, "num_clusters": 3,
    "levels": 2, "downscale": 4, "latent_channels": 2, "patch_size": 4, "palette_patch_size": 4,
    "max_text_tokens": 6, "fsq_levels": (5, 3), "iaf_steps": 3, "pseudo_inputs": 5,
    "sigma": 0.3, "decoder_width": 32, "decoder_heads": 2, "mask_share": 0.5, "vocab_size": 275,
    "codebook_size": 20, "codebook_dim": 5, "time_std": 0.5, "time_mean": 1.0,
    "iw_samples": 3, "iw_groups": 2, "mixtures": 2, "patch_overlap": 2, "iw_from": 0.9,
    "adversarial_from": 0.9, "l1_weight": 0.5,
}  # fmt: skip
RUNS = ("vae", "image_tokenizer", "perceptual_features")  # options that name other runs
# what has no effect on these images
UNSEEN = {("igpt", "palette")}  # of a few grey values k-means has each one, as levels have


def change(name: str, value: typing.Any, kind: typing.Any) -> typing.Any:
    """Another value of an option."""
    if typing.get_origin(kind) is typing.Literal:
        return [choice for choice in typing.get_args(kind) if choice != value]
    if name in VALUES:
        return [VALUES[name]]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, float):
        return [0.5 if value != 0.5 else 0.25]
    return [3 if value != 3 else 4]


@pytest.fixture(scope="module")
def images() -> Images:
    images = blobs(64, 16, 16, channels=1)
    words = [f"{name} number {i % 7} of all" for i, name in enumerate(name_of(images))]
    mots = [f"{name} numero {i % 5} de tous" for i, name in enumerate(name_of(images))]
    keywords = {"en": [("a blob", f"row {i % 3}") for i in range(len(images))]}
    captions = {"en": words, "fr": mots}
    return dataclasses.replace(images, captions=captions, keywords=keywords)


def name_of(images: Images) -> list[str]:
    assert images.labels is not None
    return [images.label_names[label] for label in images.labels]


def measure(config: typing.Any, images: Images) -> dict[str, typing.Any]:
    """What a configuration trains: fitted tensors, weights, losses over training."""
    rows = images.split_indices("train")
    model, fitted = build_model(config, images, rows, seed=0)
    torch.manual_seed(2)
    weights = {name: p.detach().clone() for name, p in model.state_dict().items()
               if isinstance(p, torch.Tensor)}  # fmt: skip
    with torch.no_grad():  # layers that begin with weights of 0 hide what is before them
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    losses = []
    for progress in (0.05, 0.2, 0.7):
        torch.manual_seed(1)
        loss = model.train().loss(images.batch(rows[:32]), progress)
        model.zero_grad()
        loss.total.backward()
        norms = [p.grad.norm().item() for p in model.parameters() if p.grad is not None]
        losses.append([loss.total.item(), *norms])
    texts = {name: repr(value) for name, value in fitted.items() if not torch.is_tensor(value)}
    return {"weights": weights, "losses": losses, "texts": texts}


def differ(a: dict[str, typing.Any], b: dict[str, typing.Any]) -> bool:
    if a["texts"] != b["texts"] or a["weights"].keys() != b["weights"].keys():
        return True
    if any(not torch.equal(a["weights"][name], b["weights"][name]) for name in a["weights"]):
        return True
    sizes = [len(losses) for losses in a["losses"]]
    if sizes != [len(losses) for losses in b["losses"]]:
        return True
    return not np.allclose(np.hstack(a["losses"]), np.hstack(b["losses"]), rtol=1e-6, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "base"), [(family, base) for family in BASES for base in BASES[family]]
)
def test_no_option_of_a_model_is_dropped_in_silence(family, base, images):
    kind = get_family(family).Config
    types = option_types(kind)
    options = {name: value for name, value in TINY.items() if name in types} | BASES[family][base]
    config = kind(**options)
    info = images.info(images.split_indices("train"))
    plain, dropped = measure(config, images), []
    for name, hint in types.items():
        if name in RUNS or (family, name) in UNSEEN or name in BASES[family][base]:
            continue
        for value in change(name, getattr(config, name), hint):
            try:
                changed = dataclasses.replace(config, **{name: value})
                check_effects(changed, info)
                if changed.resolve(info) == config.resolve(info):
                    continue  # what would be chosen anyway
                measured = measure(changed, images)
            except UsageError:
                continue
            if not differ(plain, measured):
                dropped.append(f"{name} {value}")
    assert not dropped


SLOW_BASES = ("no kl", "grid", "ladder", "none", "cluster")  # three to six seconds each


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "base"),
    [
        pytest.param(family, base, marks=[pytest.mark.long] if base in SLOW_BASES else [])
        for family in BASES
        for base in BASES[family]
        if base not in LIKE_PLAIN
    ],
)
def test_no_option_is_refused_for_want_of_an_effect_that_it_has(family, base, images):
    """Beside each choice of another option: a Need refuses what changes no weight and no loss."""
    kind = get_family(family).Config
    types, info = option_types(kind), images.info(images.split_indices("train"))
    options = {name: value for name, value in TINY.items() if name in types} | BASES[family][base]
    needs = {need.option for need in getattr(kind, "option_needs", ())}
    effective, measured = [], {}

    def measure_once(config):
        if config not in measured:
            measured[config] = measure(config, images)
        return measured[config]

    for second in list_choices(kind, types):
        config = try_config(kind, info, options | second)
        for name in needs if config is not None else ():
            for value in change(name, getattr(config, name), types[name]):
                changed = try_config(kind, info, {**options, **second, name: value})
                if changed is None or not is_refused(changed, info, name):
                    continue
                if differ(measure_once(config), measure_once(changed)):
                    effective.append(f"{second}: {name} {value}")
    assert not effective


def list_choices(kind, types):
    """Yield each choice of another option, alone: what others need is mostly one of these."""
    yield {}
    for name, hint in types.items():
        if typing.get_origin(hint) is typing.Literal and name not in RUNS:
            yield from ({name: value} for value in typing.get_args(hint))


def try_config(kind, info, options):
    """A resolved configuration of options that go together on these images, else None."""
    try:
        config = kind(**options)
        config.resolve(info)
    except UsageError:
        return None
    return config


def is_refused(config, info, name: str) -> bool:
    """Whether this option is refused because it has no effect."""
    try:
        check_effects(config, info)
    except UsageError as error:
        return str(error).startswith(f"{name} ") and "has no effect here" in str(error)
    return False


@pytest.mark.parametrize("prior", ["flow", "vamp"])
@pytest.mark.parametrize("beta", [0.0, 1.0])
@pytest.mark.parametrize("other", [{}, {"mmd": 1.0}, {"latent_adversarial": 1.0}])
def test_a_learned_prior_learns_or_is_refused(prior, beta, other, images):
    """Its parameters have a gradient wherever a training may start."""
    config = get_family("vae").Config(
        network="mlp", width=16, latent_dim=3, prior=prior, beta=beta, **other
    )
    rows = images.split_indices("train")
    model = build_model(config, images, rows, seed=0)[0]
    model.train().loss(images.batch(rows[:16]), 0.9).total.backward()
    learns = any(p.grad is not None and p.grad.any() for p in model.prior.parameters())
    refused = contextlib.nullcontext()
    if not learns:
        refused = pytest.raises(UsageError, match=f"prior {prior} learns")
    with refused:
        check_effects(config, images.info(rows))


def test_components_of_a_mixture_go_with_a_head():
    head = {"decoder_head": "autoregressive", "mixtures": 8}
    config = get_family("vae").Config(likelihood="discretized-logistic", **head)
    check_effects(config, blobs(24).info(np.arange(12)))


def test_an_option_that_needs_another_is_refused_by_name(images):
    info = images.info(images.split_indices("train"))
    for family, options, message in [
        ("tokenizer", {"codebook_size": 9}, "codebook_size 9 has no effect here: it needs quant"),
        ("vae", {"binarize": "dynamic", "likelihood": "gaussian"}, "it needs likelihood bernoulli"),
        ("flow", {"num_clusters": 5}, "needs condition cluster"),
        ("vae", {"iw_from": 0.2}, "needs iw_samples or iw_groups above 1"),
    ]:
        with pytest.raises(UsageError, match=message):
            check_effects(get_family(family).Config(**options), info)
    grey = dataclasses.replace(info, num_images=12)
    for family, options in [
        ("igpt", {"patch_size": 1, "palette": "levels"}),
        ("igpt", {"patch_size": 1, "palette": "levels", "palette_size": 16}),
        ("flow", {"condition": "cluster", "num_clusters": 2}),
    ]:  # without one of them the others are refused
        check_effects(get_family(family).Config(**options), grey)
    with pytest.raises(UsageError, match="iw_from 1 is the end of training"):
        get_family("vae").Config(iw_from=1.0, iw_samples=2)
