"""`python -m tests.mutants [FILE ...]`: which small bugs no test notices, as a share of all.

A bug is a change of one operator, number, comparison or constant of a module, as Cosmic Ray makes
them. Modules are drawn by chance, in proportion to their lines, and of each a change by chance; so
the changes are a sample of all, and the share of those that survive has a standard error. Each is
made in a copy of the repository, and the test files nearest to the module run (`mutant_tests.py`).

A failed test is run again without the change: if it fails there too, the change says nothing. A
test file that takes too long is left out.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import cosmic_ray.plugins
import pytest
import tyro
from cosmic_ray.commands import init
from cosmic_ray.mutating import use_mutation
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec, WorkItem
from tyro.conf import Positional

from tests.forked import FORKS
from tests.mutant_tests import rank_tests, read_imports, read_tests

ROOT = Path(__file__).parent.parent
COPIED = ("src", "tests", "benchmarks", "recipes", "docs")
MAX_TEST_FILES = 8  # that run for each change, the nearest first, until one fails
COPIED_FILES = ("pyproject.toml", "README.md", "Makefile", "CHANGELOG.md")
# changes that are nearly always equivalent, or no bugs that anybody writes
SKIPPED_OPERATORS = tuple(
    f"core/{name}" for name in ("NoOp", "RemoveDecorator", "ExceptionReplacer", "Variable")
)
FORKS.set_forkserver_preload(["torch", "torch._dynamo", "pytest", "hypothesis", "PIL.Image"])
NO_TESTS = 5  # exit code of pytest

Span = tuple[tuple[int, int], tuple[int, int]]  # (line, column) of start and end
Outcome = Literal["killed", "survived", "no test", "unclear"]


def main(
    files: Annotated[Positional[tuple[Path, ...]], tyro.conf.arg(metavar="[FILE ...]")] = (),
    all_files: Annotated[bool, tyro.conf.arg(name="all")] = False,
    sample: int = 60,
    minutes: float = 30.0,
    seed: int = 0,
    timeout: float = 120.0,
) -> int:
    """Estimate which share of small bugs no test notices, and print those.

    Args:
        files: files of src/pinxit/ (default: those that differ from the branch main)
        all_files: take all files of src/pinxit/
        sample: number of changes to try
        minutes: begin no further change after that time; those before are a sample all the same
        seed: random seed of the sample
        timeout: seconds that a test file may take
    """
    end = time.monotonic() + 60 * minutes
    if all_files:
        paths = sorted(path.relative_to(ROOT) for path in (ROOT / "src").rglob("*.py"))
    else:
        paths = [file.resolve().relative_to(ROOT) for file in files] or list_changed_files()
    counts: Counter[Outcome] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        copy = copy_repository(Path(folder) / "copy")
        os.chdir(copy)
        os.environ["PYTHONPATH"] = str(copy / "src")
        imports, tests = read_imports(copy), read_tests(copy)
        for mutation in draw_mutations(paths, sample, seed):
            if time.monotonic() > end:
                print(f"the time is over after {counts.total()} of {sample} changes")
                break
            nearest = rank_tests(mutation.module_path, imports, tests, MAX_TEST_FILES)
            outcome, diff = try_mutation(mutation, nearest, timeout)
            counts[outcome] += 1
            where = f"{mutation.module_path}:{mutation.start_pos[0]}"
            print(f"{counts.total():3} {outcome:8} {where}", flush=True)
            if outcome in ("survived", "no test"):
                print("\n".join(f"      {line}" for line in diff), flush=True)
    print("\n" + describe_share(counts))
    return 0


def describe_share(counts: Counter[Outcome]) -> str:
    """Return the surviving share with its standard error; changes without a test survive.

    >>> describe_share(Counter({"killed": 45, "survived": 4, "no test": 1, "unclear": 2}))
    '5 of 50 survived: 10.0 % +- 4.2 %; 1 without a test, 2 unclear'
    """
    survived = counts["survived"] + counts["no test"]
    number = survived + counts["killed"]
    if not number:
        return "nothing to change"
    share = survived / number
    error = math.sqrt(share * (1 - share) / number)
    rest = [f"{counts['no test']} without a test", f"{counts['unclear']} unclear"]
    figures = f"{100 * share:.1f} % +- {100 * error:.1f} %"
    return f"{survived} of {number} survived: {figures}; {', '.join(rest)}"


def list_changed_files() -> list[Path]:
    """Return the modules that differ from the branch `main`, or that are not committed."""
    names = ["git", "diff", "--name-only", "--diff-filter=d", "main", "--", "src/pinxit"]
    output = subprocess.run(names, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [Path(name) for name in output.split() if name.endswith(".py")]


def copy_repository(copy: Path) -> Path:
    """Copy what the tests need, so that no change is ever made in the repository itself."""
    copy.mkdir()
    for name in COPIED:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in COPIED_FILES:
        shutil.copy(ROOT / name, copy)
    return copy


# -- the sample ------------------------------------------------------------------------------------


def draw_mutations(paths: Sequence[Path], sample: int, seed: int) -> Iterator[MutationSpec]:
    """Yield changes by chance, no two of one place. The first k are the same for any larger sample.

    A module is drawn in proportion to its lines of code.
    """
    rng, seen = random.Random(seed), set()
    lines = [_count_lines(path.read_text("utf-8")) for path in paths]
    known: dict[Path, list[MutationSpec]] = {}
    for _ in range(20 * sample):
        if len(seen) >= sample or not any(lines):
            return
        (path,) = rng.choices(paths, lines)
        if path not in known:
            known[path] = list_mutations(path)
        if not known[path]:
            continue
        mutation = rng.choice(known[path])
        place = path, mutation.start_pos
        if place not in seen:
            seen.add(place)
            yield mutation


def _count_lines(source: str) -> int:
    """Return the number of lines that are neither empty nor comments."""
    lines = (line.strip() for line in source.splitlines())
    return sum(bool(line) and not line.startswith("#") for line in lines)


def list_mutations(path: Path) -> list[MutationSpec]:
    """Return the changes of a module that change what it does: one of each place."""
    with (
        tempfile.TemporaryDirectory() as folder,
        use_db(f"{folder}/mutants.sqlite", WorkDB.Mode.create) as database,
    ):
        init([path], database, {})
        items = sorted(database.work_items, key=_sort_key)
    skipped_spans = list(_spans_without_effect(path.read_text("utf-8")))
    possible = [
        item
        for item in items
        if not item.mutations[0].operator_name.startswith(SKIPPED_OPERATORS)
        and not any(_is_within(item, span) for span in skipped_spans)
    ]
    random.Random(str(path)).shuffle(possible)
    return [item.mutations[0] for item in _one_per_place(possible)]


def _sort_key(item: WorkItem) -> tuple[object, ...]:
    mutation = item.mutations[0]
    return mutation.start_pos, mutation.operator_name, mutation.occurrence


def _one_per_place(items: Sequence[WorkItem]) -> list[WorkItem]:
    """Return the first change of each place: `+` can become any of a dozen other operators."""
    return list({item.mutations[0].start_pos: item for item in reversed(items)}.values())[::-1]


def _spans_without_effect(source: str) -> Iterator[Span]:
    """Yield where annotations are, which are never evaluated, and `if TYPE_CHECKING`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield (node.lineno, node.col_offset), (node.body[-1].end_lineno or node.lineno, 0)
        annotations = [getattr(node, name, None) for name in ("annotation", "returns")]
        for part in annotations:
            if isinstance(part, ast.expr):
                end = part.end_lineno or part.lineno, part.end_col_offset or part.col_offset
                yield (part.lineno, part.col_offset), end


