"""Sequence to sequence as a torch module: what is read, what is written, and the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from pinxit.data.batch import Batch, DatasetInfo
from pinxit.data.text_tokenizer import EOS, PAD, TextTokenizer
from pinxit.errors import UsageError
from pinxit.models.image_codecs import FrozenImageTokenizer, PaletteCodec
from pinxit.models.results import Loss
from pinxit.models.saved_state import TextTokenizerState
from pinxit.models.seq2seq.caption_batch import Said, _short
from pinxit.models.seq2seq.code_embeddings import Around, Vectors
from pinxit.models.seq2seq.config import Config
from pinxit.models.seq2seq.sources import PLACED, Hidden, Logits, Pixels, Read, Tokens
from pinxit.models.seq2seq.targets import _codes_of
from pinxit.nn.attention import CrossKV
from pinxit.nn.positions import RotaryCache, axial_rotary_cache, rotary_cache, sincos_2d_pos_embed
from pinxit.nn.transformer import Block, DecoderBlock


class Seq2Seq(nn.Module):
    """An encoder of the source, a decoder of the target. Subclasses add what a direction can do."""

    head: nn.Module
    read_turns: Tensor  # rotary positions of what is read, words and then an image
    turns: Tensor  # and of what is written: cosines and sines, `[2, length, half]`
    beside: nn.Linear | None
    codes: PaletteCodec | FrozenImageTokenizer | None
    source_grid: tuple[int, int]  # rows and columns of the image that is read

    def __init__(self, config: Config, info: DatasetInfo) -> None:
        super().__init__()
        assert config.width and config.heads and config.patch_size, "a resolved configuration"
        self.config, self.info = config, info
        width = config.width
        self.kept = TextTokenizerState(info.languages)
        self.length = (config.max_text_tokens or 1) + 2  # a language's mark, and the end
        self.codes = _codes_of(config, info) if config.has_codes else None
        self.reads_words = config.source != "image"
        self.reads_image = config.source != "text"
        self.paints = config.target == "image"
        self.vocab_size = 2 + len(info.languages) + config.vocab_size  # of words
        if self.reads_words or not self.paints:
            self.word = nn.Embedding(self.vocab_size, width)
        turned = []
        if self.reads_words:
            self.word_places = nn.Parameter(torch.empty(self.length, width))
            turned.append(torch.stack(rotary_cache(self.length, width // config.heads)))
        if self.reads_image:
            turned.append(
                torch.stack(axial_rotary_cache(*self._image_in(width), width // config.heads))
            )
        self.register_buffer("read_turns", torch.cat(turned, 1), persistent=False)
        self.encoder = nn.ModuleList(Block(width, config.heads) for _ in range(config.depth))
        self.encoder_norm = nn.LayerNorm(width)
        self.beside = None
        if self.paints:
            assert self.codes is not None and config.palette_size
            self.steps = self.codes.grid[0] * self.codes.grid[1]
            self.around = Around(
                config.palette_size, config.fsq_levels or (), self.codes.grid, width
            )
            self.head = Vectors(config.palette_size, config.fsq_levels or (), width)
            turns = axial_rotary_cache(*self.codes.grid, width // config.heads)
            if self.reads_image and len(self.image_places) == self.steps:  # place by place
                self.beside = nn.Linear(width, width)
        else:
            self.steps = self.length - 1
            self.head = nn.Linear(width, self.vocab_size, bias=False)
            turns = rotary_cache(self.steps, width // config.heads)
        self.register_buffer("turns", torch.stack(turns), persistent=False)
        self.places = nn.Parameter(torch.empty(self.steps, width))
        self.decoder = nn.ModuleList(
            DecoderBlock(width, config.heads) for _ in range(config.decoder_depth)
        )
        self.norm = nn.LayerNorm(width)
        self.drop = nn.Dropout(config.dropout)
        self._begin()

    def _image_in(self, width: int) -> tuple[int, int]:
        """What reads an image: patches, or codes. Returns their rows and columns."""
        config, info, side = self.config, self.info, self.config.patch_size or 1
        if config.source_encoding == "codes":
            assert self.codes is not None and config.palette_size
            grid = self.codes.grid
            self.code_in = Vectors(config.palette_size, config.fsq_levels or (), width)
        else:
            grid = info.height // side, info.width // side
            self.patch_in = nn.Linear(info.channels * side**2, width)
        self.source_grid = grid
        self.image_places = nn.Parameter(torch.empty(grid[0] * grid[1], width))
        return grid

    def _begin(self) -> None:
        """Normal weights of deviation 0.02 (Radford 2019), biases of 0."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        for name, parameter in self.named_parameters():
            if name.endswith("places"):
                nn.init.normal_(parameter, std=0.02)
        if self.reads_image:  # which of two things is further left is hard to learn from noise
            with torch.no_grad():
                waves = PLACED * sincos_2d_pos_embed(*self.source_grid, self.image_places.shape[1])
                self.image_places[:, : waves.shape[1]] = waves  # of a width in fours, all

    @property
    def text_tokenizer(self) -> TextTokenizer:
        """The pieces and languages of its captions."""
        return self.kept.tokenizer

    @property
    def max_text_tokens(self) -> int:
        """Tokens that a text may have."""
        return self.length - 2

    def truncate_text(self, text: str) -> str:
        """As many of the text's first words as the model reads."""
        text = " ".join(text.split()) or "?"
        text = text[: 40 * self.max_text_tokens]
        while len(self.text_tokenizer.encode(text)) > self.max_text_tokens:
            shorter = text[: int(len(text) * 0.9)]
            text = shorter.rsplit(" ", 1)[0] if " " in shorter else shorter
        return text

    # -- words ---------------------------------------------------------------------------------

    def tokens_of(
        self, texts: Sequence[str | None], languages: Sequence[str], cut: bool = False
    ) -> Tokens:
        """Texts as `mark, pieces, EOS`, padded to the longest; None is `EOS` alone: no words.

        Raises UsageError for a text that is too long, unless it may be cut.
        """
        most, rows = self.length - 2, []
        for text, language in zip(texts, languages, strict=True):
            found = [] if text is None else self.text_tokenizer.encode(text)
            if len(found) > most and not cut:
                raise UsageError(
                    f"this text has {len(found)} pieces of words and the model reads {most}: "
                    f"'{_short(text or '')}'. Say it in fewer words."
                )
            mark = [] if text is None else [self.text_tokenizer.language_token(language)]
            rows.append([*mark, *found[:most], EOS])
        longest = max(map(len, rows))
        padded = [row + [PAD] * (longest - len(row)) for row in rows]
        return torch.tensor(padded, device=self.device)

    # -- the equations -------------------------------------------------------------------------

    def read(self, words: Tokens | None, pixels: Pixels | None) -> Read:
        """The source through the encoder: words, an image, or words and then an image."""
        parts, seen, turns = [], [], self.read_turns
        if words is not None:
            length = words.shape[1]
            parts.append(self.word(words) + self.word_places[:length])
            seen.append(words != PAD)
            turns = torch.cat((turns[:, :length], turns[:, self.length :]), 1)
        if pixels is not None:
            h = self._patches(pixels) + self.image_places
            parts.append(h)
            seen.append(torch.ones(h.shape[:2], dtype=torch.bool, device=h.device))
        h, mask = torch.cat(parts, 1), torch.cat(seen, 1)
        for layer in self.encoder:
            h = self.drop(layer(h, rotary=(turns[0], turns[1]), key_mask=mask))
        return Read(self.encoder_norm(h), mask)

    def _patches(self, pixels: Pixels) -> Hidden:
        if self.config.source_encoding == "codes":
            assert self.codes is not None
            return F.embedding(self.codes.encode(pixels), self.code_in()[0])
        side = self.config.patch_size
        x = (pixels.float() / 255 - self.info.mean) / max(self.info.std, 0.05)
        return self.patch_in(rearrange(x, "b (h p) (w q) c -> b (h w) (p q c)", p=side, q=side))

    def sources(self, read: Read) -> list[CrossKV]:
        """Each decoder layer's keys and values of the source: computed once for all tokens."""
        return [layer.cross.project_source(read.hidden, read.seen) for layer in self._layers]

    @property
    def _layers(self) -> list[DecoderBlock]:
        return list(self.decoder)  # type: ignore[arg-type]

    def entered(self, before: Tokens) -> Hidden:
        """What the decoder sees: of an image the codes around each place that come before it; of
        words these, the language's mark being the first."""
        h = self.around(before) if self.paints else self.word(before)
        return h + self.places[: h.shape[1]]

    def beside_of(self, read: Read) -> Hidden | None:
        """Of an image read in as many patches as codes are painted: what stood at each place,
        so that what an edit keeps need not be looked for."""
        return self.beside(read.hidden[:, -self.steps :]) if self.beside is not None else None

    def turned(self, since: int, end: int) -> RotaryCache:
        """The rotary positions of places of the target."""
        return self.turns[0, since:end], self.turns[1, since:end]

    def _places(self, read: Read, before: Tokens) -> tuple[Hidden, RotaryCache]:
        h, beside = self.entered(before), self.beside_of(read)
        if beside is not None:
            h = h + beside[:, : h.shape[1]]
        return h, self.turned(0, h.shape[1])

    def logits(self, read: Read, before: Tokens) -> Logits:
        """Scores of the token at each place, from those before it and all of the source."""
        h, turn = self._places(read, before)
        for layer, source in zip(self._layers, self.sources(read), strict=True):
            h = self.drop(layer(h, source, turn))
        h = self.norm(h)
        return h @ self.head()[0].T if self.paints else self.head(h)

    def looking(self, read: Read, before: Tokens) -> Float[Tensor, "batch length source"]:
        """Where in the source each place looks: cross-attention, its mean over layers and heads."""
        (h, turn), found = self._places(read, before), []
        for layer, source in zip(self._layers, self.sources(read), strict=True):
            found.append(layer.cross_attention_map(h, source, turn).mean(1))
            h = layer(h, source, turn)
        return torch.stack(found).mean(0)

    def loss(self, batch: Batch, progress: float = 1.0) -> Loss:
        """-log p(target given source), teacher-forced: nats an image, or nats a caption."""
        said, other = self._chosen(batch.captions, len(batch))
        words = None
        if self.reads_words:
            words = self.tokens_of(self._hidden_some(said.texts), said.languages, cut=True)
        pixels = (batch.before if self.reads_words else batch.pixels) if self.reads_image else None
        read = self.read(words, pixels)
        if self.paints:
            return self._painting_loss(read, batch.pixels)
        told = other if self.reads_words else said
        return self._wording_loss(read, self.tokens_of(told.texts, told.languages, cut=True))

    def _painting_loss(self, read: Read, pixels: Pixels) -> Loss:
        assert self.codes is not None
        codes = self.codes.encode(pixels)
        scores = self.logits(read, codes[:, :-1]).float()
        nll = F.cross_entropy(scores.flatten(0, 1), codes.flatten()) * self.steps
        return Loss(nll, {"nll": nll.detach()})

    def _wording_loss(self, read: Read, tokens: Tokens) -> Loss:
        scores, due = self.logits(read, tokens[:, :-1]).float(), tokens[:, 1:].clone()
        due[tokens[:, 0] == EOS] = PAD  # an image without words teaches none
        each = F.cross_entropy(
            scores.flatten(0, 1), due.flatten(), ignore_index=PAD, reduction="sum"
        )
        nll = each / len(tokens)
        count = (due != PAD).sum().clamp(min=1)
        parts = {"nll": nll.detach(), "nll_per_piece": (each / count).detach()}
        return Loss(nll, parts, "nats per caption")

    def _chosen(self, captions: Mapping[str, Sequence[str]], rows: int) -> tuple[Said, Said]:
        """For each image a caption of chance among its languages, and one in another of them."""
        if not captions:
            raise UsageError("these images have no captions to learn from.")
        chance = torch.rand(rows, 2).tolist()
        first, second = Said([], []), Said([], [])
        for i, (a, b) in enumerate(chance):
            has = [
                name
                for name in captions
                if name in self.text_tokenizer.languages and captions[name][i]
            ]
            one = has[int(a * len(has))] if has else None
            rest = [name for name in has if name != one]
            another = rest[int(b * len(rest))] if rest else None
            for said, name in ((first, one), (second, another)):
                said.texts.append(None if name is None else captions[name][i])
                said.languages.append(name or self.text_tokenizer.languages[0])
        return first, second

    def _hidden_some(self, texts: list[str | None]) -> list[str | None]:
        """In training, words are hidden now and then: what is then painted guides (Ho 2022)."""
        if not (self.training and self.paints):
            return texts
        hidden = (torch.rand(len(texts)) < self.config.caption_dropout).tolist()
        return [None if gone else text for text, gone in zip(texts, hidden, strict=True)]

    @property
    def device(self) -> Any:
        return next(self.parameters()).device
