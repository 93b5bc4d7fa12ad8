"""FID itself (Heusel 2017), through torch-fidelity: the extra `fid`, and Inception's weights.

The weights (92 MB) come from torch-fidelity's release page on first use, or lie in torch's hub
folder already.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from pinxit.data.images import Images
from pinxit.errors import PinxitError


class _InColour(Dataset):
    """uint8 `[3, height, width]`, as torch-fidelity takes them."""

    def __init__(self, images: Images) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> torch.Tensor:
        pixels = np.array(self.images.pixels[row])
        return torch.from_numpy(pixels).permute(2, 0, 1).expand(3, -1, -1)


def fid(made: Images, real: Images) -> float:
    """Frechet distance of Inception-v3's features (2,048) of made images and real ones.

    Raises PinxitError where torch-fidelity is not installed or the weights cannot be had.
    """
    try:
        import torch_fidelity  # pyright: ignore[reportMissingImports]
        from torch_fidelity import (  # pyright: ignore[reportMissingImports]
            feature_extractor_inceptionv3 as inception,
        )
    except ImportError:
        raise PinxitError("FID needs torch-fidelity: pip install 'pinxit[fid]'") from None
    load: Any = torch.hub.load_state_dict_from_url
    # checked by its hash and read without running what a pickle may hold
    inception.load_state_dict_from_url = functools.partial(load, check_hash=True, weights_only=True)
    try:
        found = torch_fidelity.calculate_metrics(
            input1=_InColour(made),
            input2=_InColour(real),
            fid=True,
            cuda=torch.cuda.is_available(),
            verbose=False,
        )
    except OSError as error:  # URLError is one
        raise PinxitError(
            f"Inception's weights cannot be had ({error}); put {inception.URL_INCEPTION_V3} into "
            f"{torch.hub.get_dir()}/checkpoints, or leave out --fid."
        ) from None
    return float(found["frechet_inception_distance"])
