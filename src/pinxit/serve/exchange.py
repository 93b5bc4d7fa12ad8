"""The lecture's program, run against a server in this process, and what the server answered.

    RUN/exchange.json    the program, and of each turn: input, image, revised prompt, text, seconds

The report shows it (`reports/lecture/program.py`); the studio runs the same program in its page.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from pinxit import console
from pinxit.errors import PinxitError
from pinxit.extras import is_extra_installed
from pinxit.reports.lecture.exchange_record import FOLLOW_UP, RECORD, first_input, read_exchange
from pinxit.runs import Run
from pinxit.training.trials import hash_file

HOST = "http://127.0.0.1"
TOOLS = [{"type": "image_generation"}]
GENERATES = ("draw", "edit", "sample")  # abilities, one of which a run needs


def record_or_warn(run: Run) -> None:
    """Record the exchange for a report; warn if that fails: the report has all the rest.

    Without the packages of the server, or without weights, nothing is done.
    """
    if not is_extra_installed("serve") or not run.weights_path.is_file():
        return
    try:
        record_exchange(run)
    except (PinxitError, OSError) as error:
        console.echo(f"warning: the report has no exchange with a server: {error}")


def record_exchange(run: Run) -> bool:
    """Run both turns against a server of this run and write the record, unless it is there.

    Returns whether the run has a record of its weights. False for a run that generates no images.
    Raises PinxitError if the run cannot be loaded or the server answers with an error.
    """
    from starlette.testclient import TestClient  # runs the app in a thread, also in a notebook

    from pinxit.serve.app import create_app
    from pinxit.serve.inference.loading import load_runs
    from pinxit.serve.inference.registry import ModelRegistry
    from pinxit.serve.store import Store

    if read_exchange(run) is not None:
        return True
    (loaded,) = load_runs([run.path], "cpu", 64)
    if not any(ability in loaded.abilities for ability in GENERATES):
        return False
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(ModelRegistry([loaded]), Store(str(Path(folder) / "store.sqlite")))
        with TestClient(app, base_url=HOST) as client:
            turns = _run_turns(client, loaded.name, first_input(run, loaded.model))
    run.write(RECORD, {"weights": hash_file(run.weights_path), "turns": turns})
    return True


def _run_turns(client: Any, model: str, text: str) -> list[dict[str, Any]]:
    first, record = _send(client, {"model": model, "input": text, "tools": TOOLS})
    request = {"model": model, "input": FOLLOW_UP, "tools": TOOLS}
    _, follow_up = _send(client, request | {"previous_response_id": first["id"]})
    return [record, follow_up]


def _send(client: Any, request: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a response and its record. Raises PinxitError for a status that is not 200."""
    start = time.perf_counter()
    answer = client.post("/v1/responses", json=request)
    seconds = time.perf_counter() - start
    body = answer.json()
    if answer.status_code != 200:
        raise PinxitError(f"the lecture's program fails: {body['error']['message']}")
    call = next(item for item in body["output"] if item["type"] == "image_generation_call")
    texts = [
        part["text"]
        for item in body["output"]
        if item["type"] == "message"
        for part in item["content"]
    ]
    return body, {
        "input": request["input"],
        "image": call["result"],
        "action": call.get("action") or "",
        "revised_prompt": call.get("revised_prompt") or "",
        "text": " ".join(texts),
        "seconds": round(seconds, 3),
    }
