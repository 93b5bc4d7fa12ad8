"""What every family is, and the abilities that a family may have.

A family's module has
    `Config`                 a frozen dataclass; a comment beside a field is its help text;
                             `Config.resolve(info)` gives one with every open choice made
    `build(config, info)`   the model: a torch module that is a `Model`
    `ABILITIES`              names of the protocols below that its model has
and, where it must look at the images themselves before it is built (a palette, say),
    `prepare(config, info, images, rows, seed)`   the resolved configuration once more, and
                             tensors for buffers of the model; `rows` are the training images.
                             A `Config` with `tokens` is given that run's model as `tokenizer`
    `variants()`             configurations between them able to do all of `ABILITIES`, where one
                             is not; and `DIRECTIONS`, each ability's source and target

Abilities have distinct names, since a run-time check of a protocol sees names only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import (
    TYPE_CHECKING,
    Any,
    NamedTuple,
    Protocol,
    TypedDict,
    Unpack,
    runtime_checkable,
)

from pinxit.data.batch import Batch, DatasetInfo
from pinxit.errors import PinxitError
from pinxit.nn.rng import Seed

if TYPE_CHECKING:
    import numpy as np
    import torch
    from jaxtyping import Bool, Float, Float32, Float64, Int64
    from torch import Tensor

    from pinxit.data.images import Images


class Loss(NamedTuple):
    """The scalar to minimise, and its parts under the paper's names, in `unit`."""

    total: Tensor  # scalar
    parts: dict[str, Tensor]  # scalars, detached
    unit: str = "nats per image"


class Posterior(NamedTuple):
    """The diagonal Gaussian q(z given x) of each image."""

    mean: Float32[np.ndarray, "n latent"]
    std: Float32[np.ndarray, "n latent"]


class Elbo(NamedTuple):
    """The two terms of the evidence lower bound, one number each image, in nats."""

    distortion: Float[Tensor, " batch"]  # -log p(x given z)
    rate: Float[Tensor, "batch latent"]  # KL(q(z given x) to p(z)), by latent


class ImportanceEstimate(NamedTuple):
    """log p(x) by importance sampling (Burda 2015, eq. 8), one float64 number each image."""

    log_likelihood: Float64[Tensor, " batch"]  # log-mean-exp of the weights, nats
    error: Float64[Tensor, " batch"]  # its Monte Carlo standard error, nats
    effective: Float64[Tensor, " batch"]  # effective samples, (sum w)^2 / sum w^2


@runtime_checkable
class Model(Protocol):
    """A torch module that can be trained; `progress` runs from 0 to 1 over the training budget."""

    config: Any
    info: DatasetInfo

    def loss(self, batch: Batch, progress: float = 1.0) -> Loss: ...
    def parameters(self) -> Iterator[Any]: ...
    def state_dict(self) -> dict[str, Any]: ...


@runtime_checkable
class CanSample(Protocol):
    """New images out of nothing; image i of a seed does not depend on how many are drawn."""

    def sample(
        self, n: int, *, seed: Seed = 0, temperature: float = 1.0, label: str | None = None
    ) -> Images: ...


@runtime_checkable
class CanReconstruct(Protocol):
    """Images through the model's bottleneck and back; deterministic."""

    def reconstruct(self, images: Images) -> Images: ...


@runtime_checkable
class CanEncode(Protocol):
    """Images to Gaussian latents and latents `[n, latent]` to images; deterministic."""

    def encode(self, images: Images) -> Posterior: ...
    def decode(self, z: np.ndarray, labels: np.ndarray | None = None) -> Images: ...


@runtime_checkable
class CanEmbed(Protocol):
    """One vector an image, `[n, dim]` float32; deterministic."""

    def embed(self, images: Images) -> np.ndarray: ...


@runtime_checkable
class CanScore(Protocol):
    """log p(x), or a lower bound of it, in nats for each image `[n]`; higher is more usual."""

    def score(self, images: Images, *, samples: int = 1, seed: int = 0) -> np.ndarray: ...


@runtime_checkable
class CanComplete(Protocol):
    """Images whose `missing` pixels are painted anew; all others come back as they were.

    Image i is a function of (seed, i), itself and its mask alone.
    """

    def complete(
        self,
        images: Images,
        missing: Bool[np.ndarray, "n height width"],
        *,
        seed: Seed = 0,
        temperature: float = 1.0,
    ) -> Images: ...


@runtime_checkable
class CanTokenize(Protocol):
    """Images to a grid of integers below `vocabulary`, and back; deterministic."""

    vocabulary: int

    def tokenize(self, images: Images) -> Int64[np.ndarray, "n rows columns"]: ...
    def detokenize(self, tokens: Int64[np.ndarray, "n rows columns"]) -> Images: ...


class ScoredText(NamedTuple):
    """A text that a model wrote, and its log-probability in nats."""

    text: str
    log_prob: float


