"""Images as codes: grey for missing codes, frozen weights, and a tokenizer packed as JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from pinxit.errors import UsageError
from pinxit.models import build_model
from pinxit.models.image_codecs import (
    FrozenImageTokenizer,
    PaletteCodec,
    pack_image_tokenizer,
)
from pinxit.models.packed import freeze
from pinxit.models.saved_state import load_fitted
from pinxit.models.tokenizer.config import Config as TokenizerConfig
from pinxit.nn.palette import MID_GREY
from tests.builders import blobs

INFO = blobs().info(np.arange(48))


@pytest.fixture(scope="module")
def tokenizer():
    config = TokenizerConfig(patch_size=2, fsq_levels=(4, 4), width=8, depth=1)
    return build_model(config, blobs(), np.arange(48))[0].eval()


@pytest.fixture(scope="module")
def package(tokenizer):
    return pack_image_tokenizer("runs/any", tokenizer, INFO)


def load_codec(package):
    codec = FrozenImageTokenizer(json.loads(json.dumps(package.spec)))
    load_fitted(codec, package.tensors)
    return codec


def test_a_packed_tokenizer_is_rebuilt_from_json_and_its_tensors(tokenizer, package):
    codec, pixels = load_codec(package), torch.from_numpy(blobs(3).pixels.copy())
    codes = codec.encode(pixels)
    assert (codec.grid, codec.num_codes) == ((4, 4), package.num_codes)
    assert (package.patch_size, package.fsq_levels) == (2, (4, 4))
    assert np.array_equal(codes, tokenizer.tokenize(blobs(3)).reshape(3, -1))
    assert np.array_equal(codec.decode(codes), tokenizer.reconstruct(blobs(3)).pixels)


def test_building_a_frozen_tokenizer_draws_no_random_numbers(package):
    torch.manual_seed(0)
    FrozenImageTokenizer(package.spec)
    after = torch.rand(3)
    torch.manual_seed(0)
    assert torch.equal(after, torch.rand(3))


@pytest.mark.parametrize("kind", ["palette", "tokenizer"])
def test_missing_codes_are_decoded_as_mid_grey(kind, package):
    codec = PaletteCodec(INFO, 2, 8) if kind == "palette" else load_codec(package)
    codes = torch.arange(16)[None] % 8
    complete = codec.decode(codes)
    codes[0, 8] = -1  # row 2, column 0; a tokenizer decodes it as code 0 next to its neighbours
    partial = codec.decode(codes)
    assert (partial[0, 4:6, :2] == MID_GREY).all()
    partial[0, 4:6, :2] = complete[0, 4:6, :2]
    assert torch.equal(partial, complete)


def test_a_frozen_module_has_no_parameters_and_stays_in_evaluation_mode(package):
    module = freeze(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)))
    assert not list(module.parameters())
    assert {"0.weight", "0.bias", "1.weight", "1.bias"} == set(module.state_dict())
    codec = load_codec(package).train()
    assert not any(part.training for part in codec.modules())


def test_a_tokenizer_that_was_not_loaded_raises():
    with pytest.raises(UsageError, match="runs/none was not loaded"):
        pack_image_tokenizer("runs/none", None, INFO)


@pytest.mark.parametrize("kind", ["kmeans", "levels", "binary"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_palette_codes_do_not_depend_on_the_precision_of_the_training(kind, dtype):
    patch_size = 2 if kind != "levels" else 1
    codec = PaletteCodec(INFO, patch_size, 16 if kind != "levels" else 64, kind)
    pixels = torch.from_numpy(blobs(40).pixels.copy())
    codes = codec.encode(pixels)
    with torch.autocast("cpu", dtype):
        assert torch.equal(codec.encode(pixels), codes)
