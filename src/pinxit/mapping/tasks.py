"""What a model computes of a batch of images, as columns of a Parquet file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pinxit.data.image_rows import MAX_BATCH_IMAGES
from pinxit.data.images import Images
from pinxit.data.seeds import check_seed
from pinxit.errors import UsageError
from pinxit.models.generation import GenerationParams
from pinxit.models.text_options import LENGTH_PENALTY, NUM_BEAMS, resolve_beam_search

if TYPE_CHECKING:
    import pyarrow as pa

Options = Mapping[str, Any]
Columns = dict[str, Any]  # name -> pyarrow array


@dataclass(frozen=True)
class Task:
    """One way to use a model. Its name is that of the ability, and of the command for few images.

    `compute(model, images, first, options)` returns the columns of a batch; `first` is the number
    of its first image among all, and the only thing by which a result depends on other images.
    """

    compute: Callable[[Any, Images, int, Options], Columns]
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # of its options
    batch_images: Callable[[Options], int] = lambda options: MAX_BATCH_IMAGES
    uses_number: Callable[[Options], bool] = lambda options: False  # `first`


def resolve_options(task: str, options: Options) -> dict[str, Any]:
    """Return all options of a task; None stands for the default.

    Raises UsageError for an unknown task, for an option that the task does not use, and for a
    value out of range.
    """
    if task not in TASKS:
        raise UsageError(f"task is {', '.join(list(TASKS)[:-1])} or {list(TASKS)[-1]}, not {task}.")
    defaults = TASKS[task].defaults
    given = {name: value for name, value in options.items() if value is not None}
    for name in given.keys() - defaults.keys():
        users = [other for other, known in TASKS.items() if name in known.defaults]
        raise UsageError(f"{name} is an option of {' and '.join(users)}, not of {task}.")
    resolved = {**defaults, **given}
    check_seed(resolved.get("seed", 0))
    for name in ("samples", "num_captions", "num_beams"):
        if resolved.get(name, 1) < 1:
            raise UsageError(f"{name} must be 1 or more, not {resolved[name]}.")
    if task == "caption":
        names = ("num_beams", "length_penalty", "num_captions")
        search = {name: given[name] for name in names if name in given}
        resolve_beam_search(_params(resolved, 0), **search)
    return resolved


def _embed(model: Any, images: Images, first: int, options: Options) -> Columns:
    return {"vector": _list_array(model.embed(images), np.float32)}


def _score(model: Any, images: Images, first: int, options: Options) -> Columns:
    import pyarrow as pa

    from pinxit.sampling.scores import bits_per_dim, images_with_bits

    scores = model.score(images, samples=options["samples"], seed=options["seed"])
    scores = np.asarray(scores, np.float64)
    columns = {"log_likelihood": pa.array(scores)}
    if model.eight_bit:
        unknown = ~images_with_bits(model, images)
        columns["bits_per_dim"] = pa.array(bits_per_dim(scores, model.info.dims), mask=unknown)
    return columns


def _score_batch(options: Options) -> int:
    from pinxit.sampling.scores import scores_per_batch

    return scores_per_batch(options["samples"])


def _caption(model: Any, images: Images, first: int, options: Options) -> Columns:
    import pyarrow as pa

    count, search = options["num_captions"], {}
    if options["temperature"] is None:
        search["num_beams"] = max(options["num_beams"], count)
        search["length_penalty"] = options["length_penalty"]
    rows = model.caption(
        images,
        _params(options, first),
        language=options["language"] or model.text_tokenizer.default_language,
        num_captions=count,
        **search,
    )
    texts = [[caption.text for caption in row] for row in rows]
    log_probs = [[float(caption.log_prob) for caption in row] for row in rows]
    columns = {
        "caption": pa.array([row[0] for row in texts], pa.string()),
        "log_prob": pa.array([row[0] for row in log_probs], pa.float32()),
    }
    if count > 1:
        columns["captions"] = pa.array(texts, pa.list_(pa.string()))
        columns["log_probs"] = pa.array(log_probs, pa.list_(pa.float32()))
    return columns


def _params(options: Options, first: int) -> GenerationParams:
    names = ("temperature", "top_k", "top_p", "seed")
    return GenerationParams(start=first, **{name: options[name] for name in names})


def _reconstruct(model: Any, images: Images, first: int, options: Options) -> Columns:
    import pyarrow as pa

    from pinxit.evaluation.reconstruction import mse_per_image, psnr

    decoded = model.reconstruct(images)
    files = [{"bytes": decoded[i].to_png(), "path": None} for i in range(len(decoded))]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    return {
        "image": pa.array(files, kind),
        "psnr": pa.array(psnr(mse_per_image(images, decoded)), pa.float32()),
    }


def _tokenize(model: Any, images: Images, first: int, options: Options) -> Columns:
    tokens = model.tokenize(images)
    return {"tokens": _list_array(tokens.reshape(len(tokens), -1), np.int32)}


def _list_array(rows: np.ndarray, kind: type[np.generic]) -> pa.Array:
    """Return an array of lists of one length, from an array `[n, length]`."""
    import pyarrow as pa

    values = pa.array(np.ascontiguousarray(rows, kind).ravel())
    return pa.FixedSizeListArray.from_arrays(values, rows.shape[1])


TASKS = {
    "embed": Task(_embed),
    "caption": Task(
        _caption,
        {
            **{"language": None, "num_captions": 1},
            **{"num_beams": NUM_BEAMS, "length_penalty": LENGTH_PENALTY},
            **{"temperature": None, "top_k": None, "top_p": None, "seed": 0},
        },
        batch_images=lambda options: 64,
        uses_number=lambda options: options["temperature"] is not None,
    ),
    "reconstruct": Task(_reconstruct),
    "score": Task(_score, {"samples": 1, "seed": 0}, _score_batch),
    "tokenize": Task(_tokenize),
}