class Painting(TypedDict, total=False):
    """How an image is painted from words; each of these may be left out."""

    seed: Seed  # of the chance; 0
    temperature: float  # 1 as learned, below 1 plainer, 0 the likeliest
    guidance: float  # above 1 follows the words more closely (Ho & Salimans 2022), 0 not at all; 1
    top_k: int | None  # draw from so many of the likeliest codes alone; None: all
    top_p: float | None  # draw from the likeliest codes of so much probability; None: all
    language: str | None  # of the words; None: told from them
    start: int  # the first image's number: image i is a function of (seed, start + i); 0
    tries: int  # painted so often, the best kept (as Ramesh 2021 chose among many); 1
    judge: (
        CanCaption | None
    )  # a model that captions: the best is what it would most likely describe
    # by the words that were given. None: the best is the likeliest


@runtime_checkable
class CanDraw(Protocol):
    """An image from each caption; image i is a function of (seed, start + i) and its caption.

    `drawing` yields the same images as they grow, the last being whole.
    """

    def draw(self, captions: Sequence[str], **how: Unpack[Painting]) -> Images: ...
    def draw_stream(self, captions: Sequence[str], **how: Unpack[Painting]) -> Iterator[Images]: ...


@runtime_checkable
class CanCaption(Protocol):
    """Each image in words, the best found first; `fits` is log p of a text given its image.

    Raises UsageError for an unknown language.
    """

    def caption(
        self, images: Images, *, language: str | None = None, beams: int = 4, count: int = 1
    ) -> list[list[ScoredText]]: ...
    def caption_log_prob(
        self, images: Images, texts: Sequence[str], languages: Sequence[str]
    ) -> Float32[np.ndarray, " n"]: ...


@runtime_checkable
class CanEdit(Protocol):
    """Each image changed as its instruction says; `editing` yields them as they grow."""

    def edit(
        self, images: Images, instructions: Sequence[str], **how: Unpack[Painting]
    ) -> Images: ...
    def edit_stream(
        self, images: Images, instructions: Sequence[str], **how: Unpack[Painting]
    ) -> Iterator[Images]: ...


@runtime_checkable
class CanTranslate(Protocol):
    """Each text in another language, the best found."""

    def translate(
        self, texts: Sequence[str], *, source: str, target: str, beams: int = 4
    ) -> list[ScoredText]: ...


@runtime_checkable
class HasELBO(Protocol):
    """An ELBO with its terms, and importance weights log p(x, z) - log q(z given x)."""

    def observe(
        self, batch: Batch, generator: torch.Generator | None = None
    ) -> Float[Tensor, "batch channel height width"]: ...
    def elbo(
        self, x: Tensor, labels: Tensor | None, generator: torch.Generator | None = None
    ) -> Elbo: ...
    def log_weights(
        self,
        x: Tensor,
        labels: Tensor | None,
        samples: int,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "batch samples"]: ...


@runtime_checkable
class FastImportanceSampling(Protocol):
    """The same estimate as from `log_weights`, by a faster way; None where it does not apply."""

    def importance_log_likelihood(
        self,
        x: Tensor,
        labels: Tensor | None,
        samples: int,
        generator: torch.Generator | None = None,
    ) -> ImportanceEstimate | None: ...


@runtime_checkable
class HasLearnedPrior(Protocol):
    """A prior other than N(0, I): noise `[n, latent]` to latents. Without it they are the same."""

    def from_noise(self, noise: np.ndarray) -> np.ndarray: ...


ABILITIES: dict[str, type] = {
    "sample": CanSample,
    "reconstruct": CanReconstruct,
    "encode": CanEncode,
    "embed": CanEmbed,
    "score": CanScore,
    "complete": CanComplete,
    "tokenize": CanTokenize,
    "draw": CanDraw,
    "caption": CanCaption,
    "edit": CanEdit,
    "translate": CanTranslate,
    "elbo": HasELBO,
}


def abilities(model: object) -> tuple[str, ...]:
    """What a model can do, by the names above."""
    return tuple(name for name, protocol in ABILITIES.items() if isinstance(model, protocol))


def require(model: Any, ability: str) -> Any:
    """The model itself, or a PinxitError that says which families can do what was asked."""
    from pinxit.models import family_of, get_family, list_families

    if isinstance(model, ABILITIES[ability]):
        return model
    name = family_of(model.config)
    able = [other for other in list_families() if ability in get_family(other).ABILITIES]
    directions = getattr(get_family(name), "DIRECTIONS", {})
    if ability in directions:  # the family can, trained in another direction
        source, target = directions[ability]
        raise PinxitError(
            f"this run of the family '{name}' can {', '.join(abilities(model))} and cannot "
            f"{ability}; one that can is trained with --source {source} --target {target}."
        )
    raise PinxitError(
        f"a run of the family '{name}' cannot {ability}; "
        f"these families can: {', '.join(able) or 'none'}."
    )
