"""Records that travel inside a model's state dict, as JSON."""

from __future__ import annotations

import json
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from pinxit.data.text_tokenizer import TextTokenizer


def as_tensor(record: Any) -> UInt8[Tensor, " bytes"]:
    """JSON as the bytes of a tensor."""
    return torch.frombuffer(bytearray(json.dumps(record).encode()), dtype=torch.uint8)


class Kept(nn.Module):
    """A record that is saved and loaded with the weights, however long it is."""

    def __init__(self, record: Any = None) -> None:
        super().__init__()
        self.record = record

    def get_extra_state(self) -> Tensor:
        return as_tensor(self.record)

    def set_extra_state(self, state: Tensor) -> None:
        self.record = json.loads(bytes(state.cpu().tolist()))


class KeptWords(Kept):
    """The words of a model; of bytes alone before any are learned."""

    def __init__(self, languages: tuple[str, ...]) -> None:
        super().__init__()
        self.words = bytes_alone(languages)
        self.record = self.words.to_json()

    def set_extra_state(self, state: Tensor) -> None:
        super().set_extra_state(state)
        self.words = TextTokenizer.from_json(self.record)


def bytes_alone(languages: tuple[str, ...]) -> TextTokenizer:
    """Words of which each piece is a byte."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    pieces.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    return TextTokenizer(pieces, languages, {name: (0,) * len(alphabet) for name in languages})
