"""The sequence-to-sequence model: sources, encoder, decoder and target, composed.

encoded = encoder(concat(source.embed(x) for each source))
logits = target.logits(decoder(target.embed_inputs(tokens[:, :-1]), encoded))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pinxit.data.batch import Batch, DatasetInfo
from pinxit.models.caption_batch import CaptionBatch, sample_captions
from pinxit.models.image_codecs import ImageCodec
from pinxit.models.results import Loss
from pinxit.models.seq2seq.config import Config
from pinxit.models.seq2seq.encoder_decoder import Decoder, Encoder, EncoderOutput
from pinxit.models.seq2seq.sources import Source
from pinxit.models.seq2seq.targets import Logits, Target
from pinxit.models.text_embedding import TextEmbedding, Tokens

if TYPE_CHECKING:
    from pinxit.data.text_tokenizer import TextTokenizer

TargetT = TypeVar("TargetT", bound=Target)


@dataclass
class Parts(Generic[TargetT]):
    """The modules that a model is composed of."""

    text: TextEmbedding
    codec: ImageCodec | None  # of images as codes, on either side
    sources: Sequence[Source]
    encoder: Encoder
    target: TargetT
    decoder: Decoder


class Seq2Seq(nn.Module, Generic[TargetT]):
    """The model without a direction; subclasses state the source and target of a training batch."""

    target: TargetT

    def __init__(self, config: Config, info: DatasetInfo, parts: Parts[TargetT]) -> None:
        super().__init__()
        self.config, self.info = config, info
        self.text, self.codec = parts.text, parts.codec
        self.sources = nn.ModuleList(parts.sources)
        self.encoder, self.target, self.decoder = parts.encoder, parts.target, parts.decoder
        self._init_weights(parts)

    def _init_weights(self, parts: Parts[TargetT]) -> None:
        """Normal weights with standard deviation 0.02 (Radford 2019), biases of 0."""
        for part in (self.text, self.sources, self.encoder, self.target, self.decoder):
            part.apply(_init_layer)  # in this order; never the codec, which is trained
        for part in (*parts.sources, self.target):
            part.init_pos_embed()

    @property
    def text_tokenizer(self) -> TextTokenizer:
        """The tokenizer of the training captions."""
        return self.text.tokenizer

    @property
    def max_text_tokens(self) -> int:
        """The most tokens that a text may have."""
        return self.text.max_text_tokens

    @property
    def device(self) -> torch.device:
        return self.text.token_embed.weight.device

    def truncate_text(self, text: str) -> str:
        """Cut a text to at most `max_text_tokens` tokens."""
        return self.text.truncate(text)

    def encode_source(self, inputs: Sequence[Tensor]) -> EncoderOutput:
        """Encode the input of each source: text tokens or pixels."""
        embedded = [
            source.embed(x)  # pyright: ignore[reportCallIssue]
            for source, x in zip(self.sources, inputs, strict=True)
        ]
        hidden = torch.cat([e.hidden for e in embedded], 1)
        rotary = torch.cat([e.rotary for e in embedded], 1)
        mask = torch.cat([e.mask for e in embedded], 1)
        return self.encoder(hidden, (rotary[0], rotary[1]), mask)

    def logits(self, encoded: EncoderOutput, prefix: Tokens) -> Logits:
        """Return logits of the token at each position, given the target's tokens before it."""
        h = self.target.embed_inputs(prefix, encoded)
        h = self.decoder(h, encoded, self.target.rotary_slice(0, h.shape[1]))
        return self.target.logits(h)

    def cross_attention_map(
        self, encoded: EncoderOutput, prefix: Tokens
    ) -> Float[Tensor, "batch length source"]:
        """Cross-attention of each position over the source, the mean over layers and heads."""
        h = self.target.embed_inputs(prefix, encoded)
        rotary = self.target.rotary_slice(0, h.shape[1])
        return self.decoder.cross_attention_map(h, encoded, rotary)

    def loss(self, batch: Batch, progress: float = 1.0) -> Loss:
        """-log p(target | source) with teacher forcing, in nats per image."""
        inputs, tokens = self.source_and_target(batch)
        logits = self.logits(self.encode_source(inputs), tokens[:, :-1])
        return self.target.loss(logits.float(), tokens)

    def source_and_target(self, batch: Batch) -> tuple[Sequence[Tensor], Tokens]:
        """Return the input of each source, and the target's tokens, of a training batch."""
        raise NotImplementedError

    def sample_captions(self, batch: Batch) -> tuple[CaptionBatch, CaptionBatch]:
        """Sample a caption for each image of the batch, and one in another language."""
        return sample_captions(batch, self.text_tokenizer.languages)


def _init_layer(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
