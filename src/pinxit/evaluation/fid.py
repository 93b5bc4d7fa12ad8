"""FID (Heusel 2017) by torch-fidelity, with the original Inception weights.

Needs the extra `fid`. The weights (92 MB) are downloaded from torch-fidelity's release page on
first use, unless they are in torch's hub folder already.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from pinxit.data.images import Images
from pinxit.errors import PinxitError
from pinxit.evaluation.frechet import frechet_estimate
from pinxit.evaluation.metrics import MetricValue

EXTRACTOR, FEATURES = "inception-v3-compat", "2048"
BATCH_SIZE = 64
NUM_BLOCKS = 10  # left out for the error: 2,048 x 2,048 covariances take seconds


def fid_metrics(
    samples: Images, test: Images, train: Images | None = None
) -> Iterator[MetricValue]:
    """Yield the Frechet distance of samples to test images in 2,048 Inception-v3 features.

    `fid_train_test` is that of training images, as many as there are samples: a floor. Errors are
    by the jackknife over both sets. Raises PinxitError if torch-fidelity is not installed or its
    weights cannot be downloaded.
    """
    network = _load_inception()
    reference = _features(network, test)
    for name, images in (("fid_samples", samples), ("fid_train_test", train)):
        if images is not None:
            features = _features(network, images)
            yield name, frechet_estimate(features, reference, test.groups, num_blocks=NUM_BLOCKS)


def _load_inception() -> torch.nn.Module:
    from torch_fidelity import (  # pyright: ignore[reportMissingImports]
        feature_extractor_inceptionv3 as inception,
    )

    load: Any = torch.hub.load_state_dict_from_url
    # check the hash, and do not execute code from the pickle
    inception.load_state_dict_from_url = functools.partial(load, check_hash=True, weights_only=True)
    try:
        network = inception.FeatureExtractorInceptionV3(EXTRACTOR, [FEATURES])
    except OSError as error:  # URLError is one
        raise PinxitError(
            f"cannot download the Inception weights ({error}). Put {inception.URL_INCEPTION_V3} "
            f"into {torch.hub.get_dir()}/checkpoints, or leave out --fid."
        ) from None
    return network.eval().to("cuda" if torch.cuda.is_available() else "cpu")


@torch.inference_mode()
def _features(network: torch.nn.Module, images: Images) -> Float32[np.ndarray, "n 2048"]:
    """Features of uint8 `[n, 3, height, width]` tensors, as torch-fidelity takes them."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parts = []
    for start in range(0, len(images), BATCH_SIZE):
        pixels = torch.from_numpy(np.array(images.pixels[start : start + BATCH_SIZE]))
        x = pixels.permute(0, 3, 1, 2).expand(-1, 3, -1, -1).contiguous()
        parts.append(network(x.to(device))[0].float().cpu().numpy())
    return np.concatenate(parts)
