"""`pinxit sample` and `pinxit reconstruct`."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import FlagCreatePairsOff

from pinxit.cli.common import (
    Data,
    NumImages,
    Out,
    RunFolder,
    check_at_least,
    check_suffix,
    data_slug,
    image_names,
    load_images_for,
    load_model,
    pluralize,
    print_json,
    report_os_errors,
    slug,
    write_file,
)
from pinxit.cli.terminal import show_live
from pinxit.errors import UsageError
from pinxit.models import family_of


def sample(
    run: RunFolder,
    number: NumImages = 64,
    seed: int = 0,
    temperature: float = 1.0,
    label: str | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    watch: Annotated[bool, FlagCreatePairsOff] = False,
    out: Out = None,
) -> None:
    """New images out of nothing.

    Args:
        run: the run's folder
        number: how many images
        seed: of the chance; image 7 of a seed is the same however many are made
        temperature: of the noise: 1 as learned, below 1 plainer images, 0 one image
        label: which kind of image, for a run trained with --condition label
        top_k: draw from so many of the likeliest tokens alone, of a model that paints by tokens
        top_p: draw from the likeliest tokens of so much probability together, likewise
        watch: show the images in the terminal as they grow, of a model that paints by tokens
        out: .png for a grid, .npy for all pixels, .gif for the grid as it grows; else sample-*.png
            in the run's folder
    """
    where = check_suffix(out, ".png", ".npy", ".gif")
    model = load_model(run, "sample")
    from pinxit.models.protocols import CanSampleStream

    options = {"seed": seed, "temperature": temperature, "label": label}
    options |= {k: v for k, v in (("top_k", top_k), ("top_p", top_p)) if v is not None}
    grows = isinstance(model, CanSampleStream)
    by_tokens = ["--top-k"] * (top_k is not None) + ["--top-p"] * (top_p is not None)
    by_tokens += ["--watch"] * watch + ["-o *.gif"] * (where is not None and where.suffix == ".gif")
    if by_tokens and not grows:
        raise UsageError(
            f"{', '.join(by_tokens)}: for a model that paints token by token, as igpt; a run of "
            f"the family '{family_of(model.config)}' paints all at once."
        )
    if where is not None and where.suffix == ".gif":
        from pinxit.sampling.grids import progress_gif

        print(write_file(where, progress_gif(model.sample_stream(number, **options))))
        return
    images = (
        show_live(model.sample_stream(number, **options))
        if watch
        else model.sample(number, **options)
    )
    name = f"sample-seed{seed}-n{number}"
    name += f"-t{temperature:g}" if temperature != 1 else ""
    name += f"-k{top_k}" if top_k else ""
    name += f"-p{top_p:g}" if top_p else ""
    name += f"-{slug(label)}" if label is not None else ""
    where = where or run / f"{name}.png"
    print(report_os_errors(where, images.save))


def reconstruct(
    run: RunFolder,
    data: Data = (),
    number: NumImages = 32,
    out: Out = None,
    json: bool = False,
) -> None:
    """Images through the model and back: each original at the left of its reconstruction.

    Args:
        run: the run's folder
        data: DATA or image files; without it the test split of the run's own data
        number: images on the sheet, at even distances over all
        out: the sheet's PNG; else reconstruct-*.png in the run's folder
        json: print each image's error as JSON
    """
    check_at_least(1, number, "images on the sheet")
    where = check_suffix(out, ".png")
    model = load_model(run, "reconstruct")
    from pinxit.data.psnr import psnr
    from pinxit.evaluation.reconstruction import mse_per_image
    from pinxit.sampling.grids import pair_grid

    images = load_images_for(model, run, data).evenly_spaced(number)
    made = model.reconstruct(images)
    where = where or run / f"reconstruct-{data_slug(data)}-n{len(images)}.png"
    errors = psnr(mse_per_image(images, made)).tolist()
    mean = sum(errors) / len(errors)
    if json:
        each = zip(image_names(images), errors, strict=True)
        rows = [{"name": name, "psnr": error} for name, error in each]
        write_file(where, pair_grid(images, made).png())
        print_json({"path": str(where), "psnr": mean, "images": rows})
        return
    print(f"{pluralize(len(images), 'image')}, PSNR {mean:.1f} dB")
    print(write_file(where, pair_grid(images, made).png()))
