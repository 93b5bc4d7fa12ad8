"""Named sets: found by their name, and by nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from pinxit.data.sources import list_source_names, list_source_types, open_source
from pinxit.data.sources.named import SOURCE_TYPE, SUFFIXES, open_named_set


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


BUILT_IN = ["digits", "shapes", "shapes:12", "shapes-edits", "shapes-edits:12", "emoji-edits"]


def test_the_built_in_names_are_those_of_all_other_types():
    names = {name for t in list_source_types() if t is not SOURCE_TYPE for name in t.list_names()}
    assert names == {name.partition(":")[0] for name in BUILT_IN}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", BUILT_IN)
def test_no_file_replaces_a_built_in_set(tmp_path, monkeypatch, name, suffix):
    (tmp_path / "emoji.parquet").write_bytes(b"that emoji-edits is made from")
    before = open_source(name)
    assert not before.notes
    (tmp_path / "here" / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    for folder in (tmp_path, tmp_path / "here"):
        (folder / f"{name}{suffix}").write_bytes(b"")
    after = open_source(name)
    assert (after.name, after.compute_key()) == (name, before.compute_key())
    assert after.notes == (
        f"this is the dataset of that name; for the folder, type ./{name}",
        f"this is the built-in set; for the file, type {tmp_path / name}{suffix}",
    )
    assert list_source_names().count(name) == (":" not in name)
