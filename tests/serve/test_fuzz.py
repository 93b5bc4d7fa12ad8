"""No bytes of a client make the server fail, on SQLite and on PostgreSQL; streams have an end.

`make fuzz` runs 20,000 cases on each store; `make fuzz CASES=1000 SEED=1` others.
"""

from __future__ import annotations

import os

import httpx
import pytest

from tests.serve.fuzzing import Checker, Fuzzer
from tests.serve.server import serving

CASES = int(os.environ.get("PINXIT_FUZZ_CASES", "250"))
SEED = int(os.environ.get("PINXIT_FUZZ_SEED", "0"))
MAX_KNOWN_IDS = 50
CASES_PER_LINE = 1000


@pytest.mark.timeout(300 if CASES < CASES_PER_LINE else 0)
@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_no_bytes_of_a_client_make_the_server_fail(request, runs, tmp_path, store):
    is_file = store == "sqlite"
    url = tmp_path / "s.sqlite" if is_file else request.getfixturevalue("postgres")
    fuzzer, faults = Fuzzer(SEED), []
    counts: dict[int, int] = {}
    with serving(runs.values(), url) as base_url:
        checker = Checker(base_url, counts)
        for index in range(CASES):
            case = fuzzer.request(index)
            known = fuzzer.known_ids
            try:
                checker.check(case, known.append)
            except Exception as error:
                faults.append((index, type(error).__name__, str(error)[:300], case))
                checker = Checker(base_url, counts)
                assert len(faults) < 10, faults
            del known[1:-MAX_KNOWN_IDS]
            if (index + 1) % CASES_PER_LINE == 0:
                print(f"{index + 1} cases on {store}: {dict(sorted(counts.items()))}", flush=True)
        assert not faults, f"seed {SEED}: {faults}"
        assert httpx.get(f"{base_url}/readyz").status_code == 200
        assert min(counts[200], counts[400]) > CASES / 10, counts
