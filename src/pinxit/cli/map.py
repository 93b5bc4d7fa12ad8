"""`pinxit map`."""

from __future__ import annotations

from typing import Annotated, Literal

from tyro.conf import Positional, arg

from pinxit import console
from pinxit.cli.common import Data, Json, Out, Quiet, RunFolder, data_slug, pluralize, shell_join
from pinxit.data.split_names import SplitOrAll
from pinxit.nn.device import Device

Task = Annotated[
    Positional[Literal["embed", "caption", "reconstruct", "score", "tokenize"]],
    arg(metavar="TASK"),
]


def map(
    task: Task,
    run: RunFolder,
    data: Data = (),
    split: SplitOrAll = "all",
    shard: str | None = None,
    engine: Literal["local", "ray"] = "local",
    address: str | None = None,
    block_size: int = 4_096,
    language: str | None = None,
    num_captions: int | None = None,
    num_beams: int | None = None,
    length_penalty: float | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    samples: int | None = None,
    seed: int | None = None,
    out: Out = None,
    device: Device = "auto",
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Apply a model to all images of a source, to a folder of Parquet files.

    A file holds a block of images; each image is in one file, once. The same command goes on where
    it was interrupted, also on several machines or on a Ray cluster.

    Examples:
        pinxit map embed runs/photos-mae photos/ --out vectors/
        pinxit map caption runs/photos-captions photos/ --shard 0/4 --out texts/
        pinxit map score runs/photos-vae photos/ --engine ray --out scores/

    Args:
        task: embed, caption, reconstruct, score or tokenize: what the model computes
        run: run folder
        data: DATA or image files (default: the run's own data)
        split: use this split only
        shard: I/N: compute every N-th block from I on, counted from 0 as ranks are: 0/4 to 3/4
        engine: local, on this machine; or ray, on a Ray cluster, which needs pinxit[ray]
        address: HOST:PORT of the Ray cluster (default: RAY_ADDRESS, or one that is started here)
        block_size: images of a file
        language: of caption: language of the captions (default: English, or else the model's first)
        num_captions: of caption: number of captions of each image (default: 1)
        num_beams: of caption: beam width of beam search (default: 4)
        length_penalty: of caption: exponent of the length penalty (default: 0.6)
        temperature: of caption: sample in place of beam search
        top_k: of caption with --temperature: sample from the K most likely tokens only
        top_p: of caption with --temperature: nucleus sampling
        samples: of score: importance samples per image, where the likelihood is not exact
            (default: 1)
        seed: of caption and score: random seed (default: 0)
        out: folder of the Parquet files (default: map-* in the run folder)
        device: where to compute; auto is cuda if there is a GPU, or else cpu
        quiet: print no progress and no notes
        json: print the path and the numbers of blocks as JSON
    """
    from pinxit.runs import Run

    Run(run).check()  # before torch is imported
    from pinxit.mapping.api import map_images

    path = out or run / f"map-{task}-{data_slug(data, None if split == 'all' else split, 'all')}"
    result = map_images(
        Run(run),
        task,
        data,
        out=path,
        split=split,
        shard=shard,
        engine=engine,
        address=address,
        block_size=block_size,
        device=device,
        progress=not quiet,
        options={
            **{"language": language, "num_captions": num_captions, "num_beams": num_beams},
            **{"length_penalty": length_penalty, "temperature": temperature, "top_k": top_k},
            **{"top_p": top_p, "samples": samples, "seed": seed},
        },
    )
    if json:
        console.out_json(result.to_json())
        return
    done = result.blocks - result.missing
    console.out(
        f"{pluralize(result.images, 'image')}, {done:,} of {pluralize(result.blocks, 'block')} "
        f"done, {result.computed:,} of them now"
    )
    if result.skipped:
        console.out(f"{result.skipped:,} not read: {shell_join(path / '_skipped.jsonl')}")
    console.out(str(path))
