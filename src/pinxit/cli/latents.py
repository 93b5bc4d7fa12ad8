"""`pinxit interpolate` and `pinxit traverse`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from pinxit import console
from pinxit.cli.common import (
    Flag,
    Json,
    Out,
    Quiet,
    RunFolder,
    check_at_least,
    check_suffix,
    load_images_for,
    load_model,
    load_named,
    print_result,
    shell_join,
    write_file,
    write_sheet,
)
from pinxit.cli.draw import warn_of_unknown_words
from pinxit.cli.file_names import join_slugs, names_slug, option_suffix
from pinxit.data.image_suffixes import IMAGE_SUFFIXES
from pinxit.data.seeds import check_seed
from pinxit.data.slugs import short_hash
from pinxit.errors import UsageError
from pinxit.nn.device import Device

if TYPE_CHECKING:
    from pinxit.models.protocols import CanEncode

NUM_STEPS = 10  # images of an interpolation
NUM_MOVES = 11  # images of a row of a traversal
TwoImages = Annotated[Positional[tuple[str, ...]], arg(metavar="[IMAGE IMAGE]")]


def interpolate(
    run: RunFolder,
    images: TwoImages = (),
    seeds: tuple[int, int] | None = None,
    texts: tuple[str, str] | None = None,
    language: str | None = None,
    steps: int = NUM_STEPS,
    path: Literal["spherical", "linear"] = "spherical",
    gif: Flag = False,
    out: Out = None,
    device: Device = "auto",
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Morph one image into another, one sample into another, or one caption into another.

    Examples:
        pinxit interpolate runs/digits-vae 3 17
        pinxit interpolate runs/emoji-flow --texts "red heart" "blue heart"
        pinxit interpolate runs/faces-vae ann.png bob.png --gif

    Args:
        run: run folder
        images: two image files, or two images of the run's data by name (pinxit score lists
            them) or by number: 0 is the first test image
        seeds: two seeds, in place of images: the first sample of each
        texts: two captions, in place of images, for a flow of captions; with --seeds, the seed of
            each (default: 0 0)
        language: language of the captions (default: detected)
        steps: number of images, both endpoints included
        path: path between the latents; spherical stays where samples of the prior lie
        gif: write an animation, there and back, in place of a strip
        out: .png, .jpg, .webp or .gif (default: interpolate-*.png or .gif in the run folder)
        device: where to compute; auto is cuda if there is a GPU, or else cpu
        quiet: print no notes
        json: print the path as JSON
    """
    check_at_least(2, steps, "--steps")
    if language is not None and texts is None:
        raise UsageError("--language is that of --texts; give two captions.")
    _check_ends(run, images, seeds, texts)
    file = check_suffix(out, *IMAGE_SUFFIXES, ".gif")
    if gif and file is not None and file.suffix.lower() != ".gif":
        raise UsageError(f"--gif writes a .gif: --out FILE.gif, not {file}")
    gif = gif if file is None else file.suffix.lower() == ".gif"
    ability = "invert" if texts is not None else _ability_to_interpolate(run)
    model: Any = load_model(run, ability, device)
    from pinxit.models.protocols import HasText
    from pinxit.sampling.grids import encode_gif, image_strip, with_heading
    from pinxit.sampling.inputs import match_labels
    from pinxit.sampling.latents import interpolate_images, interpolate_seeds, interpolate_texts

    endpoints = None
    if texts is not None:
        reader: Any = model
        if not quiet and isinstance(reader, HasText):
            warn_of_unknown_words(reader, texts)
        frames = interpolate_texts(model, texts, steps, path, seeds or (0, 0), language)
        heading = f"from {texts[0]!r} to {texts[1]!r}"
    elif seeds is not None:
        frames = interpolate_seeds(model, seeds, steps, path)
        heading = f"from the first sample of seed {seeds[0]} to that of seed {seeds[1]}"
    else:
        endpoints = match_labels(model, load_named(run, images, quiet=quiet))
        frames = interpolate_images(model, endpoints, steps, path)
        heading = f"first: {images[0]}; last: {images[1]}; between them {steps} decoded latents"
    name = _interpolate_name(images, seeds, texts, language, steps, path)
    file = file or run / f"{name}{'.gif' if gif else '.png'}"
    if gif:
        write_file(file, encode_gif(frames))
    else:
        write_sheet(file, with_heading(image_strip(frames, endpoints).to_png(), heading))
    print_result(file, json, steps=steps)


