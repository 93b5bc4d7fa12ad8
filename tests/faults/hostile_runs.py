"""Run folders that are damaged or made by an attacker, and commands that must refuse them well."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import random
import shutil
import signal
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIMIT_SECONDS = 60  # of a command on a small run, on a busy machine
MAX_MESSAGE = 3_000  # characters of an error

VALUES: list[Any] = [
    *(None, "", "x" * 5000, "../../../tmp", "\ud800", "<script>", "auto"),
    *(-1, 0, 1, 2, 10**7, 10**9, 2**63, 10**30, 0.5, -0.5, 1e300, float("nan"), float("inf")),
    *(True, [], {}, [[]], [1, 2], ["a"], {"a": 1}, [None] * 3),
]  # fmt: skip

COMMANDS = {
    "runs": lambda run: ["runs", str(run)],
    "sample": lambda run: ["sample", str(run), "-n", "2", "--out", str(run / "out.png")],
    "report": lambda run: ["report", str(run)],
    "resume": lambda run: ["train", "--resume", str(run), "--steps", "5", "--no-report"],
    "evaluate": lambda run: [
        *("evaluate", str(run), "--no-distances", "--iw-samples", "2"),
        *("--likelihood-images", "4", "--probe-train-size", "0"),
    ],
    "compare": lambda run: ["compare", str(run), str(run)],
}


class Hang(BaseException):
    """A command took too long."""


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: int | str  # the exit code, or the type of the exception that escaped
    text: str
    seconds: float

    @property
    def complaint(self) -> str:
        """Why the outcome is not acceptable; "" if it is."""
        if self.code not in (0, 1, 2):
            return f"ended with {self.code}: {self.text[-2000:]}"
        if "this is a bug" in self.text or "Traceback" in self.text:
            return f"internal error: {self.text[-2000:]}"
        last = self.text.strip().splitlines()[-1:] or [""]
        if self.code and not last[0]:
            return "failed without a message"
        if self.code and len(self.text) > MAX_MESSAGE + 2000:
            return f"a message of {len(self.text)} characters: {self.text[:300]}"
        return ""


def run_command(args: list[str], limit: int = LIMIT_SECONDS) -> Outcome:
    """Run a command in this process, with a limit on its time."""
    from pinxit.cli import main

    out, err = io.StringIO(), io.StringIO()
    start = time.monotonic()

    def stop(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(limit)
    code: int | str
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(args)
    except Hang:
        code = "hang"
    except BaseException as error:
        code = f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return Outcome(code, err.getvalue(), time.monotonic() - start)


# -- damage ----------------------------------------------------------------------------------------

Damage = Callable[[Path], None]  # changes a run folder


def damage_json(name: str, rng: random.Random) -> tuple[str, Damage]:
    """Put a hostile value at a random place of a JSON file, or remove the place."""
    state = rng.getrandbits(64)

    def apply(run: Path) -> None:
        inner = random.Random(state)
        record = json.loads((run / name).read_text())
        parent, key = inner.choice(list(places(record)))
        kind = inner.random()
        if kind < 0.1:
            del parent[key]
        elif kind < 0.2 and isinstance(parent, dict):
            parent["unknown"] = copy.deepcopy(inner.choice(VALUES))
        else:
            parent[key] = copy.deepcopy(inner.choice(VALUES))
        (run / name).write_text(json.dumps(record), errors="surrogatepass")

    return f"{name} {state}", apply


def places(record: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each place of a JSON record: the dict or list, and the key or index in it."""
    if isinstance(record, dict | list):
        for key in list(record) if isinstance(record, dict) else range(len(record)):
            yield record, key
            yield from places(record[key])


def damage_bytes(name: str, rng: random.Random) -> tuple[str, Damage]:
    """Change, cut or repeat bytes of a file; those at its beginning more often."""
    state = rng.getrandbits(64)

    def apply(run: Path) -> None:
        file = run / name
        if file.is_file():
            file.write_bytes(mutate(file.read_bytes(), random.Random(state)))

    return f"{name} bytes {state}", apply


