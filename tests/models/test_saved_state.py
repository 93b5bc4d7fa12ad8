"""State inside a state dict: JSON records, and tensors fitted to the training data."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from pinxit.data.text_tokenizer import train_text_tokenizer
from pinxit.errors import PinxitError
from pinxit.models.saved_state import JsonState, TextTokenizerState, json_to_tensor, load_fitted


class Fitted(nn.Module):
    """A model with a palette, a text tokenizer and a trained weight."""

    def __init__(self):
        super().__init__()
        self.register_buffer("palette", torch.zeros(3, dtype=torch.uint8))
        self.weight = nn.Parameter(torch.zeros(2))
        self.tokenizer_state = TextTokenizerState(("en",))


def test_fitted_tensors_and_records_are_loaded_by_name():
    model, tokenizer = Fitted(), train_text_tokenizer({"en": ["a red star"] * 9}, 300)
    palette, record = torch.tensor([1, 2, 3]), json_to_tensor(tokenizer.to_json())
    load_fitted(model, {"palette": palette, "tokenizer_state._extra_state": record})
    assert model.palette.tolist() == [1, 2, 3]
    assert model.tokenizer_state.tokenizer.to_json() == tokenizer.to_json()


@pytest.mark.parametrize("name", ["palete", "tokenizer_state.extra_state", "weight"])
def test_a_name_that_is_no_fitted_tensor_raises(name):
    with pytest.raises(PinxitError, match=f"no fitted tensor '{name}'"):
        load_fitted(Fitted(), {name: torch.zeros(3)})
    with pytest.raises(PinxitError, match="palette"):  # the near name
        load_fitted(Fitted(), {"palete": torch.zeros(3)})


@pytest.mark.parametrize("record", [None, {"é": [1, 2.5, None]}, [], "x" * 5_000])
def test_a_json_record_travels_in_the_state_dict(record):
    loaded = JsonState()
    loaded.load_state_dict(load(save(JsonState(record).state_dict())))
    assert loaded.record == record
