"""Numbers and names as text."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from pinxit import console

ACRONYMS = {
    word.lower(): word
    for word in ("ELBO", "EMA", "FID", "FSQ", "IW", "KL", "MSE", "NLL", "PSNR", "SSIM")
}
MAX_LIST_ENTRIES = 8
MAX_STEM_CHARACTERS = 32  # of a file name; longer ones are shortened


def format_number(value: float, digits: int = 3) -> str:
    """Format to about `digits` significant figures with thousands separators; nan becomes `–`."""
    if not math.isfinite(value):
        return "–"
    return console.format_number(value, digits).replace("e-0", "e-").replace("-", "−")


def format_estimate(value: float, error: float | None) -> tuple[str, str]:
    """Return a value with the digits that its error supports, and `± error`; "" if unknown."""
    if not math.isfinite(value) or error is None or not math.isfinite(error):
        return format_number(value, 4 if abs(value) >= 10 else 3), ""
    text = console.format_estimate(value, error).replace("e-0", "e-").replace("-", "−")
    number, _, deviation = text.partition(" ± ")
    return number, f"± {deviation}"


def format_count(count: float) -> str:
    """Format a count: `12,300`, or `12.3 M` from a million on."""
    return f"{format_number(count / 1e6, 3)} M" if count >= 1e6 else f"{round(count):,}"


def format_seconds(seconds: float) -> str:
    """Return a time with its unit: `1.2 ms`, `3.4 s`, `7 min 28 s`."""
    if seconds >= 10:
        return console.format_duration(seconds)
    if seconds >= 1:
        return f"{format_number(seconds, 2)} s"
    return f"{format_number(1000 * seconds, 2)} ms"


def format_key(key: str) -> str:
    """Turn a key into words: `kl_warmup` becomes `KL warmup`."""
    return " ".join(ACRONYMS.get(word, word) for word in key.replace("_", " ").split())


def format_option(name: str) -> str:
    """Return the command line's spelling of an option: `latent_dim` becomes `--latent-dim`."""
    return f"--{name.replace('_', '-')}"


def shorten_file_name(name: str) -> tuple[str, str]:
    """Split a file name into its stem, shortened in the middle, and its extension."""
    match = re.fullmatch(r"(.+)(\.\w{1,5})", name)
    stem, extension = match.groups() if match else (name, "")
    if len(stem) > MAX_STEM_CHARACTERS:
        half = (MAX_STEM_CHARACTERS - 1) // 2
        stem = f"{stem[:half]}…{stem[-half:]}"
    return stem, extension


def format_value(value: object) -> str:
    """Format any JSON value for a table cell."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, (int, float)):
        return format_number(value) if value == int(value) else f"{value:.6g}"
    if isinstance(value, (list, tuple)):
        return _format_list(value)
    return str(value)


def _format_list(values: list | tuple) -> str:
    text = ", ".join(format_value(entry) for entry in values[:MAX_LIST_ENTRIES])
    if len(values) > MAX_LIST_ENTRIES:
        return f"{text}, … ({len(values)})"
    return text or "–"


def flatten_record(record: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """Turn a JSON record into rows of (name, text); nested records are flattened."""
    rows: list[tuple[str, str]] = []
    for key, value in record.items():
        name = f"{prefix}{format_key(str(key))}"
        if isinstance(value, Mapping):
            rows += flatten_record(value, f"{name}, ")
        else:
            rows.append((name, format_value(value)))
    return rows
