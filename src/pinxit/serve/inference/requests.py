"""A prepared request for images, and its result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pinxit.models.generation import GenerationParams
from pinxit.nn.rng import mix_seed
from pinxit.serve.inference.loading import LoadedRun
from pinxit.serve.media.framing import Frame
from pinxit.serve.media.uploads import EditMask, UploadedImage

# receives a request's images while they are generated, in the worker's thread
PreviewCallback = Callable[[list[np.ndarray]], None]


READING = ("edit", "complete", "encode", "reconstruct")  # abilities that read a source


class Route(NamedTuple):
    """The run that answers a request, and the ability it uses."""

    ability: str
    run: LoadedRun


@dataclass(frozen=True, eq=False)
class GenerationRequest:
    """A request for images, ready for its route's model; made by `Router.prepare`."""

    prompt: str  # without its request phrase, truncated to what the model reads
    n: int
    source: UploadedImage | None
    mask: EditMask | None
    params: GenerationParams
    route: Route | None  # None: none of the runs can generate images
    left_out: str = ""  # of the prompts, what does not fit into what the model reads
    unknown_words: tuple[str, ...] = ()  # of `prompt`, that no training caption has
    language: str | None = None  # of the prompt; None: detected
    frame: Frame | None = None  # the part of the source that the model reads, if it reads it
    label: str | None = None  # of sample; None: the one that the prompt names, if any

    @property
    def reads_source(self) -> bool:
        """Whether the model reads the source, so that the images are versions of it."""
        return self.source is not None and self.route is not None and self.route.ability in READING

    def decode(self) -> None:
        """Decode the source to what the model reads of it. Raises ApiError for damaged pixels."""
        if self.source is None:
            return
        if self.mask is not None:  # which needs all pixels, of which the model's are made
            _ = self.source.original
        if self.reads_source and self.route is not None:
            self.source.fit_to(self.route.run.info, self.frame)
        else:
            self.source.check()

    @property
    def seeds(self) -> list[int]:
        """The seed of each image: the same as the command line's for `--seed` and `--start`."""
        seed, start = self.params.seed, self.params.start
        assert isinstance(seed, int)
        return [mix_seed(seed, start + i) for i in range(self.n)]


@dataclass(frozen=True, eq=False)
class GenerationResult:
    """Generated images, and how they were generated."""

    images: list[np.ndarray]
    model: LoadedRun
    action: str  # generate or edit
    prompt_used: str  # or a note that the model reads no prompt
    reads_prompt: bool = False
    left_out: str = ""  # as of the request
    unknown_words: tuple[str, ...] = ()
