"""Compare an exported part with the original, with onnxruntime on the CPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pinxit.models.export_parts import Example, ExportPart

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

MAX_DIFFERENCE = 1e-4  # of a value
MAX_CODE_DIFFERENCE = 1e-3  # share of codes: one between two may be rounded to either


def open_session(model: bytes) -> InferenceSession:
    """Return a session of an ONNX model, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run_session(
    session: InferenceSession, part: ExportPart, inputs: Sequence[Tensor]
) -> list[np.ndarray]:
    """Return the outputs of an ONNX model."""
    names = [value.name for value in part.inputs]
    values: dict[str, Any] = {n: x.numpy() for n, x in zip(names, inputs, strict=True)}
    return session.run([value.name for value in part.outputs], values)  # pyright: ignore


def run_original(part: ExportPart, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the outputs of the torch module."""
    with torch.no_grad():
        outputs = part.module(*inputs)
    return outputs if isinstance(outputs, tuple) else (outputs,)


def largest_difference(
    session: InferenceSession, part: ExportPart, examples: Sequence[Example]
) -> float:
    """Return the largest difference of an output from the original, over all examples.

    Of integers and truth values the share that differs. A value that is not finite is infinitely
    far. The rows are computed together, and the first one also alone.
    """
    return max(
        difference
        for example in examples
        for inputs, expected in _sizes_of_batch(part, example)
        for difference in _differences(session, part, inputs, expected)
    )


def limit(part: ExportPart) -> float:
    """Return the largest difference that is allowed."""
    is_codes = all(value.kind == "codes" for value in part.outputs)
    return MAX_CODE_DIFFERENCE if is_codes else MAX_DIFFERENCE


def _sizes_of_batch(
    part: ExportPart, example: Example
) -> Iterator[tuple[tuple[Tensor, ...], tuple[Tensor, ...]]]:
    """Yield all rows, and the first row."""
    yield example
    axes = [value.axes.split().index("batch") for value in part.inputs]
    first = tuple(x.narrow(axis, 0, 1) for x, axis in zip(example.inputs, axes, strict=True))
    yield first, tuple(x[:1] for x in example.expected)


def _differences(
    session: InferenceSession,
    part: ExportPart,
    inputs: tuple[Tensor, ...],
    expected: tuple[Tensor, ...],
) -> Iterator[float]:
    results = run_session(session, part, inputs)
    for original in (run_original(part, inputs), expected):
        for result, tensor in zip(results, original, strict=False):
            yield _difference(result, tensor.detach().numpy())


def _difference(result: np.ndarray, original: np.ndarray) -> float:
    if result.shape != original.shape:
        return float("inf")
    if result.size == 0:
        return 0.0
    if original.dtype.kind != "f":
        return float((result != original).mean())
    difference = np.abs(result.astype(np.float64) - original)
    return float(difference.max()) if np.isfinite(difference).all() else float("inf")
