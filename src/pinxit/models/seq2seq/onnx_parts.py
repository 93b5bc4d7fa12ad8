"""Parts of a sequence-to-sequence model for other programs: encoder, decoding step, codec."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.data.batch import Batch
from pinxit.models.codec_parts import codec_parts
from pinxit.models.export_parts import (
    Example,
    ExportPart,
    Tensors,
    Value,
    example_steps,
    image_value,
    to_image,
    to_pixels,
)
from pinxit.models.seq2seq.model import Seq2Seq
from pinxit.models.seq2seq.sources import TextSource
from pinxit.models.seq2seq.targets import CodeTarget
from pinxit.nn.attention import CrossKV
from pinxit.nn.growing_cache import split_caches, stack_caches

STATE = "layer batch head past head_dim"
SOURCE = "layer batch head source head_dim"
TEXT = "token ids: that of the language, those of the text, 1 for the end, then 0"
LOGITS = "of each token's probability, before the softmax"


class EncodeSource(nn.Module):
    """The source to what each decoding step reads of it."""

    def __init__(self, model: Seq2Seq) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        model = self.model
        pairs = zip(model.sources, inputs, strict=True)
        encoded = model.encode_source(
            [x if isinstance(source, TextSource) else to_pixels(x) for source, x in pairs]
        )
        sources = model.decoder.project_source(encoded)
        outputs = (
            torch.stack([source.keys for source in sources]),
            torch.stack([source.values for source in sources]),
            encoded.mask,
        )
        if not _is_aligned(model):
            return outputs
        return *outputs, model.target.project_aligned_source(encoded)


class Step(nn.Module):
    """The logits of the token after those whose keys and values are given."""

    head: Tensor
    context: Tensor  # the embeddings of a code's neighbours

    def __init__(self, model: Seq2Seq) -> None:
        super().__init__()
        self.model = model
        if isinstance(model.target, CodeTarget):
            self.register_buffer("head", model.target.head.weight_matrix().detach(), False)
            context = model.target.local_context.table().detach()
            self.register_buffer("context", context, False)

    def forward(
        self,
        tokens: Tensor,
        past_keys: Tensor,
        past_values: Tensor,
        source_keys: Tensor,
        source_values: Tensor,
        source_mask: Tensor,
        aligned: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        model, t = self.model, past_keys.shape[3]
        target = model.target
        is_image = isinstance(target, CodeTarget)
        h = self._embed_codes(tokens, t) if is_image else target.embed_tokens(tokens)[:, None]
        h = h + target.pos_embed[t]
        if aligned is not None:
            h = h + aligned[:, t][:, None]
        pairs = zip(source_keys.unbind(0), source_values.unbind(0), strict=True)
        sources = [CrossKV(*pair, source_mask) for pair in pairs]
        caches = split_caches(past_keys, past_values)
        rotary = (target.rotary[0, t][None], target.rotary[1, t][None])
        h = model.decoder.step(h, sources, rotary, caches, t)  # pyright: ignore[reportArgumentType]
        logits = h @ self.head.T if is_image else target.logits(h)
        return logits, *stack_caches(caches)

    def _embed_codes(self, codes: Tensor, t: int) -> Tensor:
        """The sum of the embeddings of the codes around position t: `LocalContextEmbedding`."""
        context = self.model.target.local_context
        outside = F.pad(codes, (0, 1), value=context.num_codes)  # the code at t
        neighbours = context.neighbours[t].clamp(max=codes.shape[1])
        starts = torch.arange(neighbours.shape[0], device=codes.device) * (context.num_codes + 1)
        return F.embedding(outside[:, neighbours] + starts, self.context).sum(1, keepdim=True)


def export_parts(model: Seq2Seq) -> tuple[ExportPart, ...]:
    """Return the decoding step, the encoder of the source, and the codec of images if any."""
    step, encoder = _step(model), _encoder(model)
    if model.codec is None:
        return step, encoder
    decoder, tokenize = codec_parts(model.codec, "codes")
    renamed = ExportPart(
        "image_encoder",
        *(tokenize.summary, tokenize.module, tokenize.inputs, tokenize.outputs, tokenize.examples),
    )
    if isinstance(model.target, CodeTarget):
        return step, encoder, decoder, renamed
    return step, encoder, renamed


def _is_aligned(model: Seq2Seq) -> bool:
    return isinstance(model.target, CodeTarget) and model.target.source_proj is not None


def _source_values(model: Seq2Seq) -> tuple[Value, ...]:
    """Return what the encoder computes of the source, for each step."""
    values = (
        Value("source_keys", SOURCE, "of the source"),
        Value("source_values", SOURCE, "of the source"),
        Value("source_mask", "batch source", "False: padding"),
    )
    if not _is_aligned(model):
        return values
    return *values, Value("aligned", "batch token width", "of the source at each code")


def _to_images(model: Seq2Seq, inputs: Sequence[Tensor]) -> Tensors:
    """Return the encoder's inputs with images as floats."""
    pairs = zip(model.sources, inputs, strict=True)
    return tuple(x if isinstance(s, TextSource) else to_image(x) for s, x in pairs)


