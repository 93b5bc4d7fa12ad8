"""`make mutants`: the sample, the tests that are chosen, and what a change and its tests say."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from multiprocessing import forkserver
from pathlib import Path

import pytest

pytest.importorskip("cosmic_ray", reason="cosmic-ray is not installed")
from tests import mutants
from tests.mutant_tests import rank_tests, read_imports, read_tests

SOURCE = """
LIMIT = 7


def add(a: int, b: int = 0) -> int:
    # a comment
    return a + b if a < LIMIT else a
"""
TEST = """
from pinxit.small import add
def test_add():
    assert add(1, 2) == 3
    {more}
"""


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    """A package of one module, with a test that checks a part of it."""
    forkserver.ensure_running()  # once for all tests of this process: not in this folder, nor path
    for folder in ("src/pinxit", "tests"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "src/pinxit/__init__.py").touch()
    (tmp_path / "src/pinxit/small.py").write_text(SOURCE)
    (tmp_path / "tests/test_small.py").write_text(TEST.format(more=""))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "src"))
    return tmp_path


def test_the_sample_is_reproducible_and_of_code_alone(repository):
    path = Path("src/pinxit/small.py")
    drawn = list(mutants.draw_mutations([path], 5, seed=1))
    assert drawn[:3] == list(mutants.draw_mutations([path], 3, seed=1))
    places = [mutation.start_pos for mutation in drawn]
    assert len(set(places)) == len(places)
    assert {line for line, _ in places} <= {2, 5, 7}
    assert list(mutants.draw_mutations([], 3, seed=0)) == []


def test_imports_of_types_are_left_out(repository):
    path = Path("src/pinxit/small.py")
    path.write_text(
        "TYPE_CHECKING = False\nif TYPE_CHECKING:\n    import os\n\nif 1 < 2:\n    A = 3\n"
    )
    assert {mutation.start_pos[0] for mutation in mutants.list_mutations(path)} == {1, 5, 6}


@pytest.mark.long
def test_changes_are_killed_or_survive(repository):
    path, tests = Path("src/pinxit/small.py"), [Path("tests/test_small.py")]
    changes = {
        str(diff[1]): outcome
        for mutation in mutants.list_mutations(path)
        if mutation.operator_name.startswith(("core/ReplaceBinary", "core/Number"))
        for outcome, diff in [mutants.try_mutation(mutation, tests, 60)]
    }
    assert path.read_text() == SOURCE, "every change is undone"
    assert {outcome for line, outcome in changes.items() if line.startswith("+LIMIT")} == {
        "survived"
    }
    assert {outcome for line, outcome in changes.items() if "return" in line} == {"killed"}
    mutation = mutants.list_mutations(path)[0]
    assert mutants.try_mutation(mutation, [], 60)[0] == "no test"


@pytest.mark.long
def test_tests_that_fail_anyway_say_nothing(repository):
    (repository / "tests/test_small.py").write_text(TEST.format(more="assert False"))
    mutation = mutants.list_mutations(Path("src/pinxit/small.py"))[0]
    assert mutants.try_mutation(mutation, [Path("tests/test_small.py")], 60)[0] == "unclear"


def test_tests_that_take_too_long_are_ended(repository):
    marker = repository / "alive"
    code = f"import time; time.sleep(3); open({str(marker)!r}, 'w')"
    more = f"import subprocess; subprocess.run([{sys.executable!r}, '-c', {code!r}])"
    (repository / "tests/test_small.py").write_text(TEST.format(more=more))
    code, output = mutants.run_tests(["tests/test_small.py"], 1.0)
    assert code is None
    assert "passed" not in output
    time.sleep(3.5)
    assert not marker.exists(), "with the processes that they started"


def test_the_nearest_tests_are_those_that_import_the_module():
    root = mutants.ROOT
    imports, tests = read_imports(root), read_tests(root)

    def nearest(module: str) -> list[str]:
        return [str(file) for file in rank_tests(Path(module), imports, tests, 3)]

    assert nearest("src/pinxit/data/sizes.py")[0] == "tests/data/test_sizes.py"
    assert nearest("src/pinxit/mapping/samples.py")[0] == "tests/mapping/test_samples.py"
    covered = sorted(path for path in (root / "src").rglob("*.py") if path.name != "__init__.py")
    without = [p for p in covered[::10] if not nearest(os.fspath(p.relative_to(root)))]
    assert len(without) < len(covered) / 200


def test_the_share_has_its_standard_error():
    counts: Counter[mutants.Outcome] = Counter({"killed": 45, "survived": 4, "no test": 1})
    assert mutants.describe_share(counts) == (
        "5 of 50 survived: 10.0 % +- 4.2 %; 1 without a test, 0 unclear"
    )
    assert mutants.describe_share(Counter()) == "nothing to change"
