"""Fit what the model needs before it is built: the text tokenizer, and the VAE with its scale."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from pinxit.data.batch import DatasetInfo
from pinxit.errors import UsageError
from pinxit.models.flow.config import MAX_DEFAULT_TEXT_TOKENS, Config

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from pinxit.data.images import Images

MAX_EXAMPLES = 2_000  # training images whose labels or captions are kept, to sample from
MAX_SCALE_IMAGES = 2_000  # training images by which latents are standardized


def prepare(
    config: Config,
    info: DatasetInfo,
    images: Images,
    rows: np.ndarray,
    seed: int,
    vae: Any = None,
) -> tuple[Config, dict[str, Tensor]]:
    """Return the completed configuration, and the tensors for the model's buffers.

    Raises UsageError for a VAE of images of another shape, or without a grid of latents.
    """
    if config.source == "image+text" and images.before is None:
        raise UsageError(
            "--source image+text is trained on pairs of images, as in `shapes-edits` or "
            "`emoji-edits`; these are single images."
        )
    fitted: dict[str, Tensor] = {}
    if config.vae is not None:
        config, tensors = _pack_vae(config, vae, info, images, rows)
        fitted |= {f"codec.{name}": tensor for name, tensor in tensors.items()}
    from pinxit.models.saved_state import json_to_tensor

    if examples := choose_examples(config, images, rows):
        fitted["conditions.examples._extra_state"] = json_to_tensor(examples)
    if config.condition != "text":
        return config, fitted
    from pinxit.models.text_fitting import fit_text_tokenizer

    fit = fit_text_tokenizer(
        images,
        rows,
        config.vocab_size,
        config.max_text_tokens,
        MAX_DEFAULT_TEXT_TOKENS,
        with_keywords=config.reads_keywords,
    )
    config = dataclasses.replace(
        config, vocab_size=fit.vocab_size, max_text_tokens=fit.max_text_tokens
    )
    return config, {**fitted, "conditions.captions.text.tokenizer_state._extra_state": fit.state}


def choose_examples(config: Config, images: Images, rows: np.ndarray) -> list[Any]:
    """Return the labels, or the captions with their languages, of evenly spaced training images.

    -1 for no label, None for no caption.
    """
    from pinxit.data.images import evenly_spaced_indices

    if len(rows) == 0:
        return []
    chosen = images.take(rows[evenly_spaced_indices(len(rows), MAX_EXAMPLES)])
    if config.condition == "label":
        return [] if chosen.labels is None else chosen.labels.tolist()
    if config.condition != "text":
        return []
    return [_choose_caption(chosen, i) for i in range(len(chosen))]


def _choose_caption(images: Images, i: int) -> tuple[str | None, str]:
    """Return a caption of image i and its language, taking turns between languages."""
    languages = [name for name in images.captions if images.captions[name][i]]
    if not languages:
        return None, next(iter(images.captions))
    language = languages[i % len(languages)]
    return images.captions[language][i], language


def _pack_vae(
    config: Config, vae: Any, info: DatasetInfo, images: Images, rows: np.ndarray
) -> tuple[Config, dict[str, Tensor]]:
    import torch

    from pinxit.data.images import evenly_spaced_indices
    from pinxit.models.latent_codecs import FrozenVAE, measure_latents
    from pinxit.models.packed import pack_model

    packed = pack_model(config.vae or "", vae, info, "VAE")
    if len(vae.latent_shape) != 3:
        raise UsageError(
            f"the VAE {config.vae} has a vector of latents; train one with --latents grid."
        )
    codec = FrozenVAE(packed.spec)
    codec.vae.load_state_dict(packed.tensors)
    chosen = rows[evenly_spaced_indices(len(rows), MAX_SCALE_IMAGES)]
    pixels = torch.from_numpy(images.take(chosen).pixels.copy())
    with torch.inference_mode():
        codec.mean, codec.std = measure_latents(codec, pixels)
    tensors = {name: tensor.clone().cpu() for name, tensor in codec.state_dict().items()}
    return dataclasses.replace(config, codec_spec=packed.spec), tensors
