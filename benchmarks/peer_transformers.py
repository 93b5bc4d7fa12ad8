"""The same networks in `transformers`, with our weights: to compare outputs and speed."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def vit_mae_of(model: Any) -> Any:
    """A ViTMAEForPreTraining that computes what our masked autoencoder of square images does.

    Its pixel values are ours less `centre`, by `scale`.
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
    first = ours["embedding.weight"].unflatten(
        1, (config.patch_size, config.patch_size, info.channels)
    )
    theirs = {
        "vit.embeddings.cls_token": ours["summary"][None, None],
        "vit.embeddings.patch_embeddings.projection.weight": first.permute(0, 3, 1, 2),
        "vit.embeddings.patch_embeddings.projection.bias": ours["embedding.bias"],
        "decoder.mask_token": ours["hole"][None, None],
        "vit.embeddings.position_embeddings": _with_class(model.places),
        "decoder.decoder_pos_embed": _with_class(model.decoder_places),
        **_linear("vit.layernorm", ours, "norm"),
        **_linear("decoder.decoder_embed", ours, "narrow"),
        **_linear("decoder.decoder_norm", ours, "decoder_norm"),
        **_linear("decoder.decoder_pred", ours, "head"),
    }
    for half, layers in (("encoder", "vit.layers"), ("decoder", "decoder.decoder_layers")):
        for number in range(len(getattr(model, half))):
            theirs |= _vit_layer(ours, f"{half}.{number}", f"{layers}.{number}")
    _load(peer, theirs)
    return peer


def image_gpt_of(model: Any) -> Any:
    """An ImageGPTForCausalImageModeling that gives our autoregressive iGPT's logits.

    Its first token is the number of colours, then ours but the last.
    """
    from transformers import ImageGPTConfig, ImageGPTForCausalImageModeling

    config, colors = model.config, len(model.palette)
    peer = ImageGPTForCausalImageModeling(
        ImageGPTConfig(
            vocab_size=colors + 1,
            n_positions=model.seq_len,
            n_embd=config.width,
            n_layer=config.depth,
            n_head=config.heads,
            activation_function=config.activation,
            layer_norm_epsilon=model.norm.eps,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
        )
    )
    import torch

    ours = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    theirs = {
        "transformer.wte.weight": torch.cat(
            (ours["embedding.weight"], ours["start.embedding.weight"][-1:])
        ),
        "transformer.wpe.weight": ours["places"],
        "transformer.ln_f.weight": ours["norm.weight"],
        "lm_head.weight": ours["head.weight"],
    }
    pairs = (("attn.c_attn", "attention.qkv"), ("attn.c_proj", "attention.out"))
    for number in range(len(model.layers)):
        us, them = f"layers.{number}", f"transformer.h.{number}"
        for norm in ("1", "2"):
            theirs[f"{them}.ln_{norm}.weight"] = ours[f"{us}.norm{norm}.weight"]
        for theirs_name, name in (*pairs, ("mlp.c_fc", "up"), ("mlp.c_proj", "down")):
            theirs[f"{them}.{theirs_name}.weight"] = ours[f"{us}.{name}.weight"].t()
            theirs[f"{them}.{theirs_name}.bias"] = ours[f"{us}.{name}.bias"]
    _load(peer, theirs, but="attn.bias")
    return peer


def _with_class(places: Tensor) -> Tensor:
    """Positions of the patches, and none of the class token before them."""
    import torch

    return torch.cat((torch.zeros_like(places[:1]), places))[None]


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


def _load(peer: Any, weights: dict[str, Tensor], but: str = "none") -> None:
    """Raises where a weight is left over on either side, save those whose names end in `but`."""
    missing, unknown = peer.load_state_dict(weights, strict=False)
    missing = [name for name in missing if not name.endswith(but)]
    if missing or unknown:
        raise RuntimeError(f"not the same network: {missing} and {unknown}")
