"""`--strict` refuses what of a table is not used, whatever file the table is in."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.data.load import load_images
from pinxit.errors import PinxitError
from tests.data.streams.shard_sets import image_bytes, write_shard


def write_folder(folder: Path, rows: list[dict]) -> Path:
    folder.mkdir()
    for i in range(len(rows)):
        (folder / f"{i}.png").write_bytes(image_bytes(i))
    lines = [json.dumps({"file_name": f"{i}.png", **row}) for i, row in enumerate(rows)]
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return folder


def write_tar(folder: Path, rows: list[dict]) -> Path:
    files = []
    for i, row in enumerate(rows):
        files += [(f"{i}.png", image_bytes(i)), (f"{i}.json", json.dumps(row).encode())]
    return write_shard(folder / "0.tar", files)


def write_parquet(folder: Path, rows: list[dict]) -> Path:
    folder.mkdir()
    columns = {key: [row.get(key) for row in rows] for key in rows[0]}
    images = [image_bytes(i) for i in range(len(rows))]
    pq.write_table(pa.table({"image": images, **columns}), folder / "0.parquet")
    return folder / "0.parquet"


WRITERS = (write_folder, write_tar, write_parquet)


def passes(source: Path, **options) -> bool:
    try:
        load_images(source, strict=True, progress=False, **options)
    except PinxitError:
        return False
    return True


# one type in each column, as Parquet has it
COLUMNS = {
    "caption": [["a cat", ""], [{"raw": "x"}], [True, None]],
    "split": [["train", "test", ""], ["train", "fold1"], [["train"]]],
    "label": [["cat", None], [["a", "b"]], [["cat"]], [3]],
    "tags": [[["a", "b"], []], [[1, 2]], ["a|b"]],
    "weather": [["rain"], [1.5]],
}


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_table_is_refused_wherever_it_is_or_nowhere(data):
    columns = data.draw(st.sets(st.sampled_from(sorted(COLUMNS)), min_size=1))
    values = {name: data.draw(st.sampled_from(COLUMNS[name])) for name in sorted(columns)}
    rows = [{name: values[name][i % len(values[name])] for name in values} for i in range(6)]
    with tempfile.TemporaryDirectory() as name:
        sources = [write(Path(name) / write.__name__, rows) for write in WRITERS]
        found = [passes(source, cache=False) for source in sources]
    assert len(set(found)) == 1


@pytest.mark.parametrize("row", [{"caption": {"raw": "x"}}, {"split": "fold1"}])
@pytest.mark.parametrize("options", [{}, {"stream": "on"}])
def test_what_a_strict_load_refuses_it_refuses_again_from_the_cache(tmp_path, row, options):
    source = write_tar(tmp_path, [row] * 30)
    assert load_images(source, progress=False, **options).losses
    for _ in range(2):
        with pytest.raises(PinxitError, match=r"cannot use all of .*0.tar: 30 rows: "):
            load_images(source, progress=False, strict=True, **options)
