"""Build a model of a stranger's configuration without memory first, to see how large it is.

A configuration that asks for more than the file of its weights holds is refused before anything is
allocated: on `torch.device("meta")` tensors have shapes and no values.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks

from pinxit.console import format_bytes
from pinxit.errors import PinxitError

MAX_TENSORS = 200_000  # of a model; a deep one has 20 in each of 1,000 layers
SLACK = 2**28  # bytes of buffers that are computed and not saved, such as positions


class TooLarge(Exception):
    """A model is larger than it may be."""


def check_build(
    build: Callable[[], nn.Module],
    file_sizes: Sequence[int],
    states: Mapping[str, Mapping[str, Tensor]],
) -> None:
    """Build a model without memory, and load the tensors of its files, by file, into it.

    The sizes of the files with its weights bound its parameters and buffers. Raises PinxitError for
    a configuration that does not build, that is too large, or whose tensors are not those of the
    files.
    """
    what = "config.json"
    try:
        with (
            torch.random.fork_rng(devices=[]),
            torch.device("meta"),
            warnings.catch_warnings(),
            _limit_memory(max_model_bytes(file_sizes), max_model_tensors(file_sizes)),
        ):
            warnings.filterwarnings("ignore", message=".*is a no-op.*")  # copies to no memory
            model = build()
            for name, tensors in states.items():
                what = name
                model.load_state_dict(dict(tensors))
    except PinxitError:
        raise
    except TooLarge as error:
        raise PinxitError(f"config.json asks for too large a model: {error}.") from None
    except (Exception, RecursionError) as error:  # whatever a stranger's values lead to
        reason = describe_error(error)
        if "meta" in reason:  # a model that looks at its values as it is built: without this check
            return
        if what == "config.json":
            raise PinxitError(
                f"config.json describes no model that can be built: {reason}"
            ) from None
        raise PinxitError(f"{what} does not fit config.json: {reason}") from None


def describe_error(error: BaseException) -> str:
    """Return all reasons of an error on one line; of `load_state_dict` those after its heading."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if lines and lines[0].startswith("Error(s) in loading state_dict"):
        return " ".join(lines[1:])
    named = "" if isinstance(error, RuntimeError | ValueError) else f"{type(error).__name__}: "
    return named + (" ".join(lines) or type(error).__name__)


@contextmanager
def _limit_memory(max_bytes: int, max_tensors: int) -> Iterator[None]:
    """Raise TooLarge when modules that this thread makes have too many bytes or tensors."""
    thread, total, count = threading.get_ident(), 0, 0

    def add(module: nn.Module, name: str, tensor: Tensor | None) -> None:
        nonlocal total, count
        if tensor is None or threading.get_ident() != thread:
            return
        total += tensor.numel() * tensor.element_size()
        count += 1
        if total > max_bytes:
            raise TooLarge(f"more than {format_bytes(max_bytes)}")
        if count > max_tensors:
            raise TooLarge(f"more than {max_tensors:,} tensors")

    handles = [
        hooks.register_module_parameter_registration_hook(add),
        hooks.register_module_buffer_registration_hook(add),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def physical_memory() -> int:
    """Return the bytes of memory that this machine has; 64 GiB where it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 2**36


def max_model_bytes(file_sizes: Sequence[int]) -> int:
    """Return a bound on a model whose files have these sizes; without one, the memory there is."""
    memory = physical_memory()
    return min(memory, 3 * max(file_sizes) + SLACK) if file_sizes else memory


def max_model_tensors(file_sizes: Sequence[int]) -> int:
    """Return a bound on the tensors of such a model: each takes 60 bytes of a file's header."""
    return min(MAX_TENSORS, 1000 + max(file_sizes) // 20) if file_sizes else MAX_TENSORS


def check_finite(tensors: Mapping[str, Tensor], what: str) -> None:
    """Raise PinxitError for a tensor with values that are NaN or infinite."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            bad = int((~tensor.isfinite()).sum())
            raise PinxitError(
                f"{what} holds weights that are no numbers: {name} has {bad:,} of "
                f"{tensor.numel():,} values NaN or infinite. Train it again with a lower "
                "--learning-rate."
            )
