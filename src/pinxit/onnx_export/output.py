"""Where exported parts are written: a file, or a folder with a file for each."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pinxit.data.home_folder import expand_home
from pinxit.errors import UsageError
from pinxit.runs import Run

SUFFIX = ".onnx"


@dataclass(frozen=True)
class Output:
    """The file of a part, or the folder of some: written when all of them are complete."""

    path: Path
    is_folder: bool
    every_part: bool  # unless one is named
    int8: bool

    def file(self, part: str) -> Path:
        """Return the file of a part."""
        name = f"{part}-int8{SUFFIX}" if self.int8 else f"{part}{SUFFIX}"
        return self.path / name if self.is_folder else self.path

    def check(self, parts: Iterable[str], *, overwrite: bool) -> None:
        """Raise UsageError if a file is there already, unless it may be overwritten."""
        for file in map(self.file, parts):
            if file.is_dir():
                raise UsageError(f"{file} is a folder; name another file with --out.")
            if file.exists() and not overwrite:
                raise UsageError(f"{file} exists: choose another --out, or --overwrite.")

    def write(self, contents: Mapping[str, bytes]) -> None:
        """Write the files beside their places, and rename all when all are on the disk.

        An OSError leaves the files that were there, and none of the new ones.
        """
        folder = self.path if self.is_folder else self.path.parent
        is_new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        beside = folder / f".export.{os.getpid()}-{secrets.token_hex(4)}.part"
        try:
            beside.mkdir()
            for part, content in contents.items():
                with (beside / self.file(part).name).open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            for file in map(self.file, contents):
                (beside / file.name).replace(file)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
            if is_new:
                with contextlib.suppress(OSError):
                    folder.rmdir()  # if nothing was written


def resolve_output(run: Run, out: str | Path | None, *, int8: bool) -> Output:
    """Return where to write: the run folder by default, a folder for a path without a suffix.

    Raises UsageError for another suffix than `.onnx`.
    """
    if out is None:
        return Output(run.path, is_folder=True, every_part=False, int8=int8)
    path = expand_home(out)
    is_folder = path.is_dir() or str(out).endswith(("/", os.sep))
    if is_folder or (not path.suffix and not path.exists()):
        return Output(path, is_folder=True, every_part=True, int8=int8)
    if path.suffix.lower() != SUFFIX:
        ending = f"'{path.suffix}'" if path.suffix else "without a suffix"
        raise UsageError(f"--out ends in {SUFFIX}, or is a folder, not {ending}: {path}")
    return Output(path, is_folder=False, every_part=False, int8=int8)
