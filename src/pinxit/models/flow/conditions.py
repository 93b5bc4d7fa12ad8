"""What an image is generated from, as inputs of the network: a label, cluster or caption."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Int64
from torch import Tensor, nn

from pinxit.data.batch import NUM_AMOUNTS, Batch, DatasetInfo
from pinxit.data.special_tokens import PAD
from pinxit.models.caption_batch import (
    CaptionBatch,
    drop_captions,
    sample_captions,
    sample_training_texts,
)
from pinxit.models.flow.config import Config
from pinxit.models.flow.network import Condition, FlowTransformer, WordEncoder
from pinxit.models.flow.tasks import Rows
from pinxit.models.generation import GenerationParams
from pinxit.models.saved_state import JsonState, json_to_tensor
from pinxit.models.text_embedding import TextEmbedding, Tokens
from pinxit.nn.layers import LabelEmbedding, drop_labels, set_label_dropout, zero_init
from pinxit.nn.rng import mix_seed, per_image_seeds, per_image_uniform

# at least, of captions or labels of images that are visible in part: also where no others are
# dropped, since `complete` gives none
VISIBLE_DROPOUT = 0.5

ConditionOf = Callable[[Rows], Condition]  # from rows to their conditions
EXAMPLE = -2  # mixed into an image's seed: chooses the training image whose condition it has


def example_uniforms(n: int, params: GenerationParams) -> list[float]:
    """Return a uniform number from 0 to 1 for each image, by its seed, that chooses an example."""
    seeds = [mix_seed(seed, EXAMPLE) for seed in per_image_seeds(params.seed, n, params.start)]
    return per_image_uniform(n, 1, seeds)[:, 0, 0].tolist()


class CaptionReader(nn.Module):
    """Reads captions: the words for attention, and their mean for the layer norms."""

    def __init__(self, config: Config, info: DatasetInfo) -> None:
        super().__init__()
        assert config.width and config.heads and config.max_text_tokens, "a resolved configuration"
        self.text = TextEmbedding(
            info.languages, config.vocab_size, config.max_text_tokens, config.width
        )
        nn.init.normal_(self.text.token_embed.weight, std=0.02)
        self.encoder = WordEncoder(config.width, config.heads, config.text_depth)
        self.to_vector = nn.Linear(config.width, config.width)

    def forward(self, tokens: Tokens, network: FlowTransformer) -> Condition:
        mask = tokens != PAD
        words = self.encoder(self.text.token_embed(tokens), mask)
        mean = (words * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return Condition(self.to_vector(mean), network.project_words(words), mask)


def _complete_older_state(_: nn.Module, state: dict[str, Tensor], prefix: str, *_args: Any) -> None:
    """Complete the weights of runs without examples, and with fewer kinds of augmentation."""
    state.setdefault(f"{prefix}examples._extra_state", json_to_tensor([]))
    name = f"{prefix}augmentation.weight"
    if name in state:
        state[name] = F.pad(state[name], (0, NUM_AMOUNTS - state[name].shape[1]))


class ConditionEncoder(nn.Module):
    """The condition of a batch, of labels, of texts, or of nothing."""

    zero: Tensor

    def __init__(self, config: Config, info: DatasetInfo) -> None:
        super().__init__()
        assert config.width, "a resolved configuration"
        self.config = config
        self.register_buffer("zero", torch.zeros(config.width), persistent=False)
        self.labels = None
        if config.condition in ("label", "cluster"):
            num_labels = config.num_clusters or len(info.label_names)
            self.labels = LabelEmbedding(num_labels, config.width)
            # of images that are visible in part labels are dropped in any case
            set_label_dropout(self.labels, max(config.caption_dropout, config.mask_share or 0.0))
        self.captions = CaptionReader(config, info) if config.condition == "text" else None
        self.augmentation = zero_init(nn.Linear(NUM_AMOUNTS, config.width, bias=False))
        # labels, clusters, or captions with their languages, of training images: from these it
        # samples
        self.examples = JsonState([])
        self.register_load_state_dict_pre_hook(_complete_older_state)

    def of_batch(
        self, batch: Batch, network: FlowTransformer, *, training: bool, num_visible: int = 0
    ) -> Condition:
        """Return the condition of a batch; in training some captions or labels are dropped.

        More are of the first `num_visible` images, which are visible in part: `complete` has only
        that. The condition also says how the images were changed (Karras 2022, app. F.2): without,
        none was.
        """
        # texts are dropped on the host, labels on the device
        device = "cpu" if self.captions is not None else self.zero.device
        share = self.config.caption_dropout if training else 0.0
        dropout = torch.full((len(batch),), share, device=device)
        if training:
            dropout[:num_visible].clamp_(min=VISIBLE_DROPOUT)
        condition = self._content_of_batch(batch, network, dropout, training=training)
        amounts = batch.augmentation
        if amounts is None:  # not left out: every parameter is used in every process
            amounts = self.zero.new_zeros(len(batch), NUM_AMOUNTS)
        return condition._replace(vector=condition.vector + self.augmentation(amounts))

    def _content_of_batch(
        self, batch: Batch, network: FlowTransformer, dropout: Tensor, *, training: bool
    ) -> Condition:
        if self.captions is not None:
            texts, languages = self._sample_texts(batch, self.captions.text, training=training)
            texts = drop_captions(texts, dropout) if training else texts
            return self.of_texts(texts, languages, network)
        return self.of_labels(drop_labels(batch.labels, dropout, training), len(batch))

    def _sample_texts(self, batch: Batch, text: TextEmbedding, *, training: bool) -> CaptionBatch:
        """Return a text of each image: in evaluation a caption, which no keyword is added to."""
        if training and self.config.reads_keywords:
            share = self.config.keyword_share
            return sample_training_texts(batch, text.tokenizer, text.max_text_tokens, share)
        return sample_captions(batch, text.tokenizer.languages)[0]

    def of_texts(
        self,
        texts: Sequence[str | None],
        languages: Sequence[str],
        network: FlowTransformer,
        length: int = 0,
    ) -> Condition:
        """Return the condition of texts, padded to at least `length` tokens; None is no text."""
        assert self.captions is not None, "a model of captions"
        tokens = self.captions.text.tokenize(texts, languages, truncate=True)
        tokens = F.pad(tokens, (0, max(0, length - tokens.shape[1])), value=PAD)
        return self.captions(tokens, network)

    def of_labels(self, labels: Int64[Tensor, " n"] | None, n: int) -> Condition:
        """Return the condition of labels; below 0 or None: no label."""
        if self.labels is None:
            return Condition(self.zero.expand(n, -1))
        return Condition(self.labels(labels, n))

    def of_nothing(self, n: int, network: FlowTransformer) -> Condition:
        """Return the condition of n images that are generated from nothing."""
        if self.captions is not None:
            language = self.captions.text.tokenizer.default_language
            return self.of_texts([None] * n, [language] * n, network)
        return self.of_labels(None, n)

    def of_examples(self, uniforms: Sequence[float], network: FlowTransformer) -> ConditionOf:
        """Return the conditions of training images: samples are then of p(x) = E_c[p(x | c)].

        Each uniform number from 0 to 1 chooses one. Better than "nothing", which the network has
        learned from few captions that were dropped.
        """
        chosen = self.choose_examples(uniforms)
        if not chosen:
            return lambda rows: self.of_nothing(len(rows), network)
        if self.captions is None:
            return self.of_label_rows(torch.tensor(chosen))
        texts, languages = (list(column) for column in zip(*chosen, strict=True))
        return self.of_text_rows(CaptionBatch(texts, languages), network)

    def choose_examples(self, uniforms: Sequence[float]) -> list[Any]:
        """Return a label, a cluster or a caption with its language for each; [] without any."""
        examples = self.examples.record
        return [examples[int(u * len(examples))] for u in uniforms] if examples else []

    def of_label_rows(self, labels: Int64[Tensor, " n"]) -> ConditionOf:
        """Return the function from rows to the conditions of their labels."""
        return lambda rows: self.of_labels(labels[rows].to(self.zero.device), len(rows))

    def of_text_rows(self, captions: CaptionBatch, network: FlowTransformer) -> ConditionOf:
        """Return the function from rows to the conditions of their texts.

        Several are padded to the same length always, so that an image is the same bit for bit,
        whatever is drawn beside it.
        """
        assert self.captions is not None, "a model of captions"
        max_length = self.captions.text.max_text_tokens + 2  # with the language and the end

        def condition_of(rows: Rows) -> Condition:
            texts, languages = ([column[i] for i in rows.tolist()] for column in captions)
            length = max_length if len(rows) > 1 else 0
            return self.of_texts(texts, languages, network, length)

        return condition_of
