"""Each row of docs/remedies.md that names options of training is trained on tiny data."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

from pinxit.models import build_model
from pinxit.models.vae.config import Config
from tests.builders import blobs

PAGE = Path(__file__).parents[2] / "docs" / "remedies.md"
ROWS = re.findall(r"^\|.*`(--[a-z][^`]*)` \|.*$", PAGE.read_text(), re.MULTILINE)
SIZE = {"latent_dim": 3, "network": "mlp", "width": 16, "depth": 1}


def read_options(text: str) -> dict:
    """`--iw-samples 4` -> {"iw_samples": 4}."""
    words = shlex.split(text)
    pairs = zip(words[::2], words[1::2], strict=True)
    return {name[2:].replace("-", "_"): read_value(value) for name, value in pairs}


def read_value(text: str):
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def test_the_page_has_the_rows():
    assert len(ROWS) > 30


@pytest.mark.long
@pytest.mark.parametrize("options", ROWS)
def test_a_row_trains_and_samples(options):
    config = Config(**{**SIZE, **read_options(options)})
    images = blobs(48)
    model = build_model(config, images, np.arange(24))[0].train()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for step in range(30):
        torch.manual_seed(step)
        loss = model.loss(images.batch(np.arange(24))).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    assert model.eval().sample(2).pixels.shape == (2, 8, 8, 1)
