"""LPIPS (Zhang 2018): VGG16 and a weight for each channel of five of its layers, of a file.

The weights are not part of the package. `torch.save(lpips.LPIPS(net="vgg").state_dict(), FILE)`
writes them, where the package `lpips` is installed; a `.safetensors` file of the same names works
too. Of its networks this is the one that is used to train with.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors import SafetensorError
from torch import Tensor, nn

from pinxit.errors import UsageError

# channels of the convolutions of each slice, and their numbers in VGG16
SLICES = ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)
NUMBERS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
MIN_SIDE = 64  # pixels; smaller images are enlarged, so that the last slice has 4 positions a side

Tokens = Float[Tensor, "batch position channel"]


class LPIPSNetwork(nn.Module):
    """The features of VGG16 after the last convolution of each of five slices."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        inputs, slices = 3, []
        for widths in SLICES:
            convs = []
            for width in widths:
                convs.append(nn.Conv2d(inputs, width, 3, padding=1))
                inputs = width
            slices.append(nn.ModuleList(convs))
        self.slices = nn.ModuleList(slices)
        self.weights = nn.ParameterList(torch.ones(widths[-1]) for widths in SLICES)
        shape = (1, 3, 1, 1)
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(shape), False)
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(shape), False)

    @property
    def layer_weights(self) -> list[Float[Tensor, " channel"]]:
        """The weight of each channel, by slice."""
        return [getattr(self.weights, str(i)) for i in range(len(SLICES))]

    def layer_features(self, x: Float[Tensor, "batch channel height width"]) -> list[Tokens]:
        """Return the features of images from 0 to 1, grey or color; differentiable."""
        factor = -(-MIN_SIDE // min(x.shape[-2:]))
        if factor > 1:
            x = F.interpolate(x, scale_factor=factor, mode="bilinear")
        h, outputs = (2 * x.expand(-1, 3, -1, -1) - 1 - self.shift) / self.scale, []
        for i, convs in enumerate(self.slices):
            h = h if i == 0 else F.max_pool2d(h, 2)
            for conv in convs:  # type: ignore[attr-defined]
                h = F.relu(conv(h))
            outputs.append(h.flatten(2).transpose(1, 2))
        return outputs


def read_lpips_weights(file: Path) -> dict[str, Tensor]:
    """Read the tensors of an `LPIPSNetwork`. Raises UsageError for any other file."""
    tensors = _read(file)
    try:
        result = _convert(tensors)
        with torch.device("meta"):
            LPIPSNetwork().load_state_dict(result, assign=True)
    except (KeyError, RuntimeError, AttributeError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise UsageError(
            f"{file} holds no weights of LPIPS with VGG ({reason}). Write them with: "
            'torch.save(lpips.LPIPS(net="vgg").state_dict(), FILE)'
        ) from None
    if not all(bool(tensor.isfinite().all()) for tensor in result.values()):
        raise UsageError(f"{file} holds weights that are no numbers.")
    return result


def _convert(tensors: dict[str, Any]) -> dict[str, Tensor]:
    """Rename the tensors of the package `lpips`."""
    result = {}
    for i, (numbers, widths) in enumerate(zip(NUMBERS, SLICES, strict=True)):
        for k, number in enumerate(numbers):
            for part in ("weight", "bias"):
                source = tensors[f"net.slice{i + 1}.{number}.{part}"]
                result[f"slices.{i}.{k}.{part}"] = source.float()
        result[f"weights.{i}"] = tensors[f"lin{i}.model.1.weight"].float().reshape(widths[-1])
    return result


def _read(file: Path) -> dict[str, Any]:
    """Read a state dict; pickles with weights only, which run no code."""
    from safetensors.torch import load_file

    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        record = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, SafetensorError,
            pickle.UnpicklingError) as error:  # fmt: skip
        raise UsageError(f"{file} is no file of weights: {str(error).splitlines()[0]}") from None
    return record if isinstance(record, dict) else {}
