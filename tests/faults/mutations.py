"""Random damage, by the thousand: files of images and data sets, and run folders."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import os
import random
import shutil
import signal
import struct
import tarfile
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.faults import hostile_runs
from tests.faults.hostile_runs import mutate

LIMIT_SECONDS = 30  # of a small file, on a busy machine


def noise_image(seed: int, size: int = 12, mode: str = "RGB") -> Image.Image:
    rng = np.random.default_rng(seed)
    shape = (size, size, 3) if mode in ("RGB", "P") else (size, size)
    image = Image.fromarray(rng.integers(0, 255, shape, np.uint8))
    return image.convert(mode)


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def image_seeds() -> dict[str, tuple[str, bytes]]:
    """Return small image files: name -> (name of the file, content)."""
    rgb, grey = noise_image(0), noise_image(1, mode="L")
    frames = {"save_all": True, "append_images": [noise_image(2)]}
    deep = Image.fromarray(np.arange(144, dtype=np.uint16).reshape(12, 12) * 400)
    real = Image.fromarray(np.linspace(-1, 1, 144, dtype=np.float32).reshape(12, 12))
    seeds = {
        "png": encode(rgb, "PNG"),
        "png-16": encode(deep, "PNG"),
        "png-palette": encode(noise_image(3, mode="P"), "PNG", transparency=0),
        "png-la": encode(grey.convert("LA"), "PNG"),
        "png-animated": encode(rgb, "PNG", **frames),
        "jpg": encode(rgb, "JPEG", exif=_orientation(6)),
        "jpg-progressive": encode(rgb, "JPEG", progressive=True),
        "jpg-cmyk": encode(rgb.convert("CMYK"), "JPEG"),
        "gif": encode(rgb, "GIF", **frames),
        "webp": encode(rgb, "WEBP"),
        "webp-lossless": encode(rgb, "WEBP", lossless=True),
        "bmp": encode(rgb, "BMP"),
        "bmp-1": encode(grey.convert("1"), "BMP"),
        "tif": encode(rgb, "TIFF"),
        "tif-16": encode(deep, "TIFF"),
        "tif-float": encode(real, "TIFF"),
        **{f"tif-{c}": encode(rgb, "TIFF", compression=c) for c in ("tiff_lzw", "jpeg", "zip")},
        "tif-group4": encode(grey.convert("1"), "TIFF", compression="group4"),
    }
    return {name: (f"a.{name.split('-')[0]}", content) for name, content in seeds.items()}


def _orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def data_seeds() -> dict[str, tuple[str, bytes]]:
    """Return small data sets in one file: name -> (name of the file, content)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pixels = np.random.default_rng(0).integers(0, 255, (6, 8, 8), np.uint8)
    labels = np.arange(6) % 3
    png = encode(noise_image(4, 8), "PNG")
    npz, npy, parquet, tar = io.BytesIO(), io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.savez(npz, images=pixels, labels=labels)
    np.save(npy, pixels)
    images = [{"bytes": png, "path": None}] * 6
    texts = [f"a cat {i}" for i in range(6)]
    pq.write_table(pa.table({"image": images, "label": labels, "text": texts}), parquet)
    with tarfile.open(fileobj=tar, mode="w") as opened:
        for i in range(4):
            _add_member(opened, f"{i}.png", png)
            _add_member(opened, f"{i}.json", json.dumps({"caption": texts[i], "label": i}).encode())
    idx = struct.pack(">BBBBIII", 0, 0, 8, 3, 6, 8, 8) + pixels.tobytes()
    return {
        "npz": ("set.npz", npz.getvalue()),
        "npy": ("set.npy", npy.getvalue()),
        "parquet": ("set.parquet", parquet.getvalue()),
        "tar": ("set.tar", tar.getvalue()),
        "idx": ("t10k-images-idx3-ubyte", idx),
        "idx-gz": ("t10k-images-idx3-ubyte.gz", gzip.compress(idx, mtime=0)),
        "csv": ("metadata.csv", _csv(texts)),
        "csv-semicolon": ("metadata.csv", _csv(texts).replace(b",", b";")),
        "jsonl": ("metadata.jsonl", _jsonl(texts)),
    }


def _add_member(file: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    file.addfile(member, io.BytesIO(content))


def _csv(texts: list[str]) -> bytes:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["file_name", "caption", "label"])
    writer.writerows([f"{i}.png", text, i] for i, text in enumerate(texts))
    return file.getvalue().encode()


def _jsonl(texts: list[str]) -> bytes:
    rows = [{"file_name": f"{i}.png", "text": text} for i, text in enumerate(texts)]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


class Hang(BaseException):
    """Reading a file took too long."""


