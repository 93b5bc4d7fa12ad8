"""`pinxit sample`, `reconstruct`, `interpolate`, `traverse`, `embed` and `score`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import FlagCreatePairsOff

from pinxit.cli.given import (
    Data,
    Files,
    Number,
    Out,
    RunFolder,
    at_least,
    called,
    checked,
    files_of,
    images_of,
    many,
    model_of,
    names_of,
    plain,
    print_json,
    tried,
    written,
)
from pinxit.cli.watching import watched
from pinxit.errors import UsageError
from pinxit.models import family_of


def sample(
    run: RunFolder,
    number: Number = 64,
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
    where = checked(out, ".png", ".npy", ".gif")
    model = model_of(run, "sample")
    options = {"seed": seed, "temperature": temperature, "label": label}
    options |= {k: v for k, v in (("top_k", top_k), ("top_p", top_p)) if v is not None}
    grows = hasattr(model, "growing")
    by_tokens = ["--top-k"] * (top_k is not None) + ["--top-p"] * (top_p is not None)
    by_tokens += ["--watch"] * watch + ["-o *.gif"] * (where is not None and where.suffix == ".gif")
    if by_tokens and not grows:
        raise UsageError(
            f"{', '.join(by_tokens)}: for a model that paints token by token, as igpt; a run of "
            f"the family '{family_of(model.config)}' paints all at once."
        )
    if where is not None and where.suffix == ".gif":
        from pinxit.sampling.sheets import growing_grid

        print(written(where, growing_grid(model.growing(number, **options))))
        return
    images = watched(model.growing(number, **options)) if watch else model.sample(number, **options)
    name = f"sample-seed{seed}-n{number}"
    name += f"-t{temperature:g}" if temperature != 1 else ""
    name += f"-k{top_k}" if top_k else ""
    name += f"-p{top_p:g}" if top_p else ""
    name += f"-{plain(label)}" if label is not None else ""
    where = where or run / f"{name}.png"
    print(tried(where, images.save))


def reconstruct(
    run: RunFolder,
    data: Data = (),
    number: Number = 32,
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
    at_least(1, number, "images on the sheet")
    where = checked(out, ".png")
    model = model_of(run, "reconstruct")
    from pinxit.evaluation.reconstruction import mean_squared_errors, psnr
    from pinxit.sampling.inputs import spread
    from pinxit.sampling.sheets import pairs

    images = spread(images_of(model, run, data), number)
    made = model.reconstruct(images)
    where = where or run / f"reconstruct-{called(data)}-n{len(images)}.png"
    errors = psnr(mean_squared_errors(images, made)).tolist()
    mean = sum(errors) / len(errors)
    if json:
        each = zip(names_of(images), errors, strict=True)
        rows = [{"name": name, "psnr": error} for name, error in each]
        written(where, pairs(images, made).png())
        print_json({"path": str(where), "psnr": mean, "images": rows})
        return
    print(f"{many(len(images), 'image')}, PSNR {mean:.1f} dB")
    print(written(where, pairs(images, made).png()))


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
    at_least(2, steps, "steps")
    if (seeds is None) == (not images) or (images and len(images) != 2):
        given = f", not {len(images)}" if images else ""
        raise UsageError(f"interpolate goes between two image files{given}, or --seeds 0 1.")
    where = checked(out, ".png", ".gif")
    gif = gif if where is None else where.suffix == ".gif"
    model = model_of(run, "encode")
    from pinxit.sampling import latents, sheets

    ends = None
    if seeds is not None:
        made = latents.between_seeds(model, seeds, steps, path)
        name = f"seeds-{seeds[0]}-{seeds[1]}"
    else:
        ends = files_of(run, images)
        made = latents.between_images(model, ends, steps, path)
        name = "-".join(plain(file.stem) for file in images)
    name = f"interpolate-{name}" + (f"-{path}" if path != "spherical" else "")
    where = where or run / f"{name}{'.gif' if gif else '.png'}"
    print(written(where, sheets.animation(made) if gif else sheets.strip(made, ends).png()))


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
    at_least(1, latents, "latents")
    at_least(2, steps, "steps")
    where = checked(out, ".png")
    model = model_of(run, "encode")
    from pinxit.sampling.inputs import spread
    from pinxit.sampling.latents import traverse as along
    from pinxit.sampling.sheets import rows_with_text

    start = None if image is None else files_of(run, (image,))
    found = along(model, spread(images_of(model, run, ()), 2_000), latents, start, steps)
    rows = list(zip(found.latents, found.rate, strict=True))
    texts = [f"z{number}\n{rate:.2f} nats" for number, rate in rows]
    name = f"traverse-{latents}" + (f"-{plain(image.stem)}" if image else "")
    where = where or run / f"{name}.png"
    sheet = rows_with_text(found.images, found.steps, texts)
    if json:
        written(where, sheet)
        shown = [{"latent": number, "kl": rate} for number, rate in rows]
        print_json({"path": str(where), "latents": shown})
        return
    print(written(where, sheet))


def embed(
    run: RunFolder,
    data: Data = (),
    out: Out = None,
    json: bool = False,
) -> None:
    """A vector for each image, as parquet: name, vector, and label and split where known.

    Args:
        run: the run's folder
        data: DATA or image files; without it all of the run's own data
        out: the parquet file; else embeddings-*.parquet in the run's folder
        json: print what was written as JSON
    """
    where = checked(out, ".parquet")
    model = model_of(run, "embed")
    from pinxit.sampling.tables import embeddings

    images = images_of(model, run, data, split="all")
    vectors = model.embed(images)
    where = where or run / f"embeddings-{called(data, 'all')}.parquet"
    written(where, embeddings(images, vectors))
    if json:
        print_json({"path": str(where), "count": len(vectors), "dim": vectors.shape[1]})
        return
    print(f"{many(len(vectors), 'vector')} of {vectors.shape[1]} numbers")
    print(where)


def score(
    run: RunFolder,
    data: Data = (),
    samples: int = 1,
    seed: int = 0,
    out: Out = None,
    json: bool = False,
) -> None:
    """Log-likelihood of each image, most unusual first: a CSV, and a sheet of the most unusual.

    Args:
        run: the run's folder
        data: DATA or image files; without it the test split of the run's own data
        samples: 1 for the ELBO, more for the tighter importance-weighted bound
        seed: of the chance
        out: the CSV file (the sheet stands beside it as .png); else scores-*.csv in the run's
            folder
        json: print the scores as JSON
    """
    at_least(1, samples, "samples")
    where = checked(out, ".csv")
    model = model_of(run, "score")
    from pinxit.sampling.scores import scores, table
    from pinxit.sampling.sheets import scored

    images = images_of(model, run, data)
    found = scores(model, images, samples, seed)
    where = where or run / f"scores-{called(data)}-k{samples}.csv"
    rows = table(model, images, found)
    from pinxit.sampling.tables import csv_text

    written(where, csv_text(rows))
    sheet = written(where.with_suffix(".png"), scored(images, found))
    if json:
        print_json({"path": str(where), "sheet": str(sheet), "scores": rows})
        return
    print(f"{many(len(found), 'image')}: {found.mean():.1f} nats on average")
    print(f"most unusual: {sheet}")
    print(where)
