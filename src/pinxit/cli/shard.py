"""`pinxit shard`: write a data set as WebDataset shards."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from pinxit import console
from pinxit.cli.common import Json, Quiet
from pinxit.console import format_bytes, pluralize


def shard(
    data: Annotated[Positional[str], arg(metavar="DATA")],
    out: Annotated[Positional[Path], arg(metavar="OUT")],
    per_shard: int = 1_000,
    workers: int | None = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a data set as WebDataset shards, with a list of them and their checksums.

    Image files keep their bytes. After an interrupt the same command goes on: shards that are
    complete are kept.

    Examples:
        pinxit shard photos/ shards/
        pinxit shard clothing.parquet shards/ --per-shard 5000

    Args:
        data: a source (see: pinxit sources)
        out: the folder of the shards, which is new, empty, or of an interrupted command
        per_shard: number of images in a shard
        workers: number of threads (default: one per core)
        json: print the list of shards as JSON
        quiet: show no progress and no notes
    """
    from pinxit.data.shards.write import shard as write_shards

    manifest = write_shards(data, out, per_shard=per_shard, workers=workers, quiet=quiet)
    if json:
        counts = {"samples": manifest.samples, "not_readable": manifest.not_readable}
        console.out_json(dataclasses.asdict(manifest) | counts)
        return
    left = f", {manifest.not_readable:,} not readable" if manifest.not_readable else ""
    console.out(
        f"{pluralize(manifest.samples, 'image')} in {pluralize(len(manifest.shards), 'shard')}"
        f"{left}: {format_bytes(manifest.bytes)} in {out}"
    )
