"""The same networks in `transformers` with the weights of ours, to compare outputs and speed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def to_vit_mae(model: Any) -> Any:
    """Return a ViTMAEForPreTraining with the weights of a masked autoencoder of square images.

    Its `pixel_values` are pixels from 0 to 1, standardized by `model.mean` and `model.std`.
    """
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    config, info = model.config, model.info
    peer = ViTMAEForPreTraining(
        ViTMAEConfig(
            image_size=info.height,
            patch_size=config.patch_size,
            num_channels=info.channels,
            hidden_size=config.width,
            num_hidden_layers=config.depth,
            num_attention_heads=config.heads,
            intermediate_size=4 * config.width,
            decoder_hidden_size=config.decoder_width,
            decoder_num_hidden_layers=config.decoder_depth,
            decoder_num_attention_heads=config.decoder_heads,
            decoder_intermediate_size=4 * config.decoder_width,
            mask_ratio=config.mask_ratio,
            norm_pix_loss=config.norm_pix_loss,
            layer_norm_eps=model.norm.eps,
        )
    )
    ours = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    patch_embed = ours["patch_embed.weight"].unflatten(
        1, (config.patch_size, config.patch_size, info.channels)
    )
    theirs = {
        "vit.embeddings.cls_token": ours["cls_token"][None, None],
        "vit.embeddings.patch_embeddings.projection.weight": patch_embed.permute(0, 3, 1, 2),
        "vit.embeddings.patch_embeddings.projection.bias": ours["patch_embed.bias"],
        "decoder.mask_token": ours["mask_token"][None, None],
        "vit.embeddings.position_embeddings": _with_cls_position(model.pos_embed),
        "decoder.decoder_pos_embed": _with_cls_position(model.decoder_pos_embed),
        **_linear("vit.layernorm", ours, "norm"),
        **_linear("decoder.decoder_embed", ours, "decoder_embed"),
        **_linear("decoder.decoder_norm", ours, "decoder_norm"),
        **_linear("decoder.decoder_pred", ours, "head"),
    }
    for i in range(config.depth):
        theirs |= _vit_layer(ours, f"encoder.{i}", f"vit.layers.{i}")
    for i in range(config.decoder_depth):
        theirs |= _vit_layer(ours, f"decoder.{i}", f"decoder.decoder_layers.{i}")
    _load(peer, theirs)
    return peer


def to_image_gpt(model: Any) -> Any:
    """Return an ImageGPTForCausalImageModeling with the weights of an autoregressive iGPT.

    Its `input_ids` are the start token (the palette size), then the image's tokens but the last.
    """
    from transformers import ImageGPTConfig, ImageGPTForCausalImageModeling

    config, network, palette_size = model.config, model.network, model.codec.num_codes
    peer = ImageGPTForCausalImageModeling(
        ImageGPTConfig(
            vocab_size=palette_size + 1,
            n_positions=network.seq_len,
            n_embd=config.width,
            n_layer=config.depth,
            n_head=config.heads,
            activation_function=config.activation,
            layer_norm_epsilon=network.norm.eps,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
        )
    )
    ours = {name: tensor.detach() for name, tensor in network.state_dict().items()}
    theirs = {
        "transformer.wte.weight": torch.cat(
            (ours["token_embed.weight"], ours["start_token.embedding.weight"][-1:])
        ),
        "transformer.wpe.weight": ours["pos_embed"],
        "transformer.ln_f.weight": ours["norm.weight"],
        "lm_head.weight": ours["head.weight"],
    }
    linear_layers = (
        ("attn.c_attn", "attention.qkv"),
        ("attn.c_proj", "attention.out"),
        ("mlp.c_fc", "up"),
        ("mlp.c_proj", "down"),
    )
    for i in range(config.depth):
        us, them = f"layers.{i}", f"transformer.h.{i}"
        for norm in ("1", "2"):
            theirs[f"{them}.ln_{norm}.weight"] = ours[f"{us}.norm{norm}.weight"]
        for their_name, name in linear_layers:
            theirs[f"{them}.{their_name}.weight"] = ours[f"{us}.{name}.weight"].t()
            theirs[f"{them}.{their_name}.bias"] = ours[f"{us}.{name}.bias"]
    _load(peer, theirs, ignore_suffix="attn.bias")
    return peer


def _with_cls_position(pos_embed: Tensor) -> Tensor:
    """Prepend zeros: the class token has no positional embedding."""
    return torch.cat((torch.zeros_like(pos_embed[:1]), pos_embed))[None]


def _linear(them: str, ours: dict[str, Tensor], us: str) -> dict[str, Tensor]:
    return {f"{them}.{kind}": ours[f"{us}.{kind}"] for kind in ("weight", "bias")}


def _vit_layer(ours: dict[str, Tensor], us: str, them: str) -> dict[str, Tensor]:
    theirs = {
        **_linear(f"{them}.layernorm_before", ours, f"{us}.norm1"),
        **_linear(f"{them}.layernorm_after", ours, f"{us}.norm2"),
        **_linear(f"{them}.attention.o_proj", ours, f"{us}.attention.out"),
        **_linear(f"{them}.mlp.fc1", ours, f"{us}.up"),
        **_linear(f"{them}.mlp.fc2", ours, f"{us}.down"),
    }
    for kind in ("weight", "bias"):
        parts = ours[f"{us}.attention.qkv.{kind}"].chunk(3)
        for name, part in zip("qkv", parts, strict=True):
            theirs[f"{them}.attention.{name}_proj.{kind}"] = part
    return theirs


def _load(peer: Any, weights: dict[str, Tensor], ignore_suffix: str | None = None) -> None:
    """Load weights. Raises RuntimeError for missing or unknown ones.

    Missing weights whose names end in `ignore_suffix` are ignored.
    """
    missing, unknown = peer.load_state_dict(weights, strict=False)
    if ignore_suffix:
        missing = [name for name in missing if not name.endswith(ignore_suffix)]
    if missing or unknown:
        raise RuntimeError(f"the networks differ: missing {missing}, unknown {unknown}")
