"""`python -m tests.mutants [FILE ...]`: which small bugs in these files no test notices.

Cosmic Ray changes one operator, number, comparison or constant of a file at a time, in a copy of
the repository, and the tests that import the file run. A change that all of them pass has survived:
a test is missing, or the change makes no difference. Without files, those that differ from `main`
are taken.
"""

from __future__ import annotations

import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import tyro
from cosmic_ray.commands import execute, init
from cosmic_ray.config import ConfigDict
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkItem, WorkResult
from tyro.conf import Positional

ROOT = Path(__file__).parent.parent
COPIED = ("src", "tests", "benchmarks", "recipes", "docs")
MAX_TEST_FILES = 3  # that run for each change
COPIED_FILES = ("pyproject.toml", "README.md", "Makefile", "CHANGELOG.md")
# changes that are nearly always equivalent, or no bugs that anybody writes
SKIPPED_OPERATORS = tuple(
    f"core/{name}" for name in ("NoOp", "RemoveDecorator", "ExceptionReplacer", "Variable")
)

Span = tuple[tuple[int, int], tuple[int, int]]  # (line, column) of start and end


def main(
    files: Annotated[Positional[tuple[Path, ...]], tyro.conf.arg(metavar="[FILE ...]")] = (),
    sample: int = 12,
    seed: int = 0,
    timeout: float = 120.0,
) -> int:
    """Count the small bugs in these files that no test notices, and print them.

    Args:
        files: files of src/pinxit/ (default: those that differ from the branch main)
        sample: changes that are tried of each file
        seed: random seed of the sample
        timeout: seconds that the tests of a change may take; longer counts as noticed
    """
    paths = [file.resolve().relative_to(ROOT) for file in files] or list_changed_files()
    tested = {path: tests for path in paths if (tests := find_tests(path))}
    for path in sorted(set(paths) - set(tested)):
        print(f"{path}: no test imports it")
    with tempfile.TemporaryDirectory() as folder:
        copy = copy_repository(Path(folder) / "copy")
        os.chdir(copy)
        results = [
            measure(path, tests, sample, seed, timeout) for path, tests in sorted(tested.items())
        ]
    survived, tried = (sum(column) for column in zip(*results, strict=True)) if results else (0, 0)
    print(f"\n{survived} of {tried} survived" if tried else "nothing to change")
    return 0


def list_changed_files() -> list[Path]:
    """Return the modules that differ from the branch `main`, or that are not committed."""
    names = ["git", "diff", "--name-only", "--diff-filter=d", "main", "--", "src/pinxit"]
    output = subprocess.run(names, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [Path(name) for name in output.split() if name.endswith(".py")]


def find_tests(path: Path) -> list[str]:
    """Return the test files that import a module, those of its folder first; at most three."""
    module = ".".join(path.with_suffix("").parts[1:]).removesuffix(".__init__")
    folder = path.parent.name
    importing = [
        file.relative_to(ROOT)
        for file in sorted((ROOT / "tests").rglob("test_*.py"))
        if module in set(_list_imports(file))
    ]
    importing.sort(key=lambda file: (path.stem not in file.stem, file.parent.name != folder))
    return [str(file) for file in importing[:MAX_TEST_FILES]]


def _list_imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def copy_repository(copy: Path) -> Path:
    """Copy what the tests need, so that no change is ever made in the repository itself."""
    copy.mkdir()
    for name in COPIED:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in COPIED_FILES:
        shutil.copy(ROOT / name, copy)
    return copy


def measure(
    path: Path, tests: Sequence[str], sample: int, seed: int, timeout: float
) -> tuple[int, int]:
    """Try a sample of the changes of a module; returns how many survived, and how many ran."""
    pytest = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    pytest += ["-p", "no:randomly", "-m", "not slow", *tests]
    os.environ["PYTHONPATH"] = str(Path.cwd() / "src")
    if subprocess.run(pytest, capture_output=True).returncode:
        print(f"{path}: its tests fail without a change: {' '.join(tests)}")
        return 0, 0
    config = ConfigDict(
        {
            "test-command": subprocess.list2cmdline(pytest),
            "timeout": timeout,
            "distributor": {"name": "local"},
        }
    )
    with use_db(str(Path.cwd() / "mutants.sqlite"), WorkDB.Mode.create) as database:
        init([path], database, {})
        choose(database, path, sample, seed)
        execute(database, config)
        outcomes = dict(database.results)
        items = [item for item in database.work_items if outcomes[item.job_id].test_outcome]
    survivors = [i for i in items if outcomes[i.job_id].test_outcome == TestOutcome.SURVIVED]
    print(f"{path}: {len(survivors)} of {len(items)} survived", flush=True)
    for item in survivors:
        print(_describe(item, outcomes[item.job_id]), flush=True)
    return len(survivors), len(items)


def choose(database: WorkDB, path: Path, sample: int, seed: int) -> None:
    """Skip all changes but a sample of those that change what the module does."""
    skipped_spans = list(_spans_without_effect(path.read_text("utf-8")))
    items = sorted(database.work_items, key=_sort_key)
    possible = [
        item
        for item in items
        if not item.mutations[0].operator_name.startswith(SKIPPED_OPERATORS)
        and not any(_is_within(item, span) for span in skipped_spans)
    ]
    random.Random(seed).shuffle(possible)
    chosen = {item.job_id for item in _one_per_place(possible)[:sample]}
    others = [item.job_id for item in items if item.job_id not in chosen]
    database.set_multiple_results(others, WorkResult(WorkerOutcome.SKIPPED))


def _sort_key(item: WorkItem) -> tuple[object, ...]:
    mutation = item.mutations[0]
    return mutation.start_pos, mutation.operator_name, mutation.occurrence


def _one_per_place(items: Sequence[WorkItem]) -> list[WorkItem]:
    """Return the first change of each place: `+` can become any of a dozen other operators."""
    return list({item.mutations[0].start_pos: item for item in reversed(items)}.values())[::-1]


def _spans_without_effect(source: str) -> Iterator[Span]:
    """Yield where annotations are, which are never evaluated."""
    for node in ast.walk(ast.parse(source)):
        annotations = [getattr(node, name, None) for name in ("annotation", "returns")]
        for part in annotations:
            if isinstance(part, ast.expr):
                end = part.end_lineno or part.lineno, part.end_col_offset or part.col_offset
                yield (part.lineno, part.col_offset), end


def _is_within(item: WorkItem, span: Span) -> bool:
    mutation = item.mutations[0]
    return span[0] <= mutation.start_pos and mutation.end_pos <= span[1]


def _describe(item: WorkItem, result: WorkResult) -> str:
    """Return the line before and after the change."""
    lines = (result.diff or "").splitlines()
    changed = [line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    where = f"  line {item.mutations[0].start_pos[0]}"
    return "\n".join([where, *(f"    {line}" for line in changed)])


if __name__ == "__main__":
    sys.exit(tyro.cli(main, prog="python -m tests.mutants"))
