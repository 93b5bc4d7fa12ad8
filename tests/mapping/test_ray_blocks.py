"""`--engine ray` on real clusters of this machine: workers are killed, lost, or not there."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pinxit.cli import main
from pinxit.errors import PinxitError, UsageError
from pinxit.mapping import api, ray_blocks
from pinxit.mapping.api import map_images
from pinxit.runs import Run

ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'pinxit[ray]'")

ROOT = Path(__file__).parents[2]
# a machine that is killed is noticed after 1.5 s, not 25 s
NOTICE_SOON = {"health_check_period_ms": 500, "health_check_failure_threshold": 3}
FEW_MB = 100 << 20  # of a node's memory for objects: blocks are numbers


@pytest.fixture
def cluster(monkeypatch):
    """A cluster whose head computes nothing, and `add_worker` to add a machine that computes."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'src'}{os.pathsep}{ROOT}")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    nodes = {"object_store_memory": FEW_MB}
    head = {"num_cpus": 0, "_system_config": NOTICE_SOON, **nodes}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.add_worker = lambda: cluster.add_node(num_cpus=1, num_gpus=0, **nodes)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def rows_of(out: Path) -> list[int]:
    return pq.read_table(out)["row"].to_pylist()


def kill_machine_at(block_to_kill: int, marker: Path):
    """A function of blocks that kills the machine of its worker, once, at one block."""
    from pinxit.mapping.ray_blocks import compute_on_worker

    def compute(spec, block):
        if block == block_to_kill and not marker.exists():
            marker.write_text(str(os.getppid()))
            os.kill(os.getppid(), signal.SIGKILL)  # the raylet of the machine,
            os.kill(os.getpid(), signal.SIGKILL)  # and its worker
        return compute_on_worker(spec, block)

    return compute


@pytest.mark.long
def test_each_image_is_there_once_though_a_worker_is_killed(
    cluster, run, data, tmp_path, monkeypatch
):
    cluster.add_worker()
    cluster.add_worker()
    marker, out = tmp_path / "killed", tmp_path / "out"
    compute = kill_machine_at(5, marker)
    original = ray_blocks.compute_on_ray
    monkeypatch.setattr(
        ray_blocks, "compute_on_ray", lambda *words: original(*words, compute=compute)
    )
    result = map_images(
        run, "score", data, out=out, block_size=10, engine="ray", address=cluster.address,
        progress=False,
    )  # fmt: skip
    assert (result.computed, result.missing) == (12, 0)
    assert not Path(f"/proc/{marker.read_text()}/exe").exists(), "the machine was killed"
    assert rows_of(out) == list(range(120))
    assert not list(out.glob(".*")), "nothing half-written"
    map_images(run, "score", data, out=tmp_path / "here", block_size=10, progress=False)
    assert pq.read_table(out).equals(pq.read_table(tmp_path / "here"))


@pytest.mark.long
def test_all_workers_lost_for_good_is_an_error_and_the_call_goes_on(
    cluster, run, data, tmp_path, monkeypatch
):
    cluster.add_worker()
    monkeypatch.setattr(ray_blocks, "LOST_SECONDS", 3.0)
    monkeypatch.setattr(ray_blocks, "POLL_SECONDS", 0.5)
    compute = kill_machine_at(5, tmp_path / "killed")
    original = ray_blocks.compute_on_ray
    arguments = {"out": tmp_path / "out", "block_size": 10, "engine": "ray", "progress": False}
    with monkeypatch.context() as patch:
        patch.setattr(
            ray_blocks, "compute_on_ray", lambda *words: original(*words, compute=compute)
        )
        with pytest.raises(PinxitError, match=r"no worker for 3 s; \d+ blocks? are left"):
            map_images(run, "embed", data, address=cluster.address, **arguments)
    done = len(list((tmp_path / "out").glob("part-*")))
    assert 0 < done < 12
    cluster.add_worker()
    result = map_images(run, "embed", data, address=cluster.address, **arguments)
    assert result.computed == 12 - done
    assert rows_of(tmp_path / "out") == list(range(120))


@pytest.mark.long
def test_the_command_and_what_workers_find_wrong(cluster, run, data, tmp_path, capsys, monkeypatch):
    cluster.add_worker()
    out = tmp_path / "out"
    words = ["map", "embed", run.path, *data, "--engine", "ray", "--address", cluster.address]
    words += ["--block-size", 50, "--quiet"]
    assert main([str(word) for word in [*words, "--out", out]]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(out)
    assert rows_of(out) == list(range(120))

    def crash(spec, block):
        os._exit(1)

    def fail(spec, block):
        raise RuntimeError("a fault of the code")

    original = ray_blocks.compute_on_ray
    for compute, error in (
        (crash, "block [0-9] was lost with its worker each time that Ray computed it"),
        (fail, "block [0-9] failed on a worker: a fault of the code"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(
                ray_blocks,
                "compute_on_ray",
                lambda *words, own=compute: original(*words, compute=own),
            )
            with pytest.raises(PinxitError, match=error):
                map_images(
                    run, "embed", data, out=tmp_path / error[-4:], engine="ray", block_size=50,
                    address=cluster.address, progress=False,
                )  # fmt: skip
    monkeypatch.setattr(api, "hash_model", lambda run: "other")
    with pytest.raises(PinxitError, match=r"a worker has another model .* model other, not"):
        map_images(
            run, "embed", data, out=tmp_path / "other", engine="ray", address=cluster.address,
            progress=False,
        )  # fmt: skip


def test_a_wrong_address_is_an_error_at_once(run, data, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    call = {"engine": "ray", "progress": False, "out": tmp_path / "out"}
    start = time.monotonic()
    with pytest.raises(PinxitError, match=r"no Ray cluster answers at 127\.0\.0\.1:[0-9]+: Con"):
        map_images(run, "embed", data, address=f"127.0.0.1:{port}", **call)
    for address in ("head", "head:", "head:x", ":6379", "head:70000", "http://head:6379/x"):
        with pytest.raises(UsageError, match="address is HOST:PORT"):
            map_images(run, "embed", data, address=address, **call)
    assert time.monotonic() - start < 60
    assert not (tmp_path / "out").exists(), "nothing is written"


def test_images_without_a_name_cannot_be_sent(run, tmp_path):
    from tests.builders import blobs

    with pytest.raises(UsageError, match="give its name"):
        map_images(run, "embed", blobs(4), out=tmp_path / "out", engine="ray")


@pytest.mark.long
def test_a_port_of_something_else_is_an_error(run, data, tmp_path):
    """Something that accepts a connection and says nothing, as a web server would."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: server.accept()[0].recv(1), daemon=True).start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(PinxitError, match="no Ray cluster can be used at"):
            map_images(
                Run(run.path), "embed", data, out=tmp_path, engine="ray", address=address,
                progress=False,
            )  # fmt: skip
