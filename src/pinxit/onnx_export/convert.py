"""A part of a model to ONNX, with what is to know about it in the file's metadata."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pinxit.errors import UsageError
from pinxit.models.export_parts import DYNAMIC, Example, ExportPart, Value

if TYPE_CHECKING:
    from onnx import ModelProto

TRACED_ROWS = 3  # an axis of 1 would be taken for a constant
MAX_BYTES = 2**31 - 2**24  # of a protobuf message, which an ONNX file is


class _Positional(nn.Module):
    """A module whose inputs are all positional, as the shapes of the exporter are given."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> Any:
        return self.module(*inputs)


def convert(part: ExportPart, example: Example, opset: int) -> ModelProto:
    """Return a part as ONNX; `example` has no dynamic axis of size 0 or 1.

    Raises UsageError for a part that the exporter cannot express, or that is too large.
    """
    size = sum(p.numel() * p.element_size() for p in part.module.state_dict().values())
    if size > MAX_BYTES:
        raise UsageError(f"an ONNX file holds at most 2 GB, and the weights of {part.name} more.")
    inputs = tuple(_few_rows(x, v) for x, v in zip(example.inputs, part.inputs, strict=True))
    axes = {name: torch.export.Dim(name, min=0) for name in DYNAMIC}
    shapes = tuple(
        {i: axes[name] for i, name in enumerate(value.axes.split()) if name in axes}
        for value in part.inputs
    )
    module = _Positional(part.module).eval()
    names = [value.name for value in part.inputs], [value.name for value in part.outputs]
    try:
        with silence(), torch.no_grad():
            program = torch.onnx.export(
                module, inputs, dynamo=True, opset_version=opset, dynamic_shapes=(shapes,),
                input_names=names[0], output_names=names[1], verbose=False,
            )  # fmt: skip
    except Exception as error:
        reason = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
        raise UsageError(f"ONNX cannot express the part '{part.name}': {reason[0]}") from error
    assert program is not None, "of the dynamo exporter"
    return program.model_proto


def _few_rows(tensor: Tensor, value: Value) -> Tensor:
    return tensor.narrow(value.axes.split().index("batch"), 0, TRACED_ROWS).contiguous()


@contextmanager
def silence() -> Iterator[None]:
    """Silence the exporter: it warns of packages that it can do without."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def add_metadata(model: ModelProto, part: ExportPart, facts: Mapping[str, str]) -> None:
    """Write what a user needs to know into an ONNX model."""
    import onnx

    model.producer_name, model.doc_string = "pinxit", part.summary
    model.producer_version = facts.get("pinxit_version", "")
    about = {"part": part.name, "summary": part.summary, **facts, **part.notes}
    for kind, values in (("inputs", part.inputs), ("outputs", part.outputs)):
        described = {v.name: {"axes": v.axes.split(), "meaning": v.meaning} for v in values}
        about[kind] = json.dumps(described)
    onnx.helper.set_model_props(model, about)
