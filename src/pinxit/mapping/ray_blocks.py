"""Compute blocks on a Ray cluster: a task per block. Ray places them, and retries lost ones.

A worker reads the model itself, once, and the images of its blocks, and writes the parts itself:
RUN, DATA and the output are on storage that all machines see under one path.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pinxit import console
from pinxit.errors import PinxitError, UsageError
from pinxit.mapping.blocks import compute_block
from pinxit.mapping.job import JobSpec, open_job

CONNECT_SECONDS = 10.0
POLL_SECONDS = 5.0  # between looks at the cluster while no block ends
LOST_SECONDS = 120.0  # without any worker, after which none is expected to come back
FREE_BLOCKS = 2  # blocks per worker that are submitted ahead
VARIABLES = ("PINXIT_DATA", "PINXIT_CACHE")  # that workers take over, if they are set

Compute = Callable[[Any, int], "BlockResult"]  # of a spec and a block


class Spec(Protocol):
    """What workers compute, in words: it is sent to them."""

    @property
    def out(self) -> Path: ...
    @property
    def device(self) -> str: ...
    def part(self, block: int) -> Path: ...


class BlockResult(NamedTuple):
    """What a worker says of a block: its images, or an error of pinxit and its exit code."""

    images: int
    error: str = ""
    exit_code: int = 0
    host: str = ""
    facts: Any = None  # of what was written


def compute_on_worker(spec: JobSpec, block: int) -> BlockResult:
    """Write the part of a block, on a worker. Errors of pinxit are returned: they are final."""
    host = socket.gethostname()
    try:
        return BlockResult(compute_block(open_job(spec), block), host=host)
    except PinxitError as error:
        return BlockResult(0, str(error), error.exit_code, host)


def compute_on_ray(
    spec: Spec,
    blocks: Sequence[int],
    address: str | None = None,
    compute: Compute = compute_on_worker,
) -> Iterator[tuple[int, BlockResult]]:
    """Compute blocks on a cluster; yield the images of each, and its result, as they end.

    Without an address it is that of `RAY_ADDRESS`, or of a cluster that runs on this machine, or
    one is started for the call. Raises PinxitError if there is none at the address, if a block is
    lost more often than Ray retries it, and if all workers are lost for good.
    """
    ray = _import_ray()

    with connect(address, spec.device):
        resources = {"num_cpus": 1, "num_gpus": _gpus_per_block(spec.device)}
        variables = {name: os.environ[name] for name in VARIABLES if name in os.environ}
        remote = ray.remote(compute).options(**resources, runtime_env={"env_vars": variables})
        waiting, running = list(reversed(blocks)), {}
        lost_since: float | None = None
        try:
            while waiting or running:
                limit = FREE_BLOCKS * max(1, _num_workers(resources))
                while waiting and len(running) < limit:
                    block = waiting.pop()
                    running[remote.remote(spec, block)] = block
                ready, _ = ray.wait(list(running), timeout=POLL_SECONDS)
                for reference in ready:
                    block = running.pop(reference)
                    result = _result(ray.get, reference, spec, block)
                    yield result.images, result
                has_workers = bool(ready) or _num_workers(resources) > 0
                lost_since = None if has_workers else lost_since or time.monotonic()
                _check_workers(lost_since, len(waiting) + len(running))
        except ray.exceptions.RayError as error:
            reason = _first_line(error)
            raise PinxitError(
                f"the Ray cluster failed: {reason}\nThe same command goes on where it stopped."
            ) from None
        finally:
            for reference in running:
                with contextlib.suppress(Exception):  # the cluster may be gone
                    ray.cancel(reference, force=True)


@contextlib.contextmanager
def connect(address: str | None, device: str = "auto") -> Iterator[None]:
    """Connect to a cluster, unless this process is connected already.

    Raises UsageError for what is no address and for a device that the cluster lacks, PinxitError
    if there is no cluster.
    """
    ray = _import_ray()

    if ray.is_initialized():
        _gpus_per_block(device)
        yield
        return
    _check_address(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address:  # Ray tries 20 times what something else at the port makes last 15 s each
        os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "2")
    try:
        ray.init(
            address, log_to_driver=False, logging_level="ERROR", configure_logging=True,
            **({} if address else {"include_dashboard": False}),
        )  # fmt: skip
    except Exception as error:  # Ray raises many kinds, also RuntimeError and ValueError
        where = address or os.environ.get("RAY_ADDRESS") or "this machine"
        raise PinxitError(
            f"no Ray cluster can be used at {where}: {_first_line(error)}\n"
            "Start one with: ray start --head, and name its address."
        ) from None
    try:
        _gpus_per_block(device)
        yield
    finally:
        ray.shutdown()


def _import_ray() -> Any:
    """Return the module, without types: Ray is an extra, which the type check does without."""
    return importlib.import_module("ray")


def _check_address(address: str | None) -> None:
    """Raise UsageError for what is no address, PinxitError if nothing answers there.

    Ray itself waits a minute and more for an address where nothing is.
    """
    address = address or os.environ.get("RAY_ADDRESS")
    if address in (None, "", "auto", "local"):
        return
    host, colon, port = address.rpartition(":")
    if not (host and "/" not in host and colon and port.isdecimal() and 0 < int(port) < 65_536):
        raise UsageError(f"address is HOST:PORT, auto or local, not '{address}'.")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        raise PinxitError(
            f"no Ray cluster answers at {address}: {error.strerror or error}.\n"
            "Start one with: ray start --head --port 6379, and name HOST:6379."
        ) from None


def _gpus_per_block(device: str) -> int:
    """Return 1 if blocks are computed on GPUs: on a cluster that has some, unless device is cpu."""
    ray = _import_ray()

    has_gpus = ray.cluster_resources().get("GPU", 0) > 0
    if device == "cuda" and not has_gpus:
        raise UsageError("device cuda: the Ray cluster has no GPU.")
    return int(has_gpus and device in ("auto", "cuda"))


def _num_workers(resources: dict[str, int]) -> int:
    """Return how many blocks the cluster computes at a time: 0 if no machine of it is left."""
    ray = _import_ray()

    total = ray.cluster_resources()
    names = {"CPU": resources["num_cpus"], "GPU": resources["num_gpus"]}
    return min(int(total.get(name, 0)) // count for name, count in names.items() if count)


def _check_workers(lost_since: float | None, num_left: int) -> None:
    """Raise PinxitError if there has been no worker for long and blocks are left."""
    if lost_since is None or not num_left or time.monotonic() - lost_since < LOST_SECONDS:
        return
    raise PinxitError(
        f"the Ray cluster has had no worker for {console.format_duration(LOST_SECONDS)}; "
        f"{console.pluralize(num_left, 'block')} are left.\n"
        "Add workers (ray start --address HOST:PORT): the same command goes on where it stopped."
    )


def _result(get: Callable[[Any], Any], reference: Any, spec: Spec, block: int) -> BlockResult:
    """Return the result of a block that ended."""
    ray = _import_ray()

    try:
        result: BlockResult = get(reference)
    except ray.exceptions.RayTaskError as error:  # an exception in the code of a worker
        raise PinxitError(
            f"block {block} failed on a worker: {_first_line(error.cause)}\n"
            "The blocks that are done are kept: the same command goes on."
        ) from None
    except ray.exceptions.RayError as error:  # after Ray's retries
        raise PinxitError(
            f"block {block} was lost with its worker each time that Ray computed it "
            f"({type(error).__name__}): perhaps a machine has too little memory.\n"
            "The blocks that are done are kept: the same command goes on."
        ) from None
    if result.error:
        kind = UsageError if result.exit_code == UsageError.exit_code else PinxitError
        raise kind(f"{result.error} (on the worker {result.host})")
    if not spec.part(block).exists():
        raise PinxitError(
            f"{result.host} wrote a part that is not in {spec.out} on this machine.\n"
            "--out must be a folder on storage that all machines see under this path."
        )
    return result


def _first_line(error: object) -> str:
    text = str(error).strip()
    return (text.splitlines() or [type(error).__name__])[0]
