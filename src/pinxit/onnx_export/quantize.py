"""Quantize an exported part to 8 bits, and measure what that costs.

Weights are int8 with a scale per channel. A part without convolutions quantizes its activations as
it runs (dynamic); one with convolutions has scales that training images gave (static), for which
onnxruntime has fast kernels.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pinxit.data.psnr import psnr
from pinxit.errors import UsageError
from pinxit.models.export_parts import Example, ExportPart
from pinxit.onnx_export.convert import silence
from pinxit.onnx_export.verify import open_session, run_session

if TYPE_CHECKING:
    from onnx import ModelProto

QUANTIZED = ("Conv", "MatMul", "Gemm")


class NothingToQuantize(UsageError):
    """A part has no weights that 8 bits would make smaller."""


class Loss(NamedTuple):
    """What quantization changes of an output, on images that it was not calibrated with."""

    output: str
    figure: str  # its name: PSNR, KL, ...
    value: float
    unit: str

    def __str__(self) -> str:
        return f"{self.output}: {self.figure} {self.value:.4g} {self.unit}".rstrip()


def quantize(model: ModelProto, part: ExportPart, examples: Sequence[Example]) -> ModelProto:
    """Return the model with int8 weights. Raises NothingToQuantize if it has no weights."""
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    kinds = {node.op_type for node in model.graph.node}
    if not kinds & set(QUANTIZED):
        raise NothingToQuantize(
            f"the part '{part.name}' has no weights to quantize; leave --int8 out."
        )
    with tempfile.TemporaryDirectory() as folder, silence():
        names = ("original.onnx", "float.onnx", "int8.onnx")
        original, source, target = (Path(folder) / name for name in names)
        original.write_bytes(model.SerializeToString())
        quant_pre_process(str(original), str(source), skip_symbolic_shape=True)
        common: dict[str, Any] = {"per_channel": True, "weight_type": QuantType.QInt8}
        common["op_types_to_quantize"] = list(QUANTIZED)
        if "Conv" in kinds:
            reader: Any = _Calibration(part, examples)
            form = {"quant_format": QuantFormat.QDQ, "activation_type": QuantType.QUInt8}
            quantize_static(source, target, reader, **common, **form)
        else:
            quantize_dynamic(source, target, **common)
        return onnx.load(target)


class _Calibration:
    """Inputs for the ranges of activations, row by row."""

    def __init__(self, part: ExportPart, examples: Sequence[Example]) -> None:
        names = [value.name for value in part.inputs]
        self.rows = iter(
            {name: x.numpy() for name, x in zip(names, example.inputs, strict=True)}
            for example in examples
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.rows, None)


def measure_loss(
    float_model: bytes, int8_model: bytes, part: ExportPart, examples: Sequence[Example]
) -> tuple[Loss, ...]:
    """Compare the outputs of a quantized model with those of the original."""
    sessions = open_session(float_model), open_session(int8_model)
    pairs = [[run_session(s, part, example.inputs) for s in sessions] for example in examples]
    names = [value.name for value in part.outputs]
    columns = {
        name: tuple([pair[side][i] for pair in pairs] for side in (0, 1))
        for i, name in enumerate(names)
    }
    return tuple(_losses(part, columns))


Columns = dict[str, tuple[list[np.ndarray], ...]]


def _losses(part: ExportPart, columns: Columns) -> Iterator[Loss]:
    kinds = {value.kind: value.name for value in part.outputs}
    if {"mean", "std"} <= kinds.keys():
        yield _gaussian_loss(*(_flat(columns[kinds[kind]]) for kind in ("mean", "std")))
        return
    for value in part.outputs:
        if value.kind == "state":
            continue
        before, after = columns[value.name]
        pairs = list(zip(before, after, strict=True))
        if value.kind == "image":
            errors = np.concatenate([np.square(a - b).mean((1, 2, 3)) for a, b in pairs])
            yield Loss(value.name, "PSNR", float(psnr(errors.astype(np.float64)).mean()), "dB")
        elif value.kind == "logits":
            kl, same = zip(*(_logit_loss(a, b) for a, b in pairs), strict=True)
            yield Loss(value.name, "KL", float(np.concatenate(kl).mean()), "nats per token")
            share = 100 * float(np.concatenate(same).mean())
            yield Loss(value.name, "most likely token the same in", share, "%")
        elif before[0].dtype.kind != "f":
            share = 100 * float(np.concatenate([(a == b).ravel() for a, b in pairs]).mean())
            yield Loss(value.name, "the same in", share, "%")
        else:
            yield _relative_loss(value.name, pairs)


def _flat(column: tuple[list[np.ndarray], ...]) -> list[np.ndarray]:
    """Return the values before and after, `[n, latent]`."""
    return [np.concatenate([x.reshape(len(x), -1) for x in side]) for side in column]


def _gaussian_loss(mean: list[np.ndarray], std: list[np.ndarray]) -> Loss:
    """KL(q || q8) of two Gaussians with independent latents, in nats per image."""
    (m, m8), (s, s8) = mean, [np.maximum(x, 1e-6).astype(np.float64) for x in std]
    kl = np.log(s8 / s) + (np.square(s) + np.square(m - m8)) / (2 * np.square(s8)) - 0.5
    return Loss("mean, std", "KL", float(kl.sum(1).mean()), "nats per image")


def _logit_loss(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """KL of the next token's probabilities, and whether the most likely one is the same."""
    log_p, log_q = (_log_softmax(x.astype(np.float64)) for x in (before, after))
    kl = (np.exp(log_p) * (log_p - log_q)).sum(-1)
    return kl.ravel(), (before.argmax(-1) == after.argmax(-1)).ravel()


def _log_softmax(x: np.ndarray) -> np.ndarray:
    shifted = x - x.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def _relative_loss(name: str, pairs: list[tuple[np.ndarray, np.ndarray]]) -> Loss:
    error = sum(float(np.square(a - b, dtype=np.float64).sum()) for a, b in pairs)
    total = sum(float(np.square(a, dtype=np.float64).sum()) for a, _ in pairs)
    return Loss(name, "relative error", 100 * (error / max(total, 1e-30)) ** 0.5, "%")
