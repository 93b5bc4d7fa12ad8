"""Interfaces of model families and of the abilities that a model may have.

A family is a package in `pinxit.models`. Its `__init__` defines

    PUBLIC_NAME            the name of `Config` in `pinxit`: `pinxit.VAE`
    Config                 a frozen dataclass with the decorator `model_config`; the comment above
                           a field is its help text;
                           `Config.resolve(info)` returns one with every option chosen
    build(config, info)    the model: a torch module that is a `Model`
    export_parts(model)    its parts for other programs, see `pinxit.models.export_parts`
    ABILITIES              names in `pinxit.models.abilities`: what its models can do

and optionally

    prepare(config, info, images, rows, seed)
                           fits to the training images before the model is built: returns the
                           completed config, and tensors for the model's buffers (a palette, a text
                           tokenizer); a `Config` that names a run in one of `COMPONENTS` gets its
                           model too
    component(config, info)
                           the model that the configured one contains and that is trained first,
                           see `pinxit.models.components`; None if the config names its run
    variants()             configs that together have all `ABILITIES`, if the default lacks some
    DIRECTIONS             ability -> (source, target) that a model must be trained with
    USED_BY                what to do with a run that generates nothing by itself, for errors
    NEAR_KINDS             names of other kinds of models, to which this family is the nearest
    SUMMARY, EXAMPLES      first line and examples of `pinxit train FAMILY --help`
    default_keep(config)   weights that are saved by default: `best` (if not said) or `last`
    last_change(config)    fraction of training at which the loss changes last; 0 if it is not said
    learning_rate_factor(config)
                           of the default learning rate; 1 if it is not said
    max_cpu_batch(config)  upper bound of the default batch size on a CPU, or None

An ability is a protocol, checked with `isinstance` by the names of its members: a name has the
same meaning in all protocols. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from pinxit.data.batch import Batch, DatasetInfo
from pinxit.models.generation import GenerationParams
from pinxit.models.results import Elbo, LatentPosterior, Loss, ScoredText, TokenAttention

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import torch
    from jaxtyping import Bool, Float, Float32, Float64, Int64
    from torch import Tensor

    from pinxit.data.images import Images
    from pinxit.data.text_tokenizer import TextTokenizer


@runtime_checkable
class Model(Protocol):
    """A torch module that can be trained; `progress` runs from 0 to 1 over the training budget."""

    config: Any
    info: DatasetInfo

    @property
    def device(self) -> torch.device: ...
    def loss(self, batch: Batch, progress: float = 1.0) -> Loss: ...
    def parameters(self) -> Iterator[Any]: ...
    def state_dict(self) -> dict[str, Any]: ...


@runtime_checkable
class CanSample(Protocol):
    """Generates images; image i is a function of (seed, start + i) only."""

    def sample(
        self,
        n: int,
        params: GenerationParams | None = None,
        *,
        label: str | None = None,
        **options: Any,
    ) -> Images: ...


@runtime_checkable
class CanSampleStream(CanSample, Protocol):
    """`sample_stream` yields the images while they are generated, the complete ones last."""

    num_progress_steps: int  # how often it yields

    def sample_stream(
        self,
        n: int,
        params: GenerationParams | None = None,
        *,
        label: str | None = None,
        **options: Any,
    ) -> Iterator[Images]: ...


@runtime_checkable
class CanReconstruct(Protocol):
    """Encodes images and decodes them again; deterministic."""

    def reconstruct(self, images: Images) -> Images: ...


@runtime_checkable
class CanEncode(Protocol):
    """Encodes images to Gaussian latents, and decodes latents; deterministic.

    `encode` gives latents `[n, *latent_shape]`; `decode` takes these or `[n, latent_dim]`.
    """

    latent_dim: int
    latent_shape: tuple[int, ...]  # (latent_dim,), or (channel, row, column) of a grid

    def encode(self, images: Images) -> LatentPosterior: ...
    def decode(self, z: np.ndarray, labels: np.ndarray | None = None) -> Images: ...


@runtime_checkable
class CanInvert(Protocol):
    """Finds the noise that an image is generated from, `[n, *noise_shape]`; deterministic."""

    noise_shape: tuple[int, ...]

    def invert(self, images: Images) -> Float32[np.ndarray, "n channel row column"]: ...
    def from_noise(self, noise: np.ndarray) -> Images: ...


@runtime_checkable
class CanEmbed(Protocol):
    """Computes a feature vector per image, `[n, dim]` float32; deterministic."""

    def embed(self, images: Images) -> np.ndarray: ...


@runtime_checkable
class CanScore(Protocol):
    """Computes log p(x), or a lower bound of it, in nats per image `[n]`."""

    info: DatasetInfo
    eight_bit: bool  # over 8-bit values: bits per dimension are defined
    likelihood_description: str  # its variables, for the evaluation's protocol
    likelihood_is_exact: bool  # not a bound
    max_scored_images: int | None  # in an evaluation, by default; None: as many as usual

    def score(self, images: Images, *, samples: int = 1, seed: int = 0) -> np.ndarray: ...


@runtime_checkable
class CanComplete(Protocol):
    """Fills in the pixels where `mask` is True; other pixels are returned unchanged.

    Image i is a function of (seed, start + i), its own known pixels and its own mask.
    """

    patch_size: int  # in pixels; a patch is completed as a whole
    left_to_right: bool  # a patch depends on those before it in raster order only

    def complete(
        self,
        images: Images,
        mask: Bool[np.ndarray, "n height width"],
        params: GenerationParams | None = None,
        **options: Any,
    ) -> Images: ...


@runtime_checkable
class CanCompleteStream(CanComplete, Protocol):
    """`complete_stream` yields the images while they are completed."""

    def complete_stream(
        self,
        images: Images,
        mask: Bool[np.ndarray, "n height width"],
        params: GenerationParams | None = None,
        **options: Any,
    ) -> Iterator[Images]: ...


@runtime_checkable
class CanUnmask(CanComplete, Protocol):
    """Generates images by iterative unmasking: repeated completion."""

    def unmask(
        self, n: int, *, seed: int = 0, steps: int = 8, temperature: float = 0.5
    ) -> Images: ...


@runtime_checkable
class CanTokenize(Protocol):
    """Encodes images to grids of integers below `vocab_size`, and back; deterministic."""

    vocab_size: int

    def tokenize(self, images: Images) -> Int64[np.ndarray, "n rows columns"]: ...
    def detokenize(self, tokens: Int64[np.ndarray, "n rows columns"]) -> Images: ...


@runtime_checkable
class HasText(Protocol):
    """Reads or writes text in the languages of its training captions."""

    text_tokenizer: TextTokenizer
    max_text_tokens: int

    def truncate_text(self, text: str) -> str: ...


@runtime_checkable
class CanDraw(HasText, Protocol):
    """Generates an image per caption, a function of (seed, start + i) and the caption only.

    A `language` of None is detected from the text. `draw_stream` yields the images while they are
    generated, `num_progress_steps` times. `token_attention` is the attention of each cell of an
    image to each token of its caption.
    """

    num_progress_steps: int

    def draw(
        self,
        captions: Sequence[str],
        params: GenerationParams | None = None,
        *,
        language: str | None = None,
        **options: Any,
    ) -> Images: ...
    def draw_stream(
        self,
        captions: Sequence[str],
        params: GenerationParams | None = None,
        *,
        language: str | None = None,
        **options: Any,
    ) -> Iterator[Images]: ...
    def token_attention(
        self, images: Images, texts: Sequence[str], language: str
    ) -> list[list[TokenAttention]]: ...


@runtime_checkable
class CanEdit(HasText, Protocol):
    """Edits each image by its instruction; the default temperature is 0."""

    num_progress_steps: int

    def edit(
        self,
        images: Images,
        instructions: Sequence[str],
        params: GenerationParams | None = None,
        *,
        language: str | None = None,
        **options: Any,
    ) -> Images: ...
    def edit_stream(
        self,
        images: Images,
        instructions: Sequence[str],
        params: GenerationParams | None = None,
        *,
        language: str | None = None,
        **options: Any,
    ) -> Iterator[Images]: ...


@runtime_checkable
class CanCaption(HasText, Protocol):
    """Describes each image, best caption first: by beam search, or sampled at a `temperature`.

    `caption_log_prob` is log p(text|image) in nats of each image and its text,
    `caption_log_prob_matrix` of each image and every text. `token_attention` is the attention of
    each token of a text to each cell of its image. Raises UsageError for an unknown language.
    """

    info: DatasetInfo

    def caption(
        self,
        images: Images,
        params: GenerationParams | None = None,
        *,
        language: str | None = None,
        num_beams: int | None = None,
        num_captions: int = 1,
        length_penalty: float | None = None,
        **options: Any,
    ) -> list[list[ScoredText]]: ...
    def caption_log_prob(
        self, images: Images, texts: Sequence[str], languages: Sequence[str]
    ) -> Float32[np.ndarray, " n"]: ...
    def caption_log_prob_matrix(
        self, images: Images, texts: Sequence[str], language: str
    ) -> Float32[np.ndarray, "images texts"]: ...
    def token_attention(
        self, images: Images, texts: Sequence[str], language: str
    ) -> list[list[TokenAttention]]: ...


@runtime_checkable
class CanTranslate(HasText, Protocol):
    """Translates texts by beam search."""

    def translate(
        self,
        texts: Sequence[str],
        *,
        source: str,
        target: str,
        num_beams: int = 4,
        length_penalty: float = 0.6,
    ) -> list[ScoredText]: ...


@runtime_checkable
class HasELBO(Model, Protocol):
    """An ELBO with its terms, and importance weights log p(x, z) - log q(z|x).

    `seeds`, one per image, make the random numbers of an image its own; None: the global generator.
    With a `defensive_share` that part of the samples comes from wider distributions than q.
    """

    eight_bit: bool
    likelihood_description: str

    def observe(
        self, batch: Batch, seeds: Sequence[int] | None = None
    ) -> Float[Tensor, "batch channel height width"]: ...
    def elbo(
        self, x: Tensor, labels: Tensor | None, seeds: Sequence[int] | None = None
    ) -> Elbo: ...
    def log_weights(
        self,
        x: Tensor,
        labels: Tensor | None,
        samples: int,
        seeds: Sequence[int] | None = None,
        defensive_share: float = 0.0,
    ) -> Float[Tensor, "batch samples"]: ...


@runtime_checkable
class HasPrior(CanEncode, Protocol):
    """A prior z = f(u), u ~ N(0, I); f is the identity unless `prior_is_learned`, or on a sphere.

    `from_noise` is f and `to_noise` its inverse, for arrays `[n, latent]`. A learned f may scale
    and mix latents: what is said of single latents holds in u, where the prior is N(0, I).
    """

    prior_is_learned: bool

    def from_noise(self, noise: np.ndarray) -> np.ndarray: ...
    def to_noise(self, z: np.ndarray) -> np.ndarray: ...


@runtime_checkable
class HasLabels(Protocol):
    """`label_conditional`: whether the model is conditioned on labels."""

    info: DatasetInfo
    label_conditional: bool


@runtime_checkable
class HasPalette(Protocol):
    """Tokens may be palette indices; `palette_psnr` measures the palette alone, in dB per image.

    `palette_is_exact` for the training images; `holds_exactly` says it of each of other images.
    """

    palette_is_exact: bool

    def holds_exactly(self, images: Images) -> Bool[np.ndarray, " n"]: ...

    def palette_psnr(self, images: Images) -> Float64[np.ndarray, " n"]: ...


@runtime_checkable
class HasFrozenEncoder(Protocol):
    """A model of what a frozen encoder makes of pixels: `loss` reads it from `Batch.encoding`."""

    @property
    def frozen_encoder(self) -> Callable[[Tensor], Tensor] | None: ...


@runtime_checkable
class HasHiddenStates(Protocol):
    """Returns the means over positions of the first layer's input and each layer's output."""

    def hidden_states(self, images: Images) -> Float32[np.ndarray, "layers n width"]: ...
