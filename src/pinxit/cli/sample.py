"""Commands that generate images without input, and that show reconstructions.

`pinxit sample` writes a grid of new images, or any number of them as shards. `pinxit reconstruct`
writes each image beside its reconstruction and prints the PSNR.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal, NamedTuple

from pinxit import console
from pinxit.cli.common import (
    Data,
    Flag,
    Json,
    LabelParams,
    NumImages,
    NumOfData,
    Out,
    Quiet,
    RunFolder,
    SplitOrAll,
    check_at_least,
    check_suffix,
    data_slug,
    image_names,
    load_images_for,
    load_model,
    pluralize,
    print_result,
    write_or_raise,
    write_sheet,
)
from pinxit.cli.file_names import label_slug, params_suffix
from pinxit.cli.terminal import save_stream
from pinxit.data.image_suffixes import IMAGE_SUFFIXES
from pinxit.errors import UsageError
from pinxit.extras import require_extra
from pinxit.models import family_of
from pinxit.models.generation import GenerationParams
from pinxit.nn.device import Device


def sample(
    run: RunFolder,
    num_images: NumImages = 64,
    label: str | None = None,
    params: LabelParams = GenerationParams(),  # noqa: B008 (frozen)
    prior: Literal["own", "mixture", "realnvp"] = "own",
    live: Flag = False,
    shard_size: int | None = None,
    shard: str | None = None,
    engine: Literal["local", "ray"] = "local",
    address: str | None = None,
    out: Out = None,
    device: Device = "auto",
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Generate new images: a grid of some, or any number as WebDataset shards in a folder.

    Shards are DATA for other commands. The same command goes on where it was interrupted, also on
    several machines or on a Ray cluster; an image does not depend on how they are divided.

    Examples:
        pinxit sample runs/digits-vae --prior mixture
        pinxit sample runs/digits-igpt -n 16 --temperature 0.9 --live --out grid.gif
        pinxit sample runs/digits-vae -n 1000000 --out shards/

    Args:
        run: run folder
        num_images: number of images
        label: class to generate, for a run trained with --condition label
        params: options of generation
        prior: where z of a VAE comes from: its own prior, or one fitted to the latents of its
            training images after training: a mixture of Gaussians (Ghosh 2019) or a RealNVP flow;
            it is kept in the run folder
        live: show the images in the terminal while they are generated, for a model that generates
            token by token
        shard_size: of shards: images of a shard (default: 1024)
        shard: of shards: I/N: write every N-th shard from I on, counted from 0 as ranks are
        engine: of shards: local, on this machine; or ray, on a Ray cluster, which needs pinxit[ray]
        address: HOST:PORT of the Ray cluster (default: RAY_ADDRESS, or one that is started here)
        out: .png, .jpg or .webp for a grid, .npy for all pixels, .gif for the grid while it is
            generated, or a folder for shards (default: sample-*.png in the run folder)
        device: where to compute; auto is cuda if there is a GPU, or else cpu
        quiet: print no progress and no notes
        json: print the path and the parameters as JSON
    """
    if out is not None and (out.suffix == "" or out.is_dir()):
        for flag, is_set in (("--live", live), (f"--prior {prior}", prior != "own")):
            if is_set:
                raise UsageError(f"{flag} is of a grid or .npy, not of a folder of shards: {out}")
        options = _ShardOptions(shard_size, shard, engine, address)
        _sample_shards(run, num_images, out, label, params, options, device, quiet, json)
        return
    for name, value in (("shard-size", shard_size), ("shard", shard), ("address", address)):
        if value is not None or engine != "local":
            flag = f"--{name}" if value is not None else f"--engine {engine}"
            raise UsageError(f"{flag} is of a folder of shards: name one, such as --out shards/")
    path = check_suffix(out, *IMAGE_SUFFIXES, ".npy", ".gif")
    model = load_model(run, "sample", device)
    from pinxit.models.abilities import with_article
    from pinxit.models.protocols import CanSampleStream

    name = _sample_name(num_images, label, params) + (f"-{prior}" if prior != "own" else "")
    path = path or run / f"{name}.png"
    if prior != "own":
        if live or path.suffix.lower() == ".gif":
            flag = "--live" if live else "--out *.gif"
            raise UsageError(
                f"{flag} shows images that are generated token by token, and --prior is of latents "
                "that are decoded at once."
            )
        check_at_least(1, num_images, "--num-images")
        if prior == "mixture":
            require_extra("explain", "--prior mixture", "use --prior realnvp")
        encoder = load_model(run, "encode", device)
        from pinxit.runs import Run
        from pinxit.sampling.fitted_priors import sample_fitted

        images = sample_fitted(
            Run(run), encoder, prior, num_images, label, params, progress=not quiet
        )
        write_or_raise(path, images.save)
    elif live or path.suffix.lower() == ".gif":
        if not isinstance(model, CanSampleStream):
            raise UsageError(
                f"{'--live' if live else '--out *.gif'} shows images that are generated token by "
                f"token; {with_article(family_of(model.config))} generates them at once."
            )
        save_stream(model.sample_stream(num_images, params, label=label), path, live=live)
    else:
        write_or_raise(path, model.sample(num_images, params, label=label).save)
    own = {} if prior == "own" else {"prior": prior}
    print_result(path, json, num_images=num_images, label=label, **own, **params.overrides())


