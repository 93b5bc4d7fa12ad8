"""The server on loopback: what the API adds, what batching gives, overload, memory, kills."""

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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.tables import Table

DRAW = [{"type": "image_generation"}]


def serve(quick: bool) -> Iterator[Table]:
    """Tables of one small VAE of the embedded digits behind the real server."""
    with tempfile.TemporaryDirectory() as folder:
        run, painter = _runs(Path(folder))
        server = Server(painter, Path(folder) / "painter.sqlite")
        try:
            yield _batching(server, "an iGPT of 64 tokens", 2.0 if quick else 15.0)
            yield _overload(server, 4.0 if quick else 60.0)
        finally:
            server.stop(signal.SIGTERM)
        server = Server(run, Path(folder) / "serve.sqlite")
        try:
            yield _added(server, 30 if quick else 300)
            yield _batching(server, "a VAE, 1 ms an image", 2.0 if quick else 15.0)
            yield _memory(server, *((20, 200) if quick else (100, 10_000)))
        finally:
            server.stop(signal.SIGTERM)
        yield _killed(run, Path(folder) / "killed.sqlite", 20 if quick else 200)


def _runs(folder: Path) -> tuple[Path, Path]:
    import pinxit

    pinxit.train("vae", "digits", out=folder / "digits-vae", steps=200, quiet=True)
    small = pinxit.IGPT(width=64, depth=2, heads=2)
    pinxit.train(small, "digits", out=folder / "digits-igpt", steps=50, quiet=True)
    return folder / "digits-vae", folder / "digits-igpt"


