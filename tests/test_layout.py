"""The order of the rooms: a file may import only from the rooms above its own."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

import pinxit

HOUSE = Path(pinxit.__file__).parent
ROOMS = ["errors", "console", "data", "nn", "models", "runs", "training", "sampling"]
ROOMS += ["evaluation", "reports", "serve", "cli"]


def room_of(file: Path) -> str:
    return file.relative_to(HOUSE).parts[0].removesuffix(".py")


def imported_rooms(file: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module]
            if node.module == "pinxit":
                names = [f"pinxit.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        rooms |= {name.split(".")[1] for name in names if name.startswith("pinxit.")}
    return rooms


FILES = sorted(file for file in HOUSE.rglob("*.py") if file != HOUSE / "__init__.py")


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(HOUSE)))
def test_imports_run_one_way(file):
    own = ROOMS.index(room_of(file))
    below = {room for room in imported_rooms(file) if ROOMS.index(room) > own}
    assert not below, f"{room_of(file)} imports from rooms below it: {below}"


def test_the_check_sees_an_import_from_below(tmp_path):
    file = tmp_path / "wrong.py"
    file.write_text("def f():\n    from pinxit.cli import main\n")
    assert imported_rooms(file) == {"cli"}


def modules_after(code: str) -> set[str]:
    probe = f"{code}\nimport sys; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import pinxit",
        "import pinxit; pinxit.VAE(latent_dim=3)",
        "from pinxit.cli import overview; overview()",
        "import pinxit.models as m; list(map(m.get_family, m.list_families()))",
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(code):
    assert not {"torch", "datasets", "sklearn", "matplotlib", "PIL"} & modules_after(code)


@pytest.mark.parametrize("words", [["--help"], ["train", "vae", "--help"], ["sample", "--help"]])
def test_help_answers_in_under_half_a_second(words):
    def once() -> float:
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "pinxit.cli", *words], check=True, stdout=subprocess.DEVNULL
        )
        return time.perf_counter() - start

    assert min(once() for _ in range(3)) < 0.5