def read_damaged(name: str, content: bytes, folder: Path) -> str:
    """Load a folder with a damaged file, or that file; returns "" or why that is no good end."""
    from pinxit.data.load import load_images
    from pinxit.errors import PinxitError

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / name).write_bytes(content)
    is_table = name.startswith("metadata")
    if is_table or name.startswith("a."):
        for i in range(2):
            noise_image(i, 8).save(folder / f"{i}.png")
    source = folder if is_table or name.startswith("a.") or "idx" in name else folder / name

    def stop(*_: object) -> None:
        raise Hang

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT_SECONDS)
    try:
        load_images(str(source), cache=False, progress=False)
    except PinxitError as error:
        text = str(error)
        return f"a message of {len(text)} characters" if len(text) > 3000 else ""
    except Hang:
        return "hangs"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
    return ""


def soak_inputs(count: int, seed: int) -> int:
    """Read this many damaged files and print what went wrong; returns the exit code."""
    rng, folder = random.Random(seed), Path(tempfile.mkdtemp()) / "data"
    seeds = {**image_seeds(), **data_seeds()}
    failures: Counter[str] = Counter()
    slowest, start = 0.0, time.monotonic()
    with native_stderr() as stderr:
        for number in range(count):
            kind = list(seeds)[number % len(seeds)]
            name, content = seeds[kind]
            changed, began = mutate(content, rng), time.monotonic()
            if complaint := read_damaged(name, changed, folder):
                failures[kind] += 1
                kept = folder.parent / f"{kind}-{number}"
                kept.write_bytes(changed)
                print(f"FAILED {kind}: {complaint[:300]} ({kept})", flush=True)
            slowest = max(slowest, time.monotonic() - began)
        noise = stderr()
    seconds = time.monotonic() - start
    print(f"{count:,} inputs of {len(seeds)} kinds in {seconds:.0f} s, slowest {slowest:.1f} s")
    print(f"{sum(failures.values())} failures {dict(failures)}, {len(noise)} bytes on stderr")
    print(noise[:500])
    return 1 if failures or noise else 0


@contextlib.contextmanager
def native_stderr() -> Any:
    """Collect what libraries in C write to stderr, past Python; yields a function to read it."""
    with tempfile.TemporaryFile() as file:
        before = os.dup(2)
        os.dup2(file.fileno(), 2)

        def read() -> bytes:
            file.seek(0)
            return file.read()

        try:
            yield read
        finally:
            os.dup2(before, 2)
            os.close(before)


def make_runs(root: Path, kinds: dict[str, list[str]]) -> dict[str, Path]:
    """Train and evaluate small runs, each of three steps."""
    runs = {}
    for name, args in kinds.items():
        path = root / name
        steps = ["--steps", "3", "--batch-size", "8", "--num-evals", "2", "--no-report", "--quiet"]
        for command in (
            ["train", *args, *steps, "--out", str(path)],
            [*hostile_runs.COMMANDS["evaluate"](path), "--quiet"],
        ):
            outcome = hostile_runs.run_command(command, 600)
            assert outcome.code == 0, outcome
        runs[name] = path
    return runs


TINY_RUNS = {
    "vae": ["vae", "digits", "--limit", "60", "--width", "16", "--depth", "1", "--network", "mlp"],
    "igpt": [
        *("igpt", "digits", "--limit", "60", "--width", "16", "--depth", "1"),
        *("--palette-size", "8", "--patch-size", "2"),
    ],
    "caption": [
        *("seq2seq", "shapes:48", "--source", "image", "--target", "text", "--width", "16"),
        *("--depth", "1", "--decoder-depth", "1"),
    ],
    "flow": [
        *("flow", "shapes:48", "--width", "16", "--depth", "1", "--heads", "1"),
        *("--text-depth", "1"),
    ],
    "tokenizer": ["tokenizer", "shapes:48", "--width", "8", "--depth", "1"],
    "mae": ["mae", "shapes:48", "--width", "16", "--depth", "1"],
}


def soak_runs(count: int, seed: int) -> int:
    """Try commands on this many damaged run folders; returns the exit code."""
    rng, root = random.Random(seed), Path(tempfile.mkdtemp(prefix="pinxit-runs-"))
    os.environ["PINXIT_CACHE"] = str(root / "cache")
    runs = make_runs(root, TINY_RUNS)
    failures, codes = 0, Counter[str]()
    for _ in range(count):
        kind, command = rng.choice(list(runs)), rng.choice(list(hostile_runs.COMMANDS))
        name, damage = hostile_runs.choose_damage(rng)
        outcome = hostile_runs.try_damage(runs[kind], damage, command, root / "scratch")
        codes[f"{command} {outcome.code}"] += 1
        if outcome.complaint:
            failures += 1
            print(f"FAILED {kind} {command} {name}: {outcome.complaint[-600:]}", flush=True)
    print(f"{count} damaged run folders, {failures} failures; exit codes {dict(codes)}")
    return 1 if failures else 0
