"""The server on loopback: overhead of the API, gain of batching, overload, memory, SIGKILL."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.canned_answers import CannedServer
from benchmarks.tables import Table

TOOLS: list[Any] = [{"type": "image_generation"}]


def serve(quick: bool) -> Iterator[Table]:
    """Measure servers of a small VAE and a small iGPT, each in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        vae, igpt = train_runs(Path(folder))
        server = Server(igpt, Path(folder) / "igpt.sqlite")
        try:
            yield _measure_batching(server, "an iGPT of 64 tokens", 2.0 if quick else 15.0)
            yield _measure_overload(server, 4.0 if quick else 60.0)
        finally:
            server.stop(signal.SIGTERM)
        server = Server(vae, Path(folder) / "vae.sqlite")
        try:
            yield _measure_overhead(server, 30 if quick else 300)
            yield _measure_batching(server, "a VAE, 1 ms an image", 2.0 if quick else 15.0)
            yield _measure_memory(server, *((20, 200) if quick else (100, 10_000)))
        finally:
            server.stop(signal.SIGTERM)
        yield _measure_losses(vae, Path(folder) / "killed.sqlite", 20 if quick else 200)


def train_runs(folder: Path) -> tuple[Path, Path]:
    import pinxit

    pinxit.train("vae", "digits", out=folder / "digits-vae", steps=200, quiet=True)
    small = pinxit.IGPT(width=64, depth=2, heads=2)
    pinxit.train(small, "digits", out=folder / "digits-igpt", steps=50, quiet=True)
    return folder / "digits-vae", folder / "digits-igpt"


class Server:
    """A server in a process of its own."""

    def __init__(self, run: Path, store: Path, *options: str) -> None:
        self.run = run
        command = [sys.executable, "-m", "pinxit.cli", "serve", str(run), "--port", "0"]
        self.process = subprocess.Popen(
            [*command, "--store", str(store), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        self.base_url = next(
            line.strip().rstrip("/") for line in self.process.stdout if line.startswith("http")
        )

    def client(self) -> Any:
        from openai import OpenAI

        return OpenAI(base_url=f"{self.base_url}/v1", api_key="x", max_retries=0)

    def resident_mib(self) -> float:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))

    def stop(self, signal_number: signal.Signals) -> None:
        self.process.send_signal(signal_number)
        self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()


def _median_ms(call: Callable[[int], object], repeats: int) -> float:
    durations = []
    for i in range(repeats):
        start = time.perf_counter()
        call(i)
        durations.append(1000 * (time.perf_counter() - start))
    return statistics.median(durations)


def _measure_overhead(server: Server, repeats: int) -> Table:
    import httpx

    import pinxit

    model = pinxit.load(server.run)
    in_process = _median_ms(lambda i: model.sample(1, seed=i), repeats)
    rows = [("the Python call alone", in_process, 0.0, 0.0)]
    name = server.client().models.list().data[0].id
    requests = {
        "/v1/images/generations": {"prompt": "x"},
        "/v1/responses": {"model": name, "input": "x", "tools": TOOLS},
    }
    with httpx.Client() as plain:
        bodies = {
            path: plain.post(server.base_url + path, json=request).content
            for path, request in requests.items()
        }
        canned = CannedServer(bodies)
        calls, canned_calls = (
            _make_calls(url, name, plain) for url in (server.base_url, canned.base_url)
        )
        for label, call in calls.items():
            client_alone = _median_ms(canned_calls[label], repeats)
            duration = _median_ms(call, repeats)
            rows.append((label, duration, duration - in_process, client_alone))
        canned.close()
    return Table(
        "Milliseconds per VAE sample (overhead: must 5, stored responses 8; goal 3, 4)",
        ("request", "median", "overhead", "of which the client alone"),
        tuple(rows),
        ("The client alone: the same bytes, from a thread that reads and sends sockets.",),
    )


def _make_calls(base_url: str, model: str, plain: Any) -> dict[str, Callable[[int], object]]:
    """Return requests for one image, by name; `plain` is a client of httpx."""
    from openai import OpenAI

    client = OpenAI(base_url=f"{base_url}/v1", api_key="x", max_retries=0)
    url = f"{base_url}/v1/images/generations"
    return {
        "/v1/images/generations, httpx": lambda i: plain.post(url, json={"prompt": "x", "seed": i}),
        "/v1/images/generations, openai": lambda i: client.images.generate(model=model, prompt="x"),
        "/v1/responses, openai, stored": lambda i: client.responses.create(
            model=model, input="x", tools=TOOLS
        ),
    }