def _interpolate_name(
    images: Sequence[str],
    seeds: tuple[int, int] | None,
    texts: tuple[str, str] | None,
    language: str | None,
    steps: int,
    path: str,
) -> str:
    """Return the default name of the file, without its suffix."""
    seed_pair = "" if seeds is None else f"seeds-{seeds[0]}-{seeds[1]}"
    if texts is not None:
        name = f"texts-{join_slugs(texts)}-{short_hash(texts)}"
        name += option_suffix("", seed_pair, "") + option_suffix("", language)
    else:
        name = seed_pair or names_slug(images)
    name += option_suffix("steps", steps, NUM_STEPS) + option_suffix("", path, "spherical")
    return f"interpolate-{name}"


def _check_ends(
    run: Path,
    images: Sequence[str],
    seeds: tuple[int, int] | None,
    texts: tuple[str, str] | None,
) -> None:
    """Raise UsageError unless the two ends are given in one way, and completely."""
    for seed in seeds or ():
        check_seed(seed, "--seeds")
    if images and len(images) == 2 and seeds is None and texts is None:
        return
    if images or (seeds is None and texts is None):
        given = f", not {len(images)}" if images and len(images) != 2 else ""
        example = shell_join("pinxit", "interpolate", run, "--seeds", "0", "1")
        raise UsageError(f"interpolate takes two images{given}, or two seeds: {example}")


def _ability_to_interpolate(run: Path) -> str:
    """Return `invert` for a run whose model finds the noise of images, else `encode`."""
    from pinxit.models import get_family
    from pinxit.runs import Run

    return "invert" if "invert" in get_family(Run(run).family).ABILITIES else "encode"


def traverse(
    run: RunFolder,
    latents: int = 8,
    image: str | None = None,
    steps: int = NUM_MOVES,
    along: Literal["latents", "directions"] | None = None,
    out: Out = None,
    device: Device = "auto",
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Vary single latents from -3 to 3, the most active latents first: one row each.

    Examples:
        pinxit traverse runs/digits-vae
        pinxit traverse runs/faces-vae --latents 4 --image ann.png

    Args:
        run: run folder
        latents: number of latents, those of highest KL on the run's test images; with a learned
            prior, z = f(u), latents of u, those of highest variance
        image: image that gives the other latents: a file, or the name or number of a test image
            (default: the most typical test image)
        steps: images per row
        along: latents, of a grid its channels; or the principal directions of the latents of test
            images (default: latents, of a grid directions)
        out: file of the sheet: .png, .jpg or .webp (default: traverse-*.png in the run folder)
        device: where to compute; auto is cuda if there is a GPU, or else cpu
        quiet: print no progress and no notes
        json: print the path, the latents and their KL (or variance) as JSON
    """
    check_at_least(1, latents, "--latents")
    check_at_least(2, steps, "--steps")
    path = check_suffix(out, *IMAGE_SUFFIXES)
    model: CanEncode = load_model(run, "encode", device)
    from pinxit.sampling.inputs import match_labels
    from pinxit.sampling.latents import MAX_TRAVERSED_IMAGES
    from pinxit.sampling.latents import traverse as traverse_latents

    start = None
    if image is not None:
        start = match_labels(model, load_named(run, (image,), quiet=quiet))
    images = load_images_for(model, run, (), quiet=quiet)
    traversal = traverse_latents(
        model, images.evenly_spaced(MAX_TRAVERSED_IMAGES), latents, start, steps, along
    )
    quantity, activity = traversal.activity
    rows = zip(traversal.latents, activity, strict=True)
    path = path or run / f"{_traverse_name(latents, image, steps, along)}.png"
    write_sheet(path, traversal.to_png())
    if json:
        records = [{traversal.unit: number, quantity: value} for number, value in rows]
        console.out_json({"path": str(path), "latents": records})
        return
    console.out(str(path))


def _traverse_name(latents: int, image: str | None, steps: int, along: str | None) -> str:
    """Return the default name of the file, without its suffix."""
    name = f"traverse-{latents}" + option_suffix("", along)
    name += option_suffix("steps", steps, NUM_MOVES)
    return name + ("" if image is None else f"-image-{names_slug([image])}")
