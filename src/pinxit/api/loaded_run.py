"""A run with its model and images, and the options of its methods."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinxit import console, runs
from pinxit.data.home_folder import expand_home
from pinxit.errors import UsageError, did_you_mean
from pinxit.models.generation import GenerationParams
from pinxit.nn.device import Device, resolve_device

if TYPE_CHECKING:
    from pinxit.api.inputs import AnyImage, AnyImages
    from pinxit.data.image_rows import ImageRows
    from pinxit.data.images import Images

# names that users of other libraries try -> options
SYNONYMS = {
    **dict.fromkeys(("n", "num", "num_samples", "count", "n_images"), "num_images"),
    **{"temp": "temperature", "k": "top_k", "p": "top_p", "class_label": "label"},
    **dict.fromkeys(("cfg", "cfg_scale", "guidance_scale"), "guidance"),
    **{"num_inference_steps": "steps", "generator": "seed", "prompt": "texts"},
}


@dataclass(frozen=True, repr=False)
class LoadedRun(runs.Run):
    """A run folder whose model and images are read on first use."""

    path: Path
    device: Device = "auto"  # where models compute; auto: cuda if there is a GPU, or else cpu

    def __post_init__(self) -> None:
        from pinxit.api.hub import PREFIX, find_run

        is_hub = str(self.path).startswith(PREFIX)
        object.__setattr__(self, "path", find_run(self.path) if is_hub else expand_home(self.path))

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise AttributeError(f"Run has no '{name}'.{did_you_mean(name, dir(type(self)))}")

    @property
    def model(self) -> Any:
        """The model with its saved weights; loaded again after further training."""
        self.check_weights()
        changed = self.weights_path.stat().st_mtime_ns
        loaded = self.__dict__.get("_loaded")
        if loaded is None or loaded[0] != changed:
            loaded = (changed, self.load(resolve_device(self.device)))
            self.__dict__["_loaded"] = loaded
        return loaded[1]

    def require(self, ability: str) -> Any:
        """Return the model. Raises PinxitError if it lacks an ability."""
        self.check()
        from pinxit.models.abilities import require

        return require(self.model, ability)

    @property
    def images(self) -> Images:
        """The images that the run was trained on, of all splits."""
        from pinxit.api.inputs import load_own

        return load_own(self, self.own_images)

    @property
    def own_images(self) -> Images | None:
        """The images that `train` was given in Python, if it was called in this process."""
        return self.__dict__.get("_given_images")

    def attach_images(self, images: Images) -> None:
        """Use these images as the run's own: those that `train` was given in Python."""
        self.__dict__["_given_images"] = images

    def read(
        self, model: object, images: AnyImages | None, split: str | None, num_images: int | None
    ) -> Images:
        """Return images in the form that the model takes; None: of the run's own data."""
        from pinxit.api.inputs import read_images

        return read_images(self, model, images, split, num_images, self.own_images)

    def read_rows(self, model: object, images: AnyImages | None, split: str | None) -> ImageRows:
        """Return images as `read` does, without loading their pixels."""
        from pinxit.api.inputs import read_rows

        return read_rows(self, model, images, split, self.own_images)

    def read_one(self, image: AnyImage, *, sources: bool = False) -> Images:
        """Return one image; a name or a number is that of one of the run's own images.

        With `sources` the name of a pair of an edit stands for the image before it.
        """
        from pinxit.api.inputs import read_image

        return read_image(self, image, self.own_images, sources)


def merge_params(
    method: Any, params: GenerationParams | None, options: dict[str, Any]
) -> GenerationParams | None:
    """Return the parameters with the options; None if there are none.

    Raises UsageError for an unknown option, with the near one.
    """
    fields = [field.name for field in dataclasses.fields(GenerationParams)]
    own = [name for name in inspect.signature(method).parameters if name not in ("options", "self")]
    for name in options:
        if name not in fields:
            hint = did_you_mean(name, [*own, *fields], SYNONYMS)
            raise UsageError(f"{method.__name__} has no option '{name}'.{hint}")
    if not options:
        return params
    return dataclasses.replace(params or GenerationParams(), **options)


def warn_of_unknown_words(model: Any, texts: Sequence[str]) -> None:
    """Print the words that no training caption contains."""
    words = [word for text in texts for word in model.text_tokenizer.unknown_words(text)]
    if words:
        console.echo(f"warning: not in the training captions: {', '.join(dict.fromkeys(words))}")
