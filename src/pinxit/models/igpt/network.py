"""The transformer over image tokens: embeddings, layers, head, and the likelihood of tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from pinxit.models.igpt.config import Config
from pinxit.nn.layers import LabelEmbedding
from pinxit.nn.positions import RotaryCache, rotary_cache
from pinxit.nn.transformer import Block, build_norm

Tokens = Int64[Tensor, "batch tokens"]
Labels = Int64[Tensor, " batch"] | None
Mask = Bool[Tensor, "batch tokens"]  # True: masked
Hidden = Float[Tensor, "batch tokens width"]
Logits = Float[Tensor, "batch tokens vocab"]

INIT_STD = 0.02


class TokenTransformer(nn.Module):
    """A pre-norm transformer over `rows` x `columns` tokens in raster order.

    Causal: position t sees the start token (or the label) and the tokens before t. Otherwise it
    sees all tokens that are not masked.
    """

    def __init__(
        self, config: Config, rows: int, columns: int, vocab_size: int, num_classes: int
    ) -> None:
        super().__init__()
        assert config.width and config.depth and config.heads, "a resolved configuration"
        width = config.width
        self.rows, self.columns, self.seq_len = rows, columns, rows * columns
        self.causal = config.objective == "autoregressive"
        self.quick_gelu = config.activation == "quick_gelu"
        self.num_heads, self.head_dim = config.heads, width // config.heads
        learned = config.pos_embed == "learned"
        self.token_embed = nn.Embedding(vocab_size, width)
        self.pos_embed = nn.Parameter(torch.empty(self.seq_len, width)) if learned else None
        self.start_token = LabelEmbedding(num_classes, width)  # without a label: one vector
        self.mask_token = None if self.causal else nn.Parameter(torch.empty(width))
        self.layers = nn.ModuleList(
            Block(width, config.heads, 4.0, config.norm, config.activation)
            for _ in range(config.depth)
        )
        self.norm = build_norm(config.norm, width)
        self.head = nn.Linear(width, vocab_size, bias=False)
        self.dropout = nn.Dropout(config.dropout)
        self.init_weights()

    def init_weights(self) -> None:
        """Normal weights; smaller in the last layer of each residual branch (Radford 2019)."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=INIT_STD)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        for parameter in (self.pos_embed, self.mask_token):
            if parameter is not None:
                nn.init.normal_(parameter, std=INIT_STD)
        for layer in self.layers:
            assert isinstance(layer, Block)
            for last in (layer.attention.out, layer.down):
                nn.init.normal_(last.weight, std=INIT_STD / math.sqrt(2 * len(self.layers)))

    def logits(self, tokens: Tokens, labels: Labels = None, mask: Mask | None = None) -> Logits:
        """Return logits for each position; with `mask`, without the masked tokens' information."""
        return self.head(self.norm(self.forward_hidden(tokens, labels, mask)))

    def forward_hidden(
        self, tokens: Tokens, labels: Labels = None, mask: Mask | None = None
    ) -> Hidden:
        """Return the output of the last layer, before the final norm."""
        outputs = self.layer_outputs(tokens, labels, mask)
        h = next(outputs)
        for output in outputs:
            h = output
        return h

    def layer_outputs(
        self, tokens: Tokens, labels: Labels = None, mask: Mask | None = None
    ) -> Iterator[Hidden]:
        """Yield the input of the first layer, then the output of each layer."""
        h, rotary = self.embed_inputs(tokens, labels, mask), self.rotary()
        yield h
        for layer in self.layers:
            h = self.dropout(layer(h, self.causal, rotary))
            yield h

    def embed_inputs(
        self, tokens: Tokens, labels: Labels = None, mask: Mask | None = None
    ) -> Hidden:
        """Return the input of the first layer.

        Causal: the start token, then all tokens but the last. Otherwise each token, or the mask
        token in its place, plus the start token's vector.
        """
        start = self.start_token(labels, tokens.shape[0])[:, None]
        if self.causal:
            h = torch.cat((start, self.token_embed(tokens[:, :-1])), 1)
        else:
            assert self.mask_token is not None
            h = self.token_embed(tokens)
            if mask is not None:
                h = torch.where(mask[..., None], self.mask_token.to(h.dtype), h)
            h = h + start
        return h if self.pos_embed is None else h + self.pos_embed

    def rotary(self) -> RotaryCache | None:
        """Return cosines and sines of rotary positions; None with learned embeddings."""
        if self.pos_embed is not None:
            return None
        return rotary_cache(self.seq_len, self.head_dim, device=self.device)

    def log_likelihood(self, tokens: Tokens, labels: Labels = None) -> Float[Tensor, " batch"]:
        """Return the sum over t of log p(x_t | x_1 .. x_(t-1)), in nats (causal only)."""
        assert self.causal
        log_p = self.logits(tokens, labels).float().log_softmax(-1)
        return log_p.gather(-1, tokens[..., None])[..., 0].sum(1)

    @property
    def device(self) -> torch.device:
        return self.head.weight.device
