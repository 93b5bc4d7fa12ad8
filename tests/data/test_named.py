"""Named sets: found by their name, and by nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from pinxit.data.sources.named import open_named_set


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    np.savez(tmp_path / "pets.npz", images=np.zeros((4, 8, 8), np.uint8))
    monkeypatch.setenv("PINXIT_DATA", str(tmp_path))


def test_a_file_of_the_folder_of_data_is_a_set_of_its_name():
    source = open_named_set("pets", seed=0)
    assert source is not None
    assert source.name == "pets"


@pytest.mark.parametrize("data", ["cats", "./pets", "folder/pets", "", "pets.npz"])
def test_nothing_else_is(data):
    assert open_named_set(data, seed=0) is None
