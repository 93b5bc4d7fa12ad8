"""Fit what the model needs before it is built: the VAE with its scale, clusters, the tokenizer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pinxit.data.batch import DatasetInfo
from pinxit.data.keywords import JOINER
from pinxit.errors import UsageError
from pinxit.models.flow.config import MAX_DEFAULT_TEXT_TOKENS, Config
from pinxit.models.levels import level_shapes

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from pinxit.data.images import Images
    from pinxit.models.latent_codecs import FrozenVAE, LatentCodec

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

    Raises UsageError for a VAE of images of another shape, without a grid of latents, or with
    labels.
    """
    if config.source == "image+text" and images.before is None:
        raise UsageError(
            "--source image+text is trained on pairs of images, as in `shapes-edits` or "
            "`emoji-edits`; these are single images."
        )
    from pinxit.models.latent_codecs import PixelCodec
    from pinxit.models.saved_state import json_to_tensor
    from pinxit.models.text_fitting import fit_text_tokenizer

    fitted: dict[str, Tensor] = {}
    codec = PixelCodec(info)
    if config.vae is not None:
        config, codec = _pack_vae(config, vae, info, images, rows)
        tensors = codec.state_dict().items()
        fitted |= {f"codec.{name}": tensor.clone().cpu() for name, tensor in tensors}
    if config.condition == "cluster":
        examples, tensors = _fit_clusters(config, codec, images, rows, seed)
        fitted |= {f"clusters.{name}": tensor for name, tensor in tensors.items()}
    else:
        examples = choose_examples(config, images, rows)
    if examples:
        fitted["conditions.examples._extra_state"] = json_to_tensor(examples)
    if config.condition == "text":
        config, state = fit_text_tokenizer(config, images, rows, MAX_DEFAULT_TEXT_TOKENS)
        fitted["conditions.captions.text.tokenizer_state._extra_state"] = state
    return config, fitted


def _fit_clusters(
    config: Config, codec: LatentCodec, images: Images, rows: np.ndarray, seed: int
) -> tuple[list[int], dict[str, Tensor]]:
    """Return the clusters of training images, and the tensors of `Clusters`."""
    from pinxit.data.images import evenly_spaced_indices
    from pinxit.models.flow.clusters import MAX_FITTED_IMAGES, Clusters, encode_images

    assert config.num_clusters, "a resolved configuration"
    latents = encode_images(
        codec, images, rows[evenly_spaced_indices(len(rows), MAX_FITTED_IMAGES)]
    )
    clusters = Clusters(codec.shape, config.num_clusters)
    clusters.fit(latents, seed)
    return clusters(latents).tolist(), dict(clusters.state_dict())


def choose_examples(config: Config, images: Images, rows: np.ndarray) -> list[Any]:
    """Return the labels, or the captions with their languages, of evenly spaced training images.

    -1 for no label, None for no caption and no keywords.
    """
    from pinxit.data.images import evenly_spaced_indices
    from pinxit.models.caption_batch import MAX_KEYWORDS

    if len(rows) == 0:
        return []
    chosen = images.take(rows[evenly_spaced_indices(len(rows), MAX_EXAMPLES)])
    if config.condition == "label":
        return [] if chosen.labels is None else chosen.labels.tolist()
    if config.condition != "text":
        return []
    texts: list[Mapping[str, Sequence[str]]] = [chosen.captions]
    if config.reads_keywords:
        texts.append(
            {
                language: [JOINER.join(keywords[:MAX_KEYWORDS]) for keywords in column]
                for language, column in chosen.keywords.items()
                if language in chosen.captions
            }
        )
    return [_choose_text(texts, i) for i in range(len(chosen))]


def _choose_text(columns: list[Mapping[str, Sequence[str]]], i: int) -> tuple[str | None, str]:
    """Return a text of image i, of the first columns that have one, and its language.

    Languages take turns.
    """
    for texts in columns:
        languages = [name for name in texts if texts[name][i]]
        if languages:
            language = languages[i % len(languages)]
            return texts[language][i], language
    return None, next(iter(columns[0]))


def _pack_vae(
    config: Config, vae: Any, info: DatasetInfo, images: Images, rows: np.ndarray
) -> tuple[Config, FrozenVAE]:
    import torch

    from pinxit.data.images import evenly_spaced_indices
    from pinxit.models.latent_codecs import FrozenVAE, measure_latents
    from pinxit.models.packed import pack_model

    packed = pack_model(config.vae or "", vae, info, "VAE")
    if level_shapes(vae):
        raise UsageError(
            f"the VAE {config.vae} has a ladder of latents, whose prior is part of it: the finer "
            "levels depend on the coarser ones, and no grid holds them all. Train one with "
            "--latents grid."
        )
    if len(vae.latent_shape) != 3:
        raise UsageError(
            f"the VAE {config.vae} has a vector of latents; train one with --latents grid."
        )
    if vae.label_conditional:
        raise UsageError(
            f"the VAE {config.vae} is conditioned on labels, which a flow does not give it; train "
            "one with --condition none."
        )
    codec = FrozenVAE(packed.spec)
    codec.vae.load_state_dict(packed.tensors)
    chosen = rows[evenly_spaced_indices(len(rows), MAX_SCALE_IMAGES)]
    pixels = torch.from_numpy(images.take(chosen).pixels.copy())
    with torch.inference_mode():
        codec.mean, codec.std = measure_latents(codec, pixels)
    return dataclasses.replace(config, codec_spec=packed.spec), codec
