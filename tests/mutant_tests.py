"""Which test files cover a module: those that import it, directly or through few other modules."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

Imports = Mapping[str, set[str]]  # module -> modules that it imports


def rank_tests(
    module: Path, imports: Imports, tests: Mapping[Path, set[str]], limit: int
) -> list[Path]:
    """Return the test files that are nearest to a module, at most `limit` of them.

    A file that imports the module itself is at distance 1; one of the same name and folder at 2 at
    most, since commands are imported by their names. Of a module that no file reaches so, which is
    imported by its name too, those of its folders count. Of equal distance, a file of the same
    name comes first, then one of the same folder, then one that imports little else.
    """
    target = module_name(module)
    distance_to = _distances(target, imports)
    reached = {}
    for file, names in tests.items():
        found = [distance_to[name] + 1 for name in names if name in distance_to]
        if file.stem == f"test_{module.stem}" and file.parent.name == module.parent.name:
            found.append(2)
        if found:
            reached[file] = min(found)

    if not reached:
        reached = {file: 0 for file in tests if file.parent.name in module.parts}

    def order(file: Path) -> tuple[object, ...]:
        same_name = module.stem in file.stem
        same_folder = file.parent.name == module.parent.name
        return reached[file], not same_name, not same_folder, len(tests[file]), str(file)

    return sorted(reached, key=order)[:limit]


def _distances(target: str, imports: Imports) -> dict[str, int]:
    """Return over how many imports each module reaches the target, 0 for itself."""
    importers: dict[str, set[str]] = {}
    for module, names in imports.items():
        for name in names:
            importers.setdefault(name, set()).add(module)
    distances, front = {target: 0}, [target]
    while front:
        following = []
        for module in front:
            for importer in sorted(importers.get(module, set()) - distances.keys()):
                distances[importer] = distances[module] + 1
                following.append(importer)
        front = following
    return distances


def module_name(path: Path) -> str:
    """Return the dotted name of a file below `src`.

    >>> module_name(Path("src/pinxit/data/load.py"))
    'pinxit.data.load'
    """
    return ".".join(path.with_suffix("").parts[1:]).removesuffix(".__init__")


def read_imports(root: Path) -> dict[str, set[str]]:
    """Return what each module of the package imports, also inside of functions."""
    paths = [file.relative_to(root) for file in sorted((root / "src").rglob("*.py"))]
    modules = {module_name(path): path for path in paths}
    return {
        name: (set(list_imports(root / path)) & modules.keys()) - {name}
        for name, path in modules.items()
    }


def read_tests(root: Path) -> dict[Path, set[str]]:
    """Return what each test file imports, and what it runs as a command."""
    return {
        file.relative_to(root): set(list_imports(file))
        for file in sorted((root / "tests").rglob("test_*.py"))
    }


def list_imports(file: Path) -> Iterator[str]:
    """Yield the modules that a file imports."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
