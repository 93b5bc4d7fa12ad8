"""Every family's parts: as declared, and in onnxruntime equal to the original."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pinxit
from pinxit.errors import UsageError
from pinxit.models import build_model, family_of, get_family
from pinxit.models.export_parts import DYNAMIC, ExportPart, RefusedPart
from pinxit.onnx_export.api import choose_parts, list_refused_parts
from pinxit.onnx_export.images import NUM_IMAGES, random_batch
from tests.builders import blobs
from tests.test_conformance import CONFIGS, config_id

SMALL = {"width": 16, "depth": 1, "heads": 2}
HEAD = pinxit.VAE(
    decoder_head="autoregressive", likelihood="bernoulli", latent_dim=3, width=16, network="mlp"
)


def build(config, images=None):
    """A model with weights that are not those of its start, where many are 0."""
    images = blobs() if images is None else images
    model = build_model(config, images, np.arange(48))[0].eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def parts_of(model) -> list[ExportPart]:
    declared = get_family(family_of(model.config)).export_parts(model)
    return [part for part in declared if isinstance(part, ExportPart)]


def batch_of(images=None):
    images = blobs() if images is None else images
    return images.batch(np.resize(np.arange(48, 90), NUM_IMAGES))


def check_shapes(values, tensors):
    """Each axis of a name has one size."""
    sizes: dict[str, set[int]] = {}
    for value, tensor in zip(values, tensors, strict=True):
        axes = value.axes.split()
        assert len(axes) == tensor.ndim, value.name
        for axis, size in zip(axes, tensor.shape, strict=True):
            sizes.setdefault(axis, set()).add(size)
    assert all(len(found) == 1 for found in sizes.values()), sizes


@pytest.mark.parametrize("random", [False, True], ids=["images", "random"])
@pytest.mark.parametrize("config", CONFIGS, ids=config_id)
def test_parts_are_as_declared_and_equal_the_models_own_methods(config, random):
    model = build(config)
    parts = parts_of(model)
    assert parts
    assert len({part.name for part in parts}) == len(parts)
    for part in parts:
        assert part.summary
        assert all(value.meaning for value in (*part.inputs, *part.outputs))
        with torch.no_grad():
            examples = part.examples(random_batch(model) if random else batch_of())
            is_step = part.name == "step"  # the rows are those of all examples together
            rows = [len(example.inputs[0]) for example in examples]
            assert sum(rows) == NUM_IMAGES if is_step else set(rows) == {NUM_IMAGES}
            for number, example in enumerate(examples):
                outputs = part.module(*example.inputs)
                outputs = outputs if isinstance(outputs, tuple) else (outputs,)
                check_shapes(part.inputs, example.inputs)
                check_shapes(part.outputs, outputs)
                for output, expected in zip(outputs, example.expected, strict=False):
                    assert torch.allclose(output, expected, atol=1e-4)
                if number == 0:  # it is traced: an axis of 0 or 1 would become a constant
                    pairs = zip(part.inputs, example.inputs, strict=True)
                    dynamic = [
                        size
                        for value, x in pairs
                        for axis, size in zip(value.axes.split(), x.shape, strict=True)
                        if axis in DYNAMIC
                    ]
                    assert min(dynamic) >= 2


def test_steps_are_compared_with_all_logits_at_once():
    for config in (pinxit.IGPT(**SMALL), *get_family("seq2seq").variants()):
        (step,) = [part for part in parts_of(build(config)) if part.name == "step"]
        examples = step.examples(batch_of())
        assert all(len(example.expected) == 1 for example in examples)
        lengths = {example.inputs[1].shape[3] for example in examples}
        assert 0 in lengths
        assert len(lengths) >= 3


@pytest.mark.parametrize(
    ("config", "name", "reason"),
    [
        (pinxit.IGPT(objective="masked", **SMALL), "step", "has no next token"),
        (pinxit.VAE(prior="vamp", latent_dim=3, width=16), "prior", "by bisection"),
        (HEAD, "decoder", "one pixel after another"),
    ],
)
def test_a_part_that_cannot_be_exported_says_why(config, name, reason):
    model = build(config)
    declared = get_family(family_of(config)).export_parts(model)
    assert [part.name for part in declared if isinstance(part, RefusedPart)] == [name]
    with pytest.raises(UsageError, match=reason):
        choose_parts(model, name, family_of(config))
    every = choose_parts(model, None, family_of(config), every=True)
    refused = list_refused_parts(model, family_of(config))
    assert sorted(part.name for part in (*every, *refused)) == sorted(p.name for p in declared)


def test_the_default_is_no_other_part_than_the_most_useful_one():
    with pytest.raises(UsageError, match=r"decoder cannot be exported.*\n.*encoder"):
        choose_parts(build(HEAD), None, "vae")


# -- in onnxruntime ------------------------------------------------------------------------------


def check_in_onnxruntime(parts, batch, opset=18):
    from pinxit.onnx_export.convert import convert
    from pinxit.onnx_export.verify import largest_difference, open_session

    for part in parts:
        with torch.no_grad():
            examples = part.examples(batch)
            content = convert(part, examples[0], opset).SerializeToString()
        assert largest_difference(open_session(content), part, examples) < 1e-4, part.name


@pytest.mark.long
@pytest.mark.parametrize("config", CONFIGS, ids=config_id)
def test_exported_parts_equal_the_original(config):
    pytest.importorskip("onnxruntime")
    check_in_onnxruntime(parts_of(build(config)), batch_of())


def vae_configs():
    latents = st.one_of(
        st.builds(dict, latents=st.just("vector"), latent_dim=st.integers(1, 5),
                  network=st.sampled_from(["mlp", "conv", "linear"])),
        st.builds(dict, latents=st.just("grid"), downscale=st.sampled_from([2, 4])),
    )  # fmt: skip
    rest = st.fixed_dictionaries(
        {
            "likelihood": st.sampled_from(["bernoulli", "gaussian", "discretized-logistic"]),
            "condition": st.sampled_from(["none", "label"]),
            "prior": st.sampled_from(["standard", "flow"]),
            "width": st.just(16),
        }
    )
    return st.builds(lambda a, b: pinxit.VAE(**a, **b), latents, rest)


def other_configs():
    norm = {"norm": st.sampled_from(["layer", "rms"])}
    return st.one_of(
        st.builds(
            pinxit.IGPT, **{k: st.just(v) for k, v in SMALL.items()}, **norm,
            pos_embed=st.sampled_from(["learned", "rotary"]),
            objective=st.sampled_from(["autoregressive", "masked"]),
            condition=st.sampled_from(["none", "label"]), palette_size=st.just(8),
        ),
        st.builds(
            pinxit.MAE, **{k: st.just(v) for k, v in SMALL.items()},
            patch_size=st.sampled_from([2, 4]), norm_pix_loss=st.booleans(),
        ),
        st.builds(
            pinxit.ImageTokenizer, width=st.just(16), patch_size=st.sampled_from([2, 4]),
            quantizer=st.sampled_from(["fsq", "vq"]),
        ),
        st.builds(
            pinxit.Flow, **{k: st.just(v) for k, v in SMALL.items()},
            condition=st.sampled_from(["none", "label"]),
            prediction=st.sampled_from(["velocity", "data"]),
            shortcut_share=st.sampled_from([0.0, 0.25]), mask_share=st.sampled_from([0.0, 0.25]),
        ),
    )  # fmt: skip


@pytest.mark.long
@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    config=st.one_of(vae_configs(), other_configs()),
    channels=st.sampled_from([1, 3]),
    width=st.sampled_from([8, 12]),
    opset=st.sampled_from([18, 20, 22]),
    number=st.integers(0, 11),
)
def test_any_options_are_exported_as_they_are(config, channels, width, opset, number):
    pytest.importorskip("onnxruntime")
    images = blobs(height=8, width=width, channels=channels)
    parts = parts_of(build(config, images))
    part = parts[number % len(parts)]  # one: an export takes seconds
    check_in_onnxruntime([part], batch_of(images), opset)
