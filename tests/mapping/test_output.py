"""What stays in an output's folder after processes that were killed, or that write at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pinxit.data.skipped import SkippedFile
from pinxit.mapping import output
from pinxit.mapping.output import (
    Record,
    finish_output,
    mark_unfinished,
    part_path,
    prepare_output,
    write_skipped,
)

RECORD = Record("embed", "12ab", "34cd", "all", images=20, block_size=10, options={})
WRITTEN = ("_SUCCESS", "_map.json", "_skipped.jsonl", "part-00000.parquet", "part-00001.parquet")


def write_all_but_success(out: Path) -> None:
    prepare_output(out, RECORD)
    write_skipped(out, [SkippedFile("a.png", "no image")])
    for block in range(2):
        part_path(out, block).write_bytes(b"rows")


@given(killed=st.lists(st.sampled_from(WRITTEN), max_size=5), number=st.integers(1, 10**6))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_unfinished_stays_of_whatever_was_written_at_a_kill(tmp_path, killed, number):
    out = tmp_path / str(len(list(tmp_path.iterdir())))
    write_all_but_success(out)
    for name in killed:
        (out / f".{name}.{number}-0a1b2c3d.part").write_bytes(b"")
    assert finish_output(out, RECORD) == 0
    assert sorted(path.name for path in out.iterdir()) == sorted(WRITTEN)


@pytest.mark.parametrize("number", range(3))
def test_processes_that_finish_at_once_do_not_disturb_one_another(tmp_path, number):
    write_all_but_success(tmp_path)

    def finish(_):
        write_skipped(tmp_path, [SkippedFile("a.png", "no image")])
        return finish_output(tmp_path, RECORD)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(finish, range(40))) == [0] * 40
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(WRITTEN)


def test_a_file_that_another_process_wrote_meanwhile_is_no_error(tmp_path, monkeypatch):
    write_all_but_success(tmp_path)

    def lose(path, text):
        path.write_text(text)
        raise FileNotFoundError(2, "No such file or directory", str(path))

    monkeypatch.setattr(output, "write_atomically", lose)
    assert finish_output(tmp_path, RECORD) == 0
    (tmp_path / "_SUCCESS").unlink()

    def fail(path, text):
        raise FileNotFoundError(2, "No such file or directory", str(path))

    monkeypatch.setattr(output, "write_atomically", fail)
    with pytest.raises(FileNotFoundError):
        finish_output(tmp_path, RECORD)


def test_an_output_that_lost_a_part_is_not_marked_complete(tmp_path):
    write_all_but_success(tmp_path)
    finish_output(tmp_path, RECORD)
    mark_unfinished(tmp_path, RECORD)
    assert (tmp_path / "_SUCCESS").exists()
    (tmp_path / "part-00001.parquet").unlink()
    mark_unfinished(tmp_path, RECORD)
    assert not (tmp_path / "_SUCCESS").exists()
    assert finish_output(tmp_path, RECORD) == 1
