"""The layout of the package: order of imports, no circles, no family named outside models/."""

from __future__ import annotations

import ast
import io
import resource
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

import pinxit
from pinxit.models import list_families

PACKAGE = Path(pinxit.__file__).parent
# a file imports from its own package and from those before it
ORDER = [
    "errors", "extras", "notebook", "console", "data", "nn", "models", "run_records", "runs",
    "watch", "training", "sampling", "evaluation", "mapping", "onnx_export",
    "reports", "hub", "serve", "api", "cli",
]  # fmt: skip
FILES = sorted(file for file in PACKAGE.rglob("*.py") if file != PACKAGE / "__init__.py")
MAX_LINES = 400


def module_name(file: Path) -> str:
    parts = list(file.relative_to(PACKAGE.parent).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(file): file for file in FILES}


def list_imports(file: Path) -> Iterator[str]:
    """Every pinxit module that a file imports: at the top, in functions, for type checking."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "pinxit":
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES or node.module == "pinxit" else str(node.module)
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.startswith("pinxit."))


def package_of(module: str) -> str:
    return module.split(".")[1]


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Sets of modules that import one another (strongly connected components, Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    components: list[set[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph[node]:
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            component = set(stack[stack.index(node) :])
            del stack[stack.index(node) :]
            components.append(component)

    for node in graph:
        if node not in index:
            visit(node)
    return [component for component in components if len(component) > 1]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_follow_the_order_of_packages(file):
    own = ORDER.index(package_of(module_name(file)))
    later = {name for name in list_imports(file) if ORDER.index(package_of(name)) > own}
    assert not later


def test_an_import_against_the_order_is_detected(tmp_path):
    file = tmp_path / "wrong.py"
    file.write_text("def f():\n    from pinxit.cli import main\n    from pinxit import serve\n")
    assert set(list_imports(file)) == {"pinxit.cli", "pinxit.serve"}


def test_no_modules_import_one_another():
    graph = {
        name: {m for m in list_imports(file) if m in MODULES and m != name}
        for name, file in MODULES.items()
    }
    assert circles(graph) == []


def test_a_circle_is_detected():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}
    assert circles(graph) == [{"b", "c"}]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_no_file_is_too_long(file):
    assert len(file.read_text().splitlines()) <= MAX_LINES


def family_names(source: str) -> set[str]:
    """Families that code names: as a module, an identifier or a whole string."""
    names = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME:
            names.add(token.string)
        elif token.type == tokenize.STRING:
            names.add(token.string.strip("\"'"))
    return names & set(list_families())


OUTSIDE = [file for file in FILES if "models" not in file.relative_to(PACKAGE).parts]


@pytest.mark.parametrize(
    "file", [PACKAGE / "__init__.py", *OUTSIDE], ids=lambda file: str(file.relative_to(PACKAGE))
)
def test_no_family_is_named_outside_models(file):
    assert not family_names(file.read_text())


def test_a_named_family_is_detected():
    assert family_names("from pinxit.models.vae import x\nname = 'igpt'\n") == {"vae", "igpt"}


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


def test_fabric_is_imported_when_training_starts_only():
    """Its import takes longer than that of torch, which it doubles: nothing else waits for it."""
    code = "import pinxit.training.api, pinxit.training.running, pinxit.cli.sample, torch"
    assert "lightning_fabric" not in modules_after(code)


def measure_cpu_seconds(*args: str) -> float:
    """Return the CPU time of Python with these arguments."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *args], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("words", [["--help"], ["train", "vae", "--help"], ["sample", "--help"]])
def test_help_answers_in_under_half_a_second(words):
    """In CPU time, beside a loop that takes 0.25 s: other work makes both slower."""
    loop = "for i in range(5_000_000): pass"

    def measure_share() -> float:
        return measure_cpu_seconds("-m", "pinxit.cli", *words) / measure_cpu_seconds("-c", loop)

    assert any(measure_share() < 0.5 / 0.25 for _ in range(5))
