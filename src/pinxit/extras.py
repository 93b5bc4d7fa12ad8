"""The optional parts of pinxit: packages that `pip install 'pinxit[NAME]'` adds."""

from __future__ import annotations

from importlib.util import find_spec

from pinxit.errors import PinxitError

# extra -> modules that the code imports from its packages
EXTRAS: dict[str, tuple[str, ...]] = {
    "hub": ("datasets", "huggingface_hub"),
    "parquet": ("pyarrow",),
    "text": ("tokenizers", "sacrebleu", "sklearn", "scipy"),
    "tensorboard": ("tensorboard",),
    "serve": (
        *("fastapi", "uvicorn", "sqlalchemy", "multipart", "prometheus_client", "httpx", "mcp"),
        "scipy",
    ),
    "explain": ("sklearn", "scipy"),
    "postgres": ("psycopg",),
    "heic": ("pillow_heif",),
    "umap": ("umap",),
    "fid": ("torch_fidelity",),
    "ray": ("ray",),
    "export": ("onnx", "onnxruntime", "onnxscript"),
}


class MissingExtraError(PinxitError):
    """An optional part of pinxit is not installed."""

    def __init__(self, extra: str, purpose: str, missing: str, instead: str = "") -> None:
        self.extra = extra
        alternative = f", or {instead}" if instead else ""
        super().__init__(f"{purpose} needs {missing}: pip install 'pinxit[{extra}]'{alternative}")


def require_extra(extra: str, purpose: str, instead: str = "") -> None:
    """Raise MissingExtraError unless all modules of an extra are installed.

    Imports nothing, so it can be called before any work. `purpose` is what needs the extra: the
    error begins with it. `instead` is what else the user can do.
    """
    missing = [name for name in EXTRAS[extra] if not _is_installed(name)]
    if missing:
        names = ", ".join(missing[:-1]) + " and " * (len(missing) > 1) + missing[-1]
        raise MissingExtraError(extra, purpose, names, instead)


def is_extra_installed(extra: str) -> bool:
    """Return whether all modules of an extra are installed."""
    return all(map(_is_installed, EXTRAS[extra]))


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # a module that hides itself, as tests do
        return False