def _encoder(model: Seq2Seq) -> ExportPart:
    text = Value("text", "batch length", TEXT, "codes")
    is_text = [isinstance(source, TextSource) for source in model.sources]
    values = [text if is_one else image_value() for is_one in is_text]
    return ExportPart(
        "encoder",
        "the source to what each decoding step reads of it",
        EncodeSource(model),
        tuple(values),
        _source_values(model),
        lambda batch: [Example(_to_images(model, model.source_and_target(batch)[0]))],
        notes=_text_notes(model),
    )


def _text_notes(model: Seq2Seq) -> dict[str, str]:
    """Return how texts become token ids, and back."""
    tokenizer = model.text_tokenizer
    languages = {name: tokenizer.language_token(name) for name in tokenizer.languages}
    return {
        "text_tokenizer": tokenizer.bpe.to_str(),
        "first_text_id": str(tokenizer.num_special_tokens),
        "languages": ", ".join(f"{name}={number}" for name, number in languages.items()),
    }


def _all_keys_and_values(
    model: Seq2Seq, inputs: Sequence[Tensor], prefix: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the decoder's keys and values at all positions."""
    encoded, decoder = model.encode_source(inputs), model.decoder
    h = model.target.embed_inputs(prefix, encoded)
    shape = (len(decoder.blocks), len(h), decoder.num_heads, 0, decoder.head_dim)
    caches = split_caches(h.new_zeros(shape), h.new_zeros(shape))
    rotary = model.target.rotary_slice(0, h.shape[1])
    sources = decoder.project_source(encoded)
    for block, source, cache in zip(decoder.blocks, sources, caches, strict=True):
        h = block(h, source, rotary, cache, 0)
    return stack_caches(caches)


def _step(model: Seq2Seq) -> ExportPart:
    is_image = isinstance(model.target, CodeTarget)

    def examples(batch: Batch) -> list[Example]:
        """Some steps, with what all logits at once are."""
        inputs, tokens = model.source_and_target(batch)
        encoded = EncodeSource(model)(*_to_images(model, inputs))
        logits = model.logits(model.encode_source(inputs), tokens[:, :-1])
        keys, values = _all_keys_and_values(model, inputs, tokens[:, :-1])

        def at(t: int, rows: slice) -> Example:
            before = tokens[rows, :t] if is_image else tokens[rows, t]
            caches = (keys[:, rows, :, :t], values[:, rows, :, :t])
            source = (x[:, rows] if x.ndim == 5 else x[rows] for x in encoded)
            return Example((before, *caches, *source), (logits[rows, t],))

        return [at(t, rows) for t, rows in example_steps(logits.shape[1], len(tokens))]

    before = "codes so far, in raster order; none at the start" if is_image else (
        "the token before; at the start that of the language"
    )  # fmt: skip
    name = Value(*(("codes", "batch past") if is_image else ("token", "batch")), before, "codes")
    return ExportPart(
        "step",
        "the logits of the next token, with the keys and values of those before it",
        Step(model),
        (
            name,
            Value("past_keys", STATE, "of the tokens before; none at the start", "state"),
            Value("past_values", STATE, "of the tokens before; none at the start", "state"),
            *_source_values(model),
        ),
        (
            Value("logits", "batch vocabulary", LOGITS, "logits"),
            Value("keys", STATE, "past_keys of the next step", "state"),
            Value("values", STATE, "past_values of the next step", "state"),
        ),
        examples,
        notes={"steps": str(model.target.length)} | ({} if is_image else _text_notes(model)),
    )