def _is_within(item: WorkItem, span: Span) -> bool:
    mutation = item.mutations[0]
    return span[0] <= mutation.start_pos and mutation.end_pos <= span[1]


# -- one change ------------------------------------------------------------------------------------


def try_mutation(
    mutation: MutationSpec, tests: Sequence[Path], timeout: float
) -> tuple[Outcome, list[str]]:
    """Make a change, run the tests, and undo it; returns what they say, and the changed lines."""
    path = mutation.module_path
    operator = cosmic_ray.plugins.get_operator(mutation.operator_name)(**mutation.operator_args)
    with use_mutation(path, operator, mutation.occurrence) as (before, after):
        diff = _list_changed_lines(before, after or before)
        if not tests:
            return "no test", diff
        code, output = run_each(tests, timeout)
    if code == 0:
        return "survived", diff
    if code == NO_TESTS:
        return "no test", diff
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE)
    if code is None or not failed:
        return "unclear", diff
    return ("killed" if run_tests(failed[:1], timeout)[0] == 0 else "unclear"), diff


def run_each(tests: Sequence[Path], timeout: float) -> tuple[int | None, str]:
    """Run test files one after another, up to the first failure.

    A file that takes too long on this machine is left out. Returns pytest's exit code and output:
    0 if some passed and none failed, `NO_TESTS` if none has a test, None if all took too long.
    """
    codes: list[int | None] = []
    for test in tests:
        code, output = run_tests([str(test)], timeout)
        if code not in (0, None, NO_TESTS):
            return code, output
        codes.append(code)
    return (0 if 0 in codes else None if None in codes else NO_TESTS), ""


def run_tests(tests: Sequence[str], timeout: float) -> tuple[int | None, str]:
    """Run tests up to the first failure; returns pytest's exit code, None after a timeout.

    The process is forked from one that has imported the large libraries.
    """
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.txt"
        process = FORKS.Process(target=run_pytest, args=(str(Path.cwd()), list(tests), str(log)))
        process.start()
        process.join(timeout)
        code = process.exitcode
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid or 0, signal.SIGKILL)  # it, and what it started
        process.kill()  # it may have no group of its own yet
        process.join()
        return code, log.read_text("utf-8", "replace") if log.is_file() else ""


def run_pytest(folder: str, tests: list[str], log: str) -> None:
    """Run pytest in this process, which it ends, with the code of a folder."""
    os.setsid()
    os.chdir(folder)
    file = os.open(log, os.O_WRONLY | os.O_CREAT)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    sys.dont_write_bytecode = True
    os.environ["PYTHONPATH"] = f"{folder}/src{os.pathsep}{folder}"
    sys.path[:0] = [f"{folder}/src", folder]
    for name in [name for name in sys.modules if name.split(".")[0] in ("tests", "pinxit")]:
        del sys.modules[name]  # those of the repository that this process comes from
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--tb=no"]
    code = pytest.main([*options, "-m", "not long", *tests])
    sys.stdout.flush()
    os._exit(int(code))


def _list_changed_lines(before: str, after: str) -> list[str]:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    return [line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")]


if __name__ == "__main__":
    sys.exit(tyro.cli(main, prog="python -m tests.mutants"))
