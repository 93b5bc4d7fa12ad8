"""Rules for types that tyro cannot build by itself: `tyro.cli(..., **TYRO_OPTIONS)`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from tyro.conf import OmitArgPrefixes
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    StructConstructorSpec,
    StructTypeInfo,
)

from pinxit.cli.common import load_model
from pinxit.models.generation import GenerationParams, Reranker

REGISTRY = ConstructorRegistry()
TYRO_OPTIONS: dict[str, Any] = {"config": (OmitArgPrefixes,), "registry": REGISTRY}


@REGISTRY.primitive_rule
def _reranker_rule(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Reranker] | None:
    """Build a reranker from `--reranker RUN`."""
    if info.type is not Reranker:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="RUN",
        instance_from_str=lambda words: load_reranker(Path(words[0])),
        is_instance=lambda value: value is not None,
        str_from_instance=lambda model: [type(model).__name__],
    )


def load_reranker(run: Path) -> Reranker:
    """Return the captioning model of a run. Raises PinxitError if it cannot caption."""
    return load_model(run, "caption")


class _GenerationFlags(GenerationParams):
    """The same fields under another type, so that tyro's rule for dataclasses applies."""


@REGISTRY.struct_rule
def _generation_rule(info: StructTypeInfo) -> StructConstructorSpec | None:
    """Build `GenerationParams` from flags: one seed for all images."""
    if info.type is not GenerationParams:
        return None
    spec = ConstructorRegistry.get_struct_spec(dataclasses.replace(info, type=_GenerationFlags))
    assert isinstance(spec, StructConstructorSpec)
    fields = [dataclasses.replace(f, type=int) if f.name == "seed" else f for f in spec.fields]
    return StructConstructorSpec(instantiate=GenerationParams, fields=tuple(fields))
