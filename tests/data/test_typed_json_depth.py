"""JSON that is nested too deeply is refused as other bad JSON is, wherever a file is read."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pinxit
from pinxit.data.typed_json import decode_json
from pinxit.reports.run_list import find_runs, is_run
from tests.builders import blobs, make_run

SOURCE = Path(pinxit.__file__).parent
# what they read is written by the same process, or a RecursionError is caught beside it
OWN = {
    "data/typed_json.py", "data/text_tokenizer.py", "models/packed.py", "serve/store.py",
    "serve/validation.py", "training/restart.py", "serve/dialogue/llm.py",
    "serve/dialogue/forwarding.py", "serve/dialogue/upstream.py",
}  # fmt: skip


@given(st.recursive(st.none() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=3)))
def test_json_is_read_as_by_the_library(value):
    assert decode_json(json.dumps(value)) == value
    assert decode_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 200_000, "[" * 200_000 + "]" * 200_000])
def test_deep_nesting_is_an_error_of_the_text(text):
    with pytest.raises(ValueError, match="nested too deeply"):
        decode_json(text)


def test_no_file_is_read_by_the_library_itself():
    found = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        if re.search(r"\b(json|json_format)\.loads?\(", path.read_text("utf-8"))
    }
    assert found == OWN


def test_a_folder_beside_a_run_may_hold_anything(tmp_path):
    run = make_run(tmp_path / "run", blobs(), steps=5)
    shutil.copytree(run.path, tmp_path / "deep")
    (tmp_path / "deep" / "config.json").write_text("[" * 200_000)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"a":' * 200_000)
    assert is_run(tmp_path / "deep"), "it has weights: a run whose config.json is damaged"
    assert not is_run(tmp_path / "other")
    assert set(find_runs(tmp_path)) == {run.path, tmp_path / "deep"}
