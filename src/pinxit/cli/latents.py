"""`pinxit interpolate` and `pinxit traverse`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pinxit.cli.common import (
    Files,
    Out,
    RunFolder,
    check_at_least,
    check_suffix,
    load_files,
    load_images_for,
    load_model,
    print_json,
    slug,
    write_file,
)
from pinxit.errors import UsageError


def interpolate(
    run: RunFolder,
    images: Files = (),
    seeds: tuple[int, int] | None = None,
    steps: int = 10,
    path: Literal["spherical", "linear"] = "spherical",
    gif: bool = False,
    out: Out = None,
) -> None:
    """The way from one image to another, or from the first sample of one seed to another's.

    Args:
        run: the run's folder
        images: two image files
        seeds: two seeds, in place of image files
        steps: images on the way, both ends among them
        path: spherical keeps to where samples lie, linear is straight
        gif: an animation, there and back, in place of a strip
        out: .png or .gif; else interpolate-*.png (.gif) in the run's folder
    """
    check_at_least(2, steps, "steps")
    if (seeds is None) == (not images) or (images and len(images) != 2):
        given = f", not {len(images)}" if images else ""
        raise UsageError(f"interpolate goes between two image files{given}, or --seeds 0 1.")
    where = check_suffix(out, ".png", ".gif")
    gif = gif if where is None else where.suffix == ".gif"
    model = load_model(run, "encode")
    from pinxit.sampling import grids as sheets
    from pinxit.sampling import latents

    ends = None
    if seeds is not None:
        made = latents.interpolate_seeds(model, seeds, steps, path)
        name = f"seeds-{seeds[0]}-{seeds[1]}"
    else:
        ends = load_files(run, images)
        made = latents.interpolate_images(model, ends, steps, path)
        name = "-".join(slug(file.stem) for file in images)
    name = f"interpolate-{name}" + (f"-{path}" if path != "spherical" else "")
    where = where or run / f"{name}{'.gif' if gif else '.png'}"
    print(
        write_file(
            where, sheets.animated_gif(made) if gif else sheets.image_strip(made, ends).png()
        )
    )


def traverse(
    run: RunFolder,
    latents: int = 8,
    image: Path | None = None,
    steps: int = 11,
    out: Out = None,
    json: bool = False,
) -> None:
    """What each of the most active latents does, from -3 to 3: a row each, with its KL.

    Args:
        run: the run's folder
        latents: how many, those of highest KL on the run's test images first
        image: where the other latents stand still; without it the most typical test image
        steps: images a row
        out: the sheet's PNG; else traverse-*.png in the run's folder
        json: print the latents and their KL as JSON
    """
    check_at_least(1, latents, "latents")
    check_at_least(2, steps, "steps")
    where = check_suffix(out, ".png")
    model = load_model(run, "encode")
    from pinxit.sampling.grids import rows_with_text
    from pinxit.sampling.latents import traverse as along

    start = None if image is None else load_files(run, (image,))
    found = along(
        model, load_images_for(model, run, ()).evenly_spaced(2_000), latents, start, steps
    )
    rows = list(zip(found.latents, found.rate, strict=True))
    texts = [f"z{number}\n{rate:.2f} nats" for number, rate in rows]
    name = f"traverse-{latents}" + (f"-{slug(image.stem)}" if image else "")
    where = where or run / f"{name}.png"
    sheet = rows_with_text(found.images, found.steps, texts)
    if json:
        write_file(where, sheet)
        shown = [{"latent": number, "kl": rate} for number, rate in rows]
        print_json({"path": str(where), "latents": shown})
        return
    print(write_file(where, sheet))