def mutate(content: bytes, rng: random.Random) -> bytes:
    """Return the content with a few random changes."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        if not data:
            break
        end = len(data) if rng.random() < 0.5 else min(len(data), 256)
        at = rng.randrange(end)
        kind = rng.randrange(6)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at] = rng.choice((0, 255, 127, 128, 10, 34, 44))
        elif kind == 2:
            del data[at : at + rng.choice((1, 4, 100))]
        elif kind == 3:
            data[at:at] = bytes(rng.randrange(256) for _ in range(rng.choice((1, 4, 30))))
        elif kind == 4:
            del data[at:]
        else:
            value = rng.choice((0, 1, 2**31 - 1, 2**32 - 1, 2**16, 2**24))
            data[at : at + 4] = struct.pack(rng.choice("<>") + "I", value)
    return bytes(data)


def damage_weights(name: str, rng: random.Random) -> tuple[str, Damage]:
    """Change tensors of a file: not finite, of another shape or type, missing, unknown."""
    state = rng.getrandbits(64)

    def apply(run: Path) -> None:
        import torch
        from safetensors import safe_open
        from safetensors.torch import load_file, save_file

        file = run / name
        if not file.is_file():
            return
        inner = random.Random(state)
        with safe_open(file, "pt") as opened:
            metadata = opened.metadata()
        tensors = load_file(file)
        key = inner.choice(sorted(tensors))
        old = tensors[key]
        hostile = [
            lambda: torch.full_like(old, float("nan")) if old.is_floating_point() else old + 1,
            lambda: torch.zeros(3, 1),
            lambda: torch.zeros(0),
            lambda: old.flatten(),
            lambda: old.to(torch.int64) if old.is_floating_point() else old.float(),
            lambda: torch.randint(0, 256, old.shape, dtype=torch.uint8),
            lambda: torch.full_like(old, 1e38) if old.is_floating_point() else old * 0,
        ]
        choice = inner.randrange(len(hostile) + 2)
        if choice < len(hostile):
            tensors[key] = hostile[choice]().contiguous()
        elif choice == len(hostile):
            del tensors[key]
        else:
            tensors["unknown"] = torch.zeros(2)
        save_file(tensors, file, metadata)

    return f"{name} tensors {state}", apply


def damage_counters(rng: random.Random) -> tuple[str, Damage]:
    """Put hostile counters into a checkpoint."""
    text = rng.choice(
        [
            *('{"step": -1}', '{"step": 1e999}', "[]", "{}", "", '{"step": "a"}', "[" * 100_000),
            *('{"step": 10000000000000}', '{"step": 3, "seconds": -1}', '{"step": NaN}'),
            *('{"step": 3, "best_loss": "x"}', '{"step": 3, "unknown": [1]}', "null"),
        ]
    )

    def apply(run: Path) -> None:
        from safetensors.torch import load_file, save_file

        for file in (run / "checkpoint").glob("*.safetensors"):
            save_file(load_file(file), file, {"counters": text})

    return f"counters {text[:30]}", apply


def replace_file(name: str, rng: random.Random) -> tuple[str, Damage]:
    """Put something else in the place of a file: nothing, a folder, a device, a pipe, a pickle."""
    kinds = ["missing", "folder", "zero", "pipe", "loop", "empty", "pickle", "deep", "nul"]
    kind = rng.choice(kinds)

    def apply(run: Path) -> None:
        file = run / name
        file.unlink(missing_ok=True)
        file.parent.mkdir(exist_ok=True)
        if kind == "folder":
            file.mkdir()
        elif kind == "zero":
            file.symlink_to("/dev/zero")
        elif kind == "pipe":
            os.mkfifo(file)
        elif kind == "loop":
            file.symlink_to(file)
        elif kind == "pickle":
            file.write_bytes(b"\x80\x04cposix\nsystem\n(S'touch /tmp/pwned'\ntR.")
        elif kind in ("empty", "deep", "nul"):
            file.write_bytes({"empty": b"", "deep": b"[" * 100_000, "nul": b"\0" * 4096}[kind])

    return f"{name} {kind}", apply


JSON_FILES = ["config.json", "config.json", "config.json", "evaluation.json"]
TENSOR_FILES = ["model.safetensors", "fitted.safetensors", "checkpoint/state.safetensors"]
ALL_FILES = ["config.json", "evaluation.json", "metrics.csv", *TENSOR_FILES]
ALL_FILES += ["evaluation-images.csv"]


def choose_damage(rng: random.Random) -> tuple[str, Damage]:
    """Return the name of a damage, and the function that does it to a run folder."""
    kind = rng.random()
    if kind < 0.5:
        return damage_json(rng.choice(JSON_FILES), rng)
    if kind < 0.7:
        return damage_bytes(rng.choice(ALL_FILES), rng)
    if kind < 0.85:
        return damage_weights(rng.choice(TENSOR_FILES), rng)
    if kind < 0.9:
        return damage_counters(rng)
    return replace_file(rng.choice([*ALL_FILES, "README.md", ".lock", ".owner.json"]), rng)


def try_damage(run: Path, damage: Damage, command: str, scratch: Path) -> Outcome:
    """Damage a copy of a run and run a command on it."""
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(run, scratch)
    damage(scratch)
    return run_command(COMMANDS[command](scratch))