async def _count_responses(base_url: str, num_clients: int, seconds: float) -> dict[int, int]:
    """Count responses by status. Each client sends its next request after each response.

    The clients are bare sockets: a client library's own work, on the same cores, would count too.
    """
    counts: dict[int, int] = {}
    host, port = base_url.removeprefix("http://").split(":")
    deadline = time.perf_counter() + seconds

    async def run_client(client: int) -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        num_requests = 0
        while time.perf_counter() < deadline:
            body = json.dumps({"prompt": "x", "seed": 1000 * client + num_requests}).encode()
            head = (
                f"POST /v1/images/generations HTTP/1.1\r\nHost: {host}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            writer.write(head.encode() + body)
            headers = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(headers.split(b"content-length:")[1].split(b"\r\n")[0]))
            status = int(headers.split(b" ", 2)[1])
            counts[status] = counts.get(status, 0) + 1
            num_requests += 1
            if status == 429:
                await asyncio.sleep(1.0)  # as Retry-After says
        writer.close()

    await asyncio.gather(*(run_client(client) for client in range(num_clients)))
    return counts


def _measure_batching(server: Server, model: str, seconds: float) -> Table:
    rates = {}
    for num_clients in (1, 4, 32):
        counts = asyncio.run(_count_responses(server.base_url, num_clients, seconds))
        rates[num_clients] = counts.get(200, 0) / seconds
    return Table(
        f"Images per second of {model}, by clients (32 over 1: must 3 x, goal 8 x)",
        ("clients", "images/s", "over one client"),
        tuple((f"{n}", rate, rate / rates[1]) for n, rate in rates.items()),
        ("The clients run on the same cores as the server.",),
    )


def _measure_overload(server: Server, seconds: float) -> Table:
    counts = asyncio.run(_count_responses(server.base_url, 512, seconds))
    num_other = sum(count for status, count in counts.items() if status not in (200, 429))
    return Table(
        f"{seconds:.0f} s of 512 clients with a queue of 256 images (other: must 0)",
        ("status", "count"),
        (("200", counts.get(200, 0)), ("429", counts.get(429, 0)), ("other", num_other)),
    )


def _measure_memory(server: Server, first: int, last: int) -> Table:
    async def send_requests(count: int) -> None:
        import httpx

        async with httpx.AsyncClient(timeout=120) as client:
            url = f"{server.base_url}/v1/responses"
            for start in range(0, count, 20):
                bodies = [
                    {"model": "gpt-5", "input": f"{start + i}", "tools": TOOLS} for i in range(20)
                ]
                await asyncio.gather(*(client.post(url, json=body) for body in bodies))

    asyncio.run(send_requests(first))
    before = server.resident_mib()
    asyncio.run(send_requests(last - first))
    after = server.resident_mib()
    return Table(
        f"Resident MiB after {first:,} and {last:,} stored responses (must +10 %, goal +3 %)",
        ("responses", "MiB", "over the first"),
        ((f"{first:,}", before, 1.0), (f"{last:,}", after, after / before)),
    )


def _measure_losses(run: Path, store: Path, count: int) -> Table:
    """Kill a server after `count` responses, and look for them with another on the same store."""
    server = Server(run, store)
    response_ids = asyncio.run(_kill_under_load(server, count))
    server.process.wait(60)
    restarted = Server(run, store)
    client = restarted.client()
    num_lost = sum(not _is_stored(client, response_id) for response_id in response_ids)
    restarted.stop(signal.SIGTERM)
    return Table(
        "Stored responses lost by SIGKILL under load (must 0)",
        ("responses before the kill", "lost"),
        ((f"{len(response_ids):,}", num_lost),),
    )


async def _kill_under_load(server: Server, count: int) -> list[str]:
    """Send requests from 8 clients until the server is killed. Return the responses' ids."""
    import httpx

    response_ids: list[str] = []
    body = {"model": "gpt-5", "input": "x", "tools": TOOLS}
    async with httpx.AsyncClient(timeout=60) as client:

        async def run_client() -> None:
            while True:
                try:
                    response = await client.post(f"{server.base_url}/v1/responses", json=body)
                except httpx.HTTPError:
                    return
                response_ids.append(response.json()["id"])
                if len(response_ids) == count:
                    os.kill(server.process.pid, signal.SIGKILL)

        await asyncio.gather(*(run_client() for _ in range(8)))
    return response_ids


def _is_stored(client: Any, response_id: str) -> bool:
    try:
        client.responses.retrieve(response_id)
    except Exception:
        return False
    return True