class _ShardOptions(NamedTuple):
    shard_size: int | None
    shard: str | None
    engine: Literal["local", "ray"]
    address: str | None


def _sample_shards(
    run: RunFolder,
    num_images: int,
    out: Path,
    label: str | None,
    params: GenerationParams,
    options: _ShardOptions,
    device: Device,
    quiet: bool,
    json: bool,
) -> None:
    from pinxit.runs import Run

    Run(run).check()  # before torch is imported
    from pinxit.mapping.samples import SHARD_SIZE, sample_shards

    result = sample_shards(
        Run(run), num_images, out,
        label=label, params=params,
        shard_size=SHARD_SIZE if options.shard_size is None else options.shard_size,
        shard=options.shard, engine=options.engine, address=options.address,
        device=device, progress=not quiet,
    )  # fmt: skip
    if json:
        console.out_json(result.to_json())
        return
    console.out(
        f"{pluralize(result.images, 'image')}, {result.shards - result.missing:,} of "
        f"{pluralize(result.shards, 'shard')} done, {result.computed:,} of them now"
    )
    console.out(str(out))


def _sample_name(num_images: int, label: str | None, params: GenerationParams) -> str:
    name = f"sample-seed{params.seed}-n{num_images}"
    name += params_suffix(dataclasses.replace(params, seed=0))
    return name + (f"-{label_slug(label)}" if label is not None else "")


def reconstruct(
    run: RunFolder,
    data: Data = (),
    split: SplitOrAll | None = None,
    num_images: NumOfData = None,
    levels: int | None = None,
    out: Out = None,
    device: Device = "auto",
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Encode images and decode them again: each original beside its reconstruction.

    Examples:
        pinxit reconstruct runs/digits-vae
        pinxit reconstruct runs/photos-vae photos/ -n 8 --out pairs.png
        pinxit reconstruct runs/photos-ladder --levels 2

    Args:
        run: run folder
        data: DATA or image files (default: the run's own data)
        split: use this split only (default: test of the run's own data, all of DATA)
        num_images: number of images, evenly spaced over all (default: all image files that are
            named, 32 of other images)
        levels: of a VAE with --latents ladder: reconstruct from this many levels, the coarsest
            first; the finer ones are left to their prior (default: all)
        out: file of the sheet: .png, .jpg or .webp (default: reconstruct-*.png in the run folder)
        device: where to compute; auto is cuda if there is a GPU, or else cpu
        quiet: print no progress and no notes
        json: print the path and the PSNR of each image as JSON
    """
    check_at_least(1, 1 if num_images is None else num_images, "--num-images")
    path = check_suffix(out, *IMAGE_SUFFIXES)
    model = load_model(run, "reconstruct" if levels is None else "encode", device)
    from pinxit.evaluation.reconstruction import mse_per_image, psnr
    from pinxit.sampling.grids import pair_grid, with_heading
    from pinxit.sampling.levels import reconstruct_from_levels

    images = load_images_for(model, run, data, split, quiet, num_images, default=32)
    name = f"reconstruct-{data_slug(data, split)}-n{len(images)}"
    if levels is None:
        reconstructions = model.reconstruct(images)
    else:
        reconstructions = reconstruct_from_levels(model, images, levels)
        name += f"-levels{levels}"
    path = path or run / f"{name}.png"
    values = psnr(mse_per_image(images, reconstructions)).tolist()
    mean = sum(values) / len(values)
    heading = f"each image (left) beside its reconstruction (right), PSNR {mean:.1f} dB"
    write_sheet(path, with_heading(pair_grid(images, reconstructions).to_png(), heading))
    rows = [
        {"name": name, "psnr": value}
        for name, value in zip(image_names(images), values, strict=True)
    ]
    summary = f"{pluralize(len(images), 'image')}, PSNR {mean:.1f} dB"
    print_result(path, json, summary=summary, psnr=mean, images=rows)
