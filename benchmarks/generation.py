"""iGPT painting: tokens a second beside transformers' generate, and beside its products alone."""

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

BATCH = 16


def generation(quick: bool) -> Iterator[Table]:
    """Tables: tokens a second of all ways; a step's time and its products'."""
    side = 8 if quick else 32  # in blocks of 2: 16 or 256 tokens
    model = build(
        Config(patch_size=2, palette="kmeans", width=256, depth=6, heads=8),
        DatasetInfo(50_000, side, side, 3),
    ).eval()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = model.to(device)
    rounds = 1 if quick else 5
    ways: dict[str, Callable[[], object]] = {"pinxit": lambda: _generate(model)}
    if importlib.util.find_spec("transformers"):
        ways["transformers, generate with its cache"] = _peer(model)
    found: dict[str, list[float]] = {name: [] for name in ways}
    for work in ways.values():
        work()
    for _ in range(rounds):
        for name, work in ways.items():
            start = time.perf_counter()
            work()
            _wait()
            found[name].append(time.perf_counter() - start)
    seconds = {name: median(times) for name, times in found.items()}
    yield _rates(model, seconds)
    yield _products(model, seconds["pinxit"] / model.network.seq_len, rounds)


def _rates(model: IGPT, seconds: dict[str, float]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (name, BATCH * model.network.seq_len / taken, 1000 * taken / model.network.seq_len)
        for name, taken in seconds.items()
    ]
    start = time.perf_counter()
    _generate_uncached(model)
    _wait()
    taken = time.perf_counter() - start
    rows.append(
        ("pinxit, a whole pass for each token", BATCH * model.network.seq_len / taken, None)
    )
    peer = 1 if len(seconds) > 1 else 0
    return Table(
        f"Painting {BATCH} images of {model.network.seq_len} tokens, 6 layers of 256 "
        "(must: 2.5 times generate; goal: 6)",
        ("way", "tokens/s", "ms a step", "times"),
        with_ratios(rows, 1, to=peer),
        ("Sampling at temperature 1 of 512 colours; fp32.",),
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
    tokens = torch.full((BATCH, seq_len), -1)
    inputs = GenerationInputs(tokens, None, per_image_uniform(BATCH, seq_len, 0))
    return inputs.to(model.device)


def _peer(model: IGPT) -> Callable[[], object]:
    from benchmarks.peer_transformers import to_image_gpt

    peer = to_image_gpt(model).to(model.device).eval()
    first = torch.full((BATCH, 1), model.codec.num_codes, device=model.device)

    def generate() -> object:
        with torch.inference_mode():
            made = peer.generate(
                input_ids=first,
                max_new_tokens=model.network.seq_len,
                min_new_tokens=model.network.seq_len,
                do_sample=True,
                top_k=0,
                use_cache=True,
            )
        if made.shape != (BATCH, model.network.seq_len + 1):
            raise RuntimeError(f"the peer made {tuple(made.shape)} tokens")
        return made

    return generate


def _products(model: IGPT, step: float, rounds: int) -> Table:
    """A step beside nothing but its matrix products, of the shapes that are fastest here."""
    device, width, heads = model.device, 256, 8
    colors, tokens = model.codec.num_codes, model.network.seq_len
    sizes = [(width, 3 * width), (width, width), (width, 4 * width), (4 * width, width)] * 6
    sizes.append((width, colors))
    work = [
        (
            torch.randn(b, a, device=device),
            torch.randn(a, BATCH, device=device),
            torch.empty(b, BATCH, device=device),
        )
        for a, b in sizes
    ]
    one, head = BATCH * heads, width // heads
    q, p = torch.randn(one, 1, head, device=device), torch.randn(one, 1, tokens, device=device)
    keys = [torch.randn(one, tokens, head, device=device) for _ in range(12)]

    @torch.inference_mode()
    def linear() -> None:
        for matrix, x, out in work:
            torch.mm(matrix, x, out=out)

    @torch.inference_mode()
    def attention() -> None:
        for layer in range(6):
            upto = tokens // 2  # the mean over all steps
            torch.bmm(q, keys[2 * layer][:, :upto].transpose(1, 2))
            torch.bmm(p[:, :, :upto], keys[2 * layer + 1][:, :upto])

    def many(part: Callable[[], None]) -> float:
        def work() -> None:
            for _ in range(50):
                part()
            _wait()

        return median_seconds(work, rounds) / 50

    linear_seconds, attention_seconds = many(linear), many(attention)
    rows = (
        ("the step", 1000 * step, step / (linear_seconds + attention_seconds)),
        ("its products", 1000 * (linear_seconds + attention_seconds), 1.0),
        (
            "of these the layers' and the head's",
            1000 * linear_seconds,
            linear_seconds / (linear_seconds + attention_seconds),
        ),
        (
            "of these attention's",
            1000 * attention_seconds,
            attention_seconds / (linear_seconds + attention_seconds),
        ),
    )
    return Table(
        "A step of painting and its matrix products alone (must: 3 times; goal: 1.5)",
        ("what", "ms", "times its products"),
        rows,
        (f"Over the layers' and the head's products alone: {step / linear_seconds:.2f} times.",),
    )


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
