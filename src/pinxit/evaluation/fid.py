"""FID (Heusel 2017) by torch-fidelity, with the original Inception weights.

Needs the extra `fid`. The weights (92 MB) are downloaded from torch-fidelity's release page on
first use, unless they are in torch's hub folder already.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from pinxit.data.images import Images
from pinxit.errors import PinxitError


class _RGBDataset(Dataset):
    """uint8 `[3, height, width]` tensors, as torch-fidelity takes them."""

    def __init__(self, images: Images) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> torch.Tensor:
        pixels = np.array(self.images.pixels[row])
        return torch.from_numpy(pixels).permute(2, 0, 1).expand(3, -1, -1)


def fid(generated: Images, real: Images) -> float:
    """Return the Frechet distance of the Inception-v3 features (2,048) of two sets of images.

    Raises PinxitError if torch-fidelity is not installed or its weights cannot be downloaded.
    """
    try:
        import torch_fidelity  # pyright: ignore[reportMissingImports]
        from torch_fidelity import (  # pyright: ignore[reportMissingImports]
            feature_extractor_inceptionv3 as inception,
        )
    except ImportError:
        raise PinxitError("FID needs torch-fidelity: pip install 'pinxit[fid]'") from None
    load: Any = torch.hub.load_state_dict_from_url
    # check the hash, and do not execute code from the pickle
    inception.load_state_dict_from_url = functools.partial(load, check_hash=True, weights_only=True)
    try:
        metrics = torch_fidelity.calculate_metrics(
            input1=_RGBDataset(generated),
            input2=_RGBDataset(real),
            fid=True,
            cuda=torch.cuda.is_available(),
            verbose=False,
        )
    except OSError as error:  # URLError is one
        raise PinxitError(
            f"cannot download the Inception weights ({error}). Put {inception.URL_INCEPTION_V3} "
            f"into {torch.hub.get_dir()}/checkpoints, or leave out --fid."
        ) from None
    return float(metrics["frechet_inception_distance"])
