"""Where two evaluations were not made alike, so that their metrics may not compare."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

# when and where an evaluation was run, which changes no metric but by rounding, and what it found
IGNORED = ("date", "seconds", "machine", "sampling_error")
# a feature space is named by what it is; two of one hash are one
FEATURE_SPACE, HASH = "feature_space", "weights_hash"
MAX_VALUE_CHARACTERS = 80


def protocol_warnings(protocols: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line for each part of the protocol in which runs differ; `protocols` are by run.

    A part that a run does not have, such as a likelihood, is not compared.
    """
    flat = {run: dict(_flatten(protocol)) for run, protocol in protocols.items()}
    for key in dict.fromkeys(key for values in flat.values() for key in values):
        by_value: dict[str, list[str]] = {}
        for run, values in flat.items():
            if key in values:
                by_value.setdefault(values[key], []).append(run)
        if len(by_value) > 1:
            parts = (f"{_shorten(value)} ({', '.join(runs)})" for value, runs in by_value.items())
            yield f"measured differently, {key.replace('_', ' ')}: {'; '.join(parts)}"


def _flatten(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in record.items():
        if key in IGNORED:
            continue
        if key == FEATURE_SPACE and isinstance(value, Mapping):
            yield FEATURE_SPACE, str(value.get(HASH))
        elif isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key} ")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value)


def _shorten(text: str) -> str:
    if len(text) <= MAX_VALUE_CHARACTERS:
        return text or "none"
    return f"{text[: MAX_VALUE_CHARACTERS - 1]}…"
