"""Parts of a flow for other programs: velocity, what it reads of a caption, decoder and encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pinxit.data.batch import Batch
from pinxit.models.export_parts import (
    Example,
    ExportPart,
    Tensors,
    Value,
    image_value,
    label_value,
    to_image,
    to_pixels,
)
from pinxit.models.flow.model import Flow
from pinxit.models.flow.network import Condition, KeysAndValues
from pinxit.models.latent_codecs import FrozenVAE
from pinxit.nn.rng import per_image_normal, per_image_uniform

WORDS = "layer batch head words head_dim"
TEXT = "token ids: that of the language, those of the text, 1 for the end, then 0; 1 alone: no text"


class Velocity(nn.Module):
    """x_t, the time and a condition to dx_t/dt."""

    def __init__(self, model: Flow) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, time: Tensor, *rest: Tensor) -> Tensor:
        model, others = self.model, list(rest)
        if model.conditions.captions is not None:
            vector, keys, values, mask = (others.pop(0) for _ in range(4))
            pairs = zip(keys.unbind(0), values.unbind(0), strict=True)
            condition = Condition(vector, tuple(KeysAndValues(*pair) for pair in pairs), mask)
        elif model.conditions.labels is not None:
            condition = model.conditions.of_labels(others.pop(0), x.shape[0])
        else:
            condition = Condition(model.conditions.zero.expand(x.shape[0], -1))
        if model.network.with_source:
            condition = condition._replace(source=others.pop(0))
        if model.step_counts is not None:
            condition = model.step_counts.add_to(condition, others.pop(0))
        return model.velocity(x, time, condition)


class ReadCaption(nn.Module):
    """A caption's tokens to what the velocity reads of them."""

    def __init__(self, model: Flow) -> None:
        super().__init__()
        self.model = model

    def forward(self, text: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        reader = self.model.conditions.captions
        assert reader is not None, "a model of captions"
        condition = reader(text, self.model.network)
        keys = torch.stack([words.keys for words in condition.words])
        values = torch.stack([words.values for words in condition.words])
        assert condition.mask is not None, "of the words"
        return condition.vector, keys, values, condition.mask


class Decoder(nn.Module):
    """Latents at time 1 to an image."""

    def __init__(self, model: Flow) -> None:
        super().__init__()
        self.codec = model.codec

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.codec, FrozenVAE):  # its `decode` rounds to 8 bits
            z = x * self.codec.std + self.codec.mean
            return self.codec.vae.mean_image(z.flatten(1)).clamp(0, 1)
        return (x.clamp(-1, 1) + 1) / 2


class Encoder(nn.Module):
    """An image to its latents, as the velocity takes them: the means of q(z|x)."""

    def __init__(self, model: Flow) -> None:
        super().__init__()
        self.codec = model.codec

    def forward(self, image: Tensor) -> Tensor:
        pixels = to_pixels(image)
        if isinstance(self.codec, FrozenVAE):
            return self.codec.encode(pixels)[:, 0]
        return self.codec.sample_latents(pixels)


def export_parts(model: Flow) -> tuple[ExportPart, ...]:
    """Return velocity, decoder and encoder, and with captions what the velocity reads of them."""
    x = Value("x", "batch channel row column", "latents at the time: N(0, I) at 0, data at 1")
    decoder = ExportPart(
        "decoder",
        "latents at time 1 to an image",
        Decoder(model),
        (x,),
        (image_value(),),
        lambda batch: [
            Example((model.codec.sample_latents(batch.pixels),)),
            Example((_noise(model, len(batch)),)),
        ],
    )
    encoder = ExportPart(
        "encoder",
        "an image to its latents",
        Encoder(model),
        (image_value(),),
        (x,),
        lambda batch: [Example((to_image(batch.pixels),))],
    )
    parts = (_velocity(model, x), decoder, encoder)
    return parts if model.conditions.captions is None else (*parts, _condition(model))


def _noise(model: Flow, count: int) -> Tensor:
    return per_image_normal(count, model.codec.shape, 0)


def _condition_values() -> tuple[Value, ...]:
    return (
        Value("vector", "batch width", "of the whole caption"),
        Value("word_keys", WORDS, "of the caption's words"),
        Value("word_values", WORDS, "of the caption's words"),
        Value("word_mask", "batch words", "False: padding"),
    )


def _condition(model: Flow) -> ExportPart:
    reader = model.conditions.captions
    assert reader is not None, "a model of captions"
    tokenizer = reader.text.tokenizer
    languages = {name: tokenizer.language_token(name) for name in tokenizer.languages}
    return ExportPart(
        "condition",
        "a caption to what the velocity reads of it",
        ReadCaption(model),
        (Value("text", "batch length", TEXT, "codes"),),
        _condition_values(),
        lambda batch: [Example((_captions(model, batch),))],
        notes={
            "text_tokenizer": tokenizer.bpe.to_str(),
            "first_text_id": str(tokenizer.num_special_tokens),
            "languages": ", ".join(f"{name}={number}" for name, number in languages.items()),
        },
    )


def _captions(model: Flow, batch: Batch) -> Tensor:
    """Return the tokens of a caption of each image, as in an evaluation."""
    reader = model.conditions.captions
    assert reader is not None, "a model of captions"
    from pinxit.models.caption_batch import sample_captions

    captions, _ = sample_captions(batch, reader.text.tokenizer.languages)
    return reader.text.tokenize(*captions, truncate=True)


def _velocity(model: Flow, x: Value) -> ExportPart:
    values: list[Value] = []
    if model.conditions.captions is not None:
        values += _condition_values()
    elif model.conditions.labels is not None:
        values.append(label_value())
    if model.network.with_source:
        values.append(Value("source", x.axes, "latents of the image before the edit"))
    if model.step_counts is not None:
        meaning = "log2 of the number of equal steps of a shortcut; -1: a step of the flow"
        values.append(Value("level", "batch", meaning, "codes"))
    return ExportPart(
        "velocity",
        "dx/dt of latents at a time, for the condition",
        Velocity(model),
        (x, Value("time", "batch", "from 0 (noise) to 1 (data)"), *values),
        (Value("velocity", x.axes, "dx/dt: x += velocity * dt follows the flow"),),
        lambda batch: [Example(_velocity_inputs(model, batch))],
    )


def _velocity_inputs(model: Flow, batch: Batch) -> Tensors:
    """Return points between noise and images, at any time, with the conditions of the images."""
    count, others = len(batch), list[Tensor]()
    time = per_image_uniform(count, 1, 0)[:, 0, 0]
    mix = time.view(-1, 1, 1, 1)
    data = model.codec.sample_latents(batch.pixels)
    if model.conditions.captions is not None:
        others += ReadCaption(model)(_captions(model, batch))
    elif model.conditions.labels is not None:
        others.append(torch.arange(count) % (model.conditions.labels.num_classes + 1) - 1)
    if model.network.with_source:
        before = batch.pixels if batch.before is None else batch.before
        others.append(model.codec.sample_latents(before))
    if model.step_counts is not None:
        others.append(torch.arange(count) % 7 - 1)
    return (mix * data + (1 - mix) * _noise(model, count), time, *others)
