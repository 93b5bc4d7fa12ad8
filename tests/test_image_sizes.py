"""Images of sizes that no patch and no downscale divides: every family completes and reports."""

from __future__ import annotations

import pytest

import pinxit
from pinxit.models import list_families
from pinxit.models.protocols import CanComplete
from tests.builders import blobs

SIZES = ((16, 16), (20, 20), (50, 50))  # height, width
ODD_SIZE = (33, 47)  # which families of equal patches refuse, or cut into single pixels
CASES = [(name, size) for name in list_families() for size in SIZES]
CASES += [(name, ODD_SIZE) for name in ("flow", "vae")]
SETTINGS = {"steps": 2, "batch_size": 4, "quiet": True, "augment": "off"}
EVALUATION = {"iw_samples": 1, "max_images": 8, "probe_train_size": 0, "quiet": True}


def train_smallest(folder, name, images) -> pinxit.Run:
    """A run of a family after two steps, of a flow on the latents of a VAE."""
    options = {"width": 32, "depth": 1}
    if name == "flow":
        vae = pinxit.VAE(latents="grid", width=8, depth=1)
        run = pinxit.train(vae, images, out=folder / "vae", **SETTINGS)
        options |= {"vae": str(run.path), "condition": "none", "heads": 1}
    elif name == "seq2seq":
        options |= {"source": "text", "target": "image"}
    elif name == "tokenizer":
        options = {}
    config = pinxit.models.get_family(name).Config(**options)
    return pinxit.train(config, images, out=folder / name, **SETTINGS)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), CASES, ids=lambda value: str(value).replace(", ", "x"))
def test_a_run_of_images_of_any_size_completes_and_is_measured_and_shown(name, size, tmp_path):
    images = blobs(24, *size)
    run = train_smallest(tmp_path, name, images)
    if isinstance(run.model, CanComplete):
        for missing in ({}, {"ratio": 0.5}, {"half": "lower"}, {"box": (1, 2, 13, 9)}):
            assert run.complete(num_images=2, **missing).pixels.shape[1:3] == size
    run.evaluate(**EVALUATION)
    assert run.report().is_file()
