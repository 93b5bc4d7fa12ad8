"""Numbers as people read them."""

from __future__ import annotations

import math

SHORT = {"elbo": "ELBO", "kl": "KL", "psnr": "PSNR", "ssim": "SSIM", "mse": "MSE"}


def number(value: float, digits: int = 3) -> str:
    """`value` to about `digits` significant figures, thousands apart; a dash where it is none."""
    if not math.isfinite(value):
        return "–"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}".replace("-", "−")
    size = math.floor(math.log10(abs(value)))
    if size < -4:
        return f"{value:.{digits - 1}e}".replace("e-0", "e-").replace("-", "−")
    return f"{value:,.{max(0, digits - 1 - size)}f}".replace("-", "−")


def plain(name: str) -> str:
    """A key of a record as words: `kl_warmup` becomes `KL warmup`."""
    words = name.replace("_", " ").split()
    return " ".join(SHORT.get(word, word) for word in words)


def value(anything: object) -> str:
    """Any value of a record, as text for a table's cell."""
    if anything is None:
        return "–"
    if isinstance(anything, bool):
        return "yes" if anything else "no"
    if isinstance(anything, float) and not math.isfinite(anything):
        return "–"
    if isinstance(anything, (int, float)):
        return number(anything) if anything == int(anything) else f"{anything:.6g}"
    if isinstance(anything, (list, tuple)):
        shown = ", ".join(value(one) for one in anything[:8])
        return f"{shown}, … ({len(anything)})" if len(anything) > 8 else shown or "–"
    return str(anything)
