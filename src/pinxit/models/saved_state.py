"""State that travels inside a model's state dict: JSON records, and tensors fitted to the data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from pinxit.data.typed_json import decode_json
from pinxit.errors import PinxitError, did_you_mean
from pinxit.extras import require_extra


def json_to_tensor(record: Any) -> UInt8[Tensor, " bytes"]:
    """Return a JSON record as a tensor of its bytes."""
    return torch.frombuffer(bytearray(json.dumps(record).encode()), dtype=torch.uint8)


def load_fitted(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load tensors that were fitted to the training data (a palette, a text tokenizer).

    Raises PinxitError for a name that is not one of the model's buffers or JSON records.
    """
    learned = {name for name, _ in model.named_parameters()}
    known = [name for name in model.state_dict() if name not in learned]
    for name in tensors:
        if name not in known:
            raise PinxitError(
                f"the model has no fitted tensor '{name}'.{did_you_mean(name, known)}"
            )
    try:
        model.load_state_dict(dict(tensors), strict=False)  # the names are checked above
    except RuntimeError as error:  # shapes
        raise PinxitError(f"the fitted tensors do not fit the model: {error}") from None


class JsonState(nn.Module):
    """A JSON record that is saved and loaded with the weights, whatever its length."""

    def __init__(self, record: Any = None) -> None:
        super().__init__()
        self.record = record

    def get_extra_state(self) -> Tensor:
        return json_to_tensor(self.record)

    def set_extra_state(self, state: Tensor) -> None:
        self.record = decode_json(bytes(state.cpu().tolist()))


class TextTokenizerState(JsonState):
    """A model's text tokenizer; a byte-level one until the fitted one is loaded."""

    def __init__(self, languages: tuple[str, ...]) -> None:
        require_extra("text", "a model that reads or writes text")
        from pinxit.data.text_tokenizer import byte_level_tokenizer

        tokenizer = byte_level_tokenizer(languages)
        super().__init__(tokenizer.to_json())
        self.tokenizer = tokenizer

    def set_extra_state(self, state: Tensor) -> None:
        from pinxit.data.text_tokenizer import TextTokenizer

        super().set_extra_state(state)
        self.tokenizer = TextTokenizer.from_json(self.record)
