"""Parts of an iGPT for other programs: a decoding step, all logits, tokens, and features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pinxit.data.batch import Batch
from pinxit.models.codec_parts import codec_parts
from pinxit.models.export_parts import (
    AnyPart,
    Example,
    ExportPart,
    RefusedPart,
    Value,
    example_steps,
    image_value,
    label_value,
    labels_or_none,
    to_image,
    to_pixels,
)
from pinxit.models.igpt.model import IGPT
from pinxit.models.igpt.network import TokenTransformer
from pinxit.nn.growing_cache import split_caches, stack_caches

LOGITS = "of each token's probability, before the softmax"


class Step(nn.Module):
    """The logits of the token after those whose keys and values are given."""

    def __init__(self, network: TokenTransformer) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        token: Tensor,
        past_keys: Tensor,
        past_values: Tensor,
        label: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        network, t = self.network, past_keys.shape[3]
        start = network.start_token(label, token.shape[0])
        h = torch.where(token[:, None] < 0, start, network.token_embed(token.clamp(min=0)))[:, None]
        if network.pos_embed is not None:
            h = h + network.pos_embed[t]
        rotary = network.rotary()
        at_t = None if rotary is None else (rotary[0][t][None], rotary[1][t][None])
        caches = split_caches(past_keys, past_values)
        for layer, cache in zip(network.layers, caches, strict=True):
            h = layer(h, True, at_t, cache, t)
        return network.head(network.norm(h))[:, 0], *stack_caches(caches)


class Logits(nn.Module):
    """The logits of all tokens at once; of a masked model, without those that are masked."""

    def __init__(self, network: TokenTransformer) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor, *rest: Tensor) -> Tensor:
        others = list(rest)
        mask = None if self.network.causal else others.pop(0)
        return self.network.logits(tokens, others[0] if others else None, mask)


class Features(nn.Module):
    """An image to the mean of the middle layer's output."""

    def __init__(self, model: IGPT) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        tokens = self.model.codec.encode(to_pixels(image))
        outputs = list(self.model.network.layer_outputs(tokens))
        return outputs[len(self.model.network.layers) // 2].mean(1)


def export_parts(model: IGPT) -> tuple[AnyPart, ...]:
    """Return the decoding step (not of a masked model), logits, the codec's parts, and features."""
    features = ExportPart(
        "features",
        "the features of an image: the mean over the middle layer",
        Features(model),
        (image_value(),),
        (Value("features", "batch width", "mean over the positions"),),
        lambda batch: [Example((to_image(batch.pixels),))],
    )
    rest = (_logits(model), *codec_parts(model.codec, "tokens"), features)
    if model.left_to_right:
        return _step(model), *rest
    reason = "a model trained with --objective masked has no next token; its part is logits"
    return *rest, RefusedPart("step", reason)


def _labels(model: IGPT) -> tuple[Value, ...]:
    return (label_value(),) if model.label_conditional else ()


def _tokens(model: IGPT, batch: Batch) -> Tensor:
    return model.codec.encode(model.binarize(batch.pixels, range(len(batch))))


def _logits(model: IGPT) -> ExportPart:
    labels, length = _labels(model), model.network.seq_len
    mask = Value("mask", "batch token", "True where a token is masked")

    def examples(batch: Batch) -> list[Example]:
        tokens = _tokens(model, batch)
        generator = torch.Generator().manual_seed(0)
        masked = torch.rand(tokens.shape, generator=generator) < 0.5
        extra = (
            *(() if model.left_to_right else (masked,)),
            *((labels_or_none(batch),) if labels else ()),
        )
        return [Example((tokens, *extra))]

    return ExportPart(
        "logits",
        f"the logits of all {length} tokens of an image, for its likelihood"
        if model.left_to_right
        else f"the logits of all {length} tokens of an image, given those that are not masked",
        Logits(model.network),
        (
            Value("tokens", "batch token", f"0 to {model.codec.num_codes - 1}", "codes"),
            *(() if model.left_to_right else (mask,)),
            *labels,
        ),
        (Value("logits", "batch token vocabulary", LOGITS, "logits"),),
        examples,
    )


def _step(model: IGPT) -> ExportPart:
    network, labels = model.network, _labels(model)
    axes = "layer batch head past head_dim"

    def empty(rows: int) -> Tensor:
        shape = (len(network.layers), rows, network.num_heads, 0, network.head_dim)
        return torch.zeros(shape)

    def examples(batch: Batch) -> list[Example]:
        """Some steps, with what all logits at once are."""
        tokens, label = _tokens(model, batch), (labels_or_none(batch),) if labels else ()
        previous = torch.cat((torch.full((len(tokens), 1), -1), tokens[:, :-1]), 1)
        logits = network.logits(tokens, *label)
        caches = split_caches(empty(len(tokens)), empty(len(tokens)))
        h = network.embed_inputs(tokens, *label)
        for layer, cache in zip(network.layers, caches, strict=True):
            h = layer(h, True, network.rotary(), cache, 0)
        keys, values = stack_caches(caches)

        def at(t: int, rows: slice) -> Example:
            caches = (keys[:, rows, :, :t], values[:, rows, :, :t])
            inputs = (previous[rows, t], *caches, *(x[rows] for x in label))
            return Example(inputs, (logits[rows, t],))

        return [at(t, rows) for t, rows in example_steps(network.seq_len, len(tokens))]

    return ExportPart(
        "step",
        "the logits of the next token, with the keys and values of those before it",
        Step(network),
        (
            Value("token", "batch", "the token before, from 0; -1 at the start", "codes"),
            Value("past_keys", axes, "of the tokens before; none at the start", "state"),
            Value("past_values", axes, "of the tokens before; none at the start", "state"),
            *labels,
        ),
        (
            Value("logits", "batch vocabulary", LOGITS, "logits"),
            Value("keys", axes, "past_keys of the next step", "state"),
            Value("values", axes, "past_values of the next step", "state"),
        ),
        examples,
        notes={"steps": str(network.seq_len)},
    )
