"""iGPT generation: tokens per second against transformers' generate and against its matmuls."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator

import torch

from benchmarks.measure import median_seconds
from benchmarks.tables import Cell, Table, median, with_ratios
from pinxit.data.batch import DatasetInfo
from pinxit.models.igpt import build
from pinxit.models.igpt.config import Config
from pinxit.models.igpt.generate import GenerationInputs, decode_cached, decode_reference
from pinxit.models.igpt.model import IGPT
from pinxit.nn.rng import per_image_uniform
from pinxit.nn.token_sampling import SamplingParams

BATCH_SIZE = 16
WIDTH, DEPTH, HEADS = 256, 6, 8
CALLS_PER_TIMING = 50  # of the matrix products


def generation(quick: bool) -> Iterator[Table]:
    """Two tables: tokens per second of each method, and a decoding step against its matmuls."""
    side = 8 if quick else 32  # in patches of 2 x 2: 16 or 256 tokens
    config = Config(patch_size=2, palette="kmeans", width=WIDTH, depth=DEPTH, heads=HEADS)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = build(config, DatasetInfo(50_000, side, side, 3)).eval().to(device)
    rounds = 1 if quick else 5
    methods: dict[str, Callable[[], object]] = {"pinxit": lambda: _generate(model)}
    if importlib.util.find_spec("transformers"):
        methods["transformers, generate with its cache"] = _peer(model)
    seconds = _time_alternately(methods, rounds)
    yield _compare_methods(model, seconds)
    yield _compare_matmuls(model, seconds["pinxit"] / model.network.seq_len, rounds)


def _time_alternately(methods: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median seconds of each method, after a warmup call."""
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for method in methods.values():
        method()
    for _ in range(rounds):
        for name, method in methods.items():
            seconds[name].append(_time(method))
    return {name: median(times) for name, times in seconds.items()}


def _time(method: Callable[[], object]) -> float:
    start = time.perf_counter()
    method()
    _synchronize()
    return time.perf_counter() - start


def _compare_methods(model: IGPT, seconds: dict[str, float]) -> Table:
    num_steps = model.network.seq_len
    num_tokens = BATCH_SIZE * num_steps
    rows: list[tuple[Cell, ...]] = [
        (name, num_tokens / total, 1000 * total / num_steps) for name, total in seconds.items()
    ]
    uncached = _time(lambda: _generate_uncached(model))
    rows.append(("pinxit, a full forward pass per token", num_tokens / uncached, None))
    return Table(
        f"Generating {BATCH_SIZE} images of {num_steps} tokens, {DEPTH} layers of {WIDTH} "
        "(must: 2.5 times generate; goal: 6)",
        ("method", "tokens/s", "ms per step", "ratio"),
        with_ratios(rows, 1, to=1 if len(seconds) > 1 else 0),
        ("Sampling at temperature 1 from 512 colors; fp32.",),
    )


@torch.inference_mode()
def _generate(model: IGPT) -> None:
    for _ in decode_cached(model.network, _inputs(model), SamplingParams()):
        pass


@torch.inference_mode()
def _generate_uncached(model: IGPT) -> None:
    decode_reference(model.network, _inputs(model), SamplingParams())


def _inputs(model: IGPT) -> GenerationInputs:
    seq_len = model.network.seq_len
    tokens = torch.full((BATCH_SIZE, seq_len), -1)
    inputs = GenerationInputs(tokens, None, per_image_uniform(BATCH_SIZE, seq_len, 0))
    return inputs.to(model.device)


def _peer(model: IGPT) -> Callable[[], object]:
    """Return a function that generates with transformers' ImageGPT and the same weights."""
    from benchmarks.peer_transformers import to_image_gpt

    peer = to_image_gpt(model).to(model.device).eval()
    start_tokens = torch.full((BATCH_SIZE, 1), model.codec.num_codes, device=model.device)

    def generate() -> object:
        with torch.inference_mode():
            tokens = peer.generate(
                input_ids=start_tokens,
                max_new_tokens=model.network.seq_len,
                min_new_tokens=model.network.seq_len,
                do_sample=True,
                top_k=0,
                use_cache=True,
            )
        if tokens.shape != (BATCH_SIZE, model.network.seq_len + 1):
            raise RuntimeError(f"the peer generated {tuple(tokens.shape)} tokens")
        return tokens

    return generate


def _compare_matmuls(model: IGPT, step: float, rounds: int) -> Table:
    """A decoding step against its matrix products alone, in the layout that is fastest here."""
    linear = _seconds_per_call(_linear_matmuls(model), rounds)
    attention = _seconds_per_call(_attention_matmuls(model), rounds)
    total = linear + attention
    rows = (
        ("decoding step", 1000 * step, step / total),
        ("matrix products", 1000 * total, 1.0),
        ("  linear layers and head", 1000 * linear, linear / total),
        ("  attention", 1000 * attention, attention / total),
    )
    return Table(
        "A decoding step and its matrix products alone (must: 3 times; goal: 1.5)",
        ("part", "ms", "ratio to the products"),
        rows,
        (f"Ratio to the products of the linear layers and the head: {step / linear:.2f}.",),
    )


def _linear_matmuls(model: IGPT) -> Callable[[], None]:
    """The products of the linear layers and the head, for one token of every image."""
    shapes = [(WIDTH, 3 * WIDTH), (WIDTH, WIDTH), (WIDTH, 4 * WIDTH), (4 * WIDTH, WIDTH)] * DEPTH
    shapes.append((WIDTH, model.codec.num_codes))
    operands = [
        (
            torch.randn(b, a, device=model.device),
            torch.randn(a, BATCH_SIZE, device=model.device),
            torch.empty(b, BATCH_SIZE, device=model.device),
        )
        for a, b in shapes
    ]

    @torch.inference_mode()
    def multiply() -> None:
        for matrix, x, out in operands:
            torch.mm(matrix, x, out=out)

    return multiply


def _attention_matmuls(model: IGPT) -> Callable[[], None]:
    """The products of attention over half of the tokens, the mean over all steps."""
    rows, head_width, seq_len = BATCH_SIZE * HEADS, WIDTH // HEADS, model.network.seq_len
    device = model.device
    query = torch.randn(rows, 1, head_width, device=device)
    weights = torch.randn(rows, 1, seq_len, device=device)
    cache = [torch.randn(rows, seq_len, head_width, device=device) for _ in range(2 * DEPTH)]
    length = seq_len // 2

    @torch.inference_mode()
    def multiply() -> None:
        for layer in range(DEPTH):
            torch.bmm(query, cache[2 * layer][:, :length].transpose(1, 2))
            torch.bmm(weights[:, :, :length], cache[2 * layer + 1][:, :length])

    return multiply


def _seconds_per_call(function: Callable[[], None], rounds: int) -> float:
    def call_repeatedly() -> None:
        for _ in range(CALLS_PER_TIMING):
            function()
        _synchronize()

    return median_seconds(call_repeatedly, rounds) / CALLS_PER_TIMING


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