class Server:
    """A server of its own process."""

    def __init__(self, run: Path, store: Path, *options: str) -> None:
        command = [sys.executable, "-m", "pinxit.cli", "serve", str(run), "--port", "0"]
        self.process = subprocess.Popen(
            [*command, "--store", str(store), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        self.base = next(
            line.strip().rstrip("/") for line in self.process.stdout if line.startswith("http")
        )

    def client(self) -> Any:
        from openai import OpenAI

        return OpenAI(base_url=f"{self.base}/v1", api_key="x", max_retries=0)

    def memory(self) -> float:
        """MiB that are resident."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))

    def stop(self, how: signal.Signals) -> None:
        self.process.send_signal(how)
        self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()


def _median(work: Any, times: int) -> float:
    """Milliseconds of one call, the median."""
    found = []
    for i in range(times):
        began = time.perf_counter()
        work(i)
        found.append(1000 * (time.perf_counter() - began))
    return statistics.median(found)


def _added(server: Server, times: int) -> Table:
    import httpx

    import pinxit

    run = server.client().models.list().data[0].id
    own = pinxit.load(server_run(server))
    bare = _median(lambda i: own.sample(1, seed=i), times)
    with httpx.Client() as plain:
        url = f"{server.base}/v1/images/generations"
        wire = _median(lambda i: plain.post(url, json={"prompt": "x", "seed": i}), times)
    official = server.client()
    images = _median(lambda i: official.images.generate(model=run, prompt="x"), times)
    kept = _median(lambda i: official.responses.create(model=run, input="x", tools=DRAW), times)
    rows = [("the bare Python call", bare, 0.0)]
    for name, ms in (
        ("/v1/images/generations, httpx", wire),
        ("/v1/images/generations, openai", images),
        ("/v1/responses, openai, stored", kept),
    ):
        rows.append((name, ms, ms - bare))
    return Table(
        "Milliseconds of one VAE sample (added: must 8, goal 3)",
        ("way", "median", "added"),
        tuple(rows),
    )


def server_run(server: Server) -> str:
    """The run's folder, from the process's own command line."""
    words = Path(f"/proc/{server.process.pid}/cmdline").read_text().split("\0")
    return words[words.index("serve") + 1]


async def _load(base: str, clients: int, seconds: float) -> dict[int, int]:
    """Answers by status of so many clients, each asking again when it is answered.

    On bare sockets: a client library's own work would be measured too, on the same cores.
    """
    found: dict[int, int] = {}
    host, port = base.removeprefix("http://").split(":")
    until = time.perf_counter() + seconds

    async def one(number: int) -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        asked = 0
        while time.perf_counter() < until:
            body = json.dumps({"prompt": "x", "seed": 1000 * number + asked}).encode()
            head = (
                f"POST /v1/images/generations HTTP/1.1\r\nHost: {host}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            writer.write(head.encode() + body)
            told = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(told.split(b"content-length:")[1].split(b"\r\n")[0]))
            status = int(told.split(b" ", 2)[1])
            found[status] = found.get(status, 0) + 1
            asked += 1
            if status == 429:
                await asyncio.sleep(1.0)  # as Retry-After says
        writer.close()

    await asyncio.gather(*(one(number) for number in range(clients)))
    return found


def _batching(server: Server, what: str, seconds: float) -> Table:
    rates = {}
    for clients in (1, 4, 32):
        found = asyncio.run(_load(server.base, clients, seconds))
        rates[clients] = found.get(200, 0) / seconds
    rows = tuple((f"{n}", rate, rate / rates[1]) for n, rate in rates.items())
    return Table(
        f"Images per second of {what}, by clients (32 over 1: must 3 x, goal 8 x)",
        ("clients", "images/s", "over one client"),
        rows,
        ("The clients run on the same cores as the server.",),
    )


def _overload(server: Server, seconds: float) -> Table:
    found = asyncio.run(_load(server.base, 512, seconds))
    other = sum(count for status, count in found.items() if status not in (200, 429))
    return Table(
        f"{seconds:.0f} s of 512 clients, where 256 images may wait (other: must 0)",
        ("answer", "count"),
        (("200", found.get(200, 0)), ("429", found.get(429, 0)), ("other", other)),
    )


def _memory(server: Server, first: int, last: int) -> Table:
    async def requests(count: int) -> None:
        import httpx

        async with httpx.AsyncClient(timeout=120) as client:
            url = f"{server.base}/v1/responses"
            for start in range(0, count, 20):
                bodies = [
                    {"model": "gpt-5", "input": f"{start + i}", "tools": DRAW} for i in range(20)
                ]
                await asyncio.gather(*(client.post(url, json=body) for body in bodies))

    asyncio.run(requests(first))
    before = server.memory()
    asyncio.run(requests(last - first))
    after = server.memory()
    return Table(
        f"Resident MiB after {first:,} and {last:,} stored responses (must +10 %, goal +3 %)",
        ("after", "MiB", "over the first"),
        ((f"{first:,}", before, 1.0), (f"{last:,}", after, after / before)),
    )


def _killed(run: Path, store: Path, count: int) -> Table:
    server = Server(run, store)
    answered: list[str] = []

    async def until_killed() -> None:
        import httpx

        async with httpx.AsyncClient(timeout=60) as client:
            url = f"{server.base}/v1/responses"

            async def one() -> None:
                while True:
                    body = {"model": "gpt-5", "input": "x", "tools": DRAW}
                    try:
                        answer = await client.post(url, json=body)
                    except httpx.HTTPError:
                        return
                    answered.append(answer.json()["id"])
                    if len(answered) == count:
                        os.kill(server.process.pid, signal.SIGKILL)

            await asyncio.gather(*(one() for _ in range(8)))

    asyncio.run(until_killed())
    server.process.wait(60)
    again = Server(run, store)
    client = again.client()
    lost = 0
    for name in answered:
        try:
            client.responses.retrieve(name)
        except Exception:
            lost += 1
    again.stop(signal.SIGTERM)
    return Table(
        "Stored responses lost by SIGKILL under load (must 0)",
        ("answered before the kill", "lost"),
        ((f"{len(answered):,}", lost),),
    )
