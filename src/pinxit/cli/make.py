"""`pinxit sample`, `reconstruct`, `interpolate`, `traverse`, `embed` and `score`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from pinxit.errors import PinxitError, UsageError

if TYPE_CHECKING:
    from pinxit.data.pictures import Pictures

RunFolder = Annotated[Positional[Path], arg(metavar="RUN")]
Data = Annotated[Positional[tuple[str, ...]], arg(metavar="[DATA ...]")]
Files = Annotated[Positional[tuple[Path, ...]], arg(metavar="[A B]")]
Number = Annotated[int, arg(aliases=("-n",))]
Out = Annotated[Path | None, arg(aliases=("-o",))]


def sample(
    run: RunFolder,
    number: Number = 64,
    seed: int = 0,
    temperature: float = 1.0,
    label: str | None = None,
    out: Out = None,
) -> None:
    """New pictures out of nothing.

    Args:
        run: the run's folder
        number: how many pictures
        seed: of the chance; picture 7 of a seed is the same however many are made
        temperature: of the noise: 1 as learned, below 1 plainer pictures, 0 one picture
        label: which kind of picture, for a run trained with --condition label
        out: .png for a grid or .npy for all pixels; else sample-*.png in the run's folder
    """
    where = _out(out, ".png", ".npy")
    model = _model(run, "sample")
    pictures = model.sample(number, seed=seed, temperature=temperature, label=label)
    name = f"sample-seed{seed}-n{number}"
    name += f"-t{temperature:g}" if temperature != 1 else ""
    name += f"-{_plain(label)}" if label is not None else ""
    where = where or run / f"{name}.png"
    if where.suffix == ".png":
        _done(where, pictures.png())
    else:
        _tried(where, pictures.save)


def reconstruct(
    run: RunFolder,
    data: Data = (),
    number: Number = 32,
    out: Out = None,
    json: bool = False,
) -> None:
    """Pictures through the model and back: each original at the left of its reconstruction.

    Args:
        run: the run's folder
        data: DATA or picture files; without it the test split of the run's own data
        number: pictures on the sheet, at even distances over all
        out: the sheet's PNG; else reconstruct-*.png in the run's folder
        json: print each picture's error as JSON
    """
    _at_least(1, number, "pictures on the sheet")
    where = _out(out, ".png")
    model = _model(run, "reconstruct")
    from pinxit.evaluation.reconstruction import mean_squared_errors, psnr
    from pinxit.sampling.inputs import spread
    from pinxit.sampling.sheets import pairs

    pictures = spread(_pictures(model, run, data), number)
    made = model.reconstruct(pictures)
    where = where or run / f"reconstruct-{_called(data)}-n{len(pictures)}.png"
    errors = psnr(mean_squared_errors(pictures, made)).tolist()
    mean = sum(errors) / len(errors)
    if json:
        each = zip(_names(pictures), errors, strict=True)
        rows = [{"name": name, "psnr": error} for name, error in each]
        _written(where, pairs(pictures, made).png())
        _print_json({"path": str(where), "psnr": mean, "pictures": rows})
        return
    print(f"{_many(len(pictures), 'picture')}, PSNR {mean:.1f} dB")
    _done(where, pairs(pictures, made).png())


def interpolate(
    run: RunFolder,
    pictures: Files = (),
    seeds: tuple[int, int] | None = None,
    steps: int = 10,
    path: Literal["spherical", "linear"] = "spherical",
    gif: bool = False,
    out: Out = None,
) -> None:
    """The way from one picture to another, or from the first sample of one seed to another's.

    Args:
        run: the run's folder
        pictures: two picture files
        seeds: two seeds, in place of picture files
        steps: pictures on the way, both ends among them
        path: spherical keeps to where samples lie, linear is straight
        gif: an animation, there and back, in place of a strip
        out: .png or .gif; else interpolate-*.png (.gif) in the run's folder
    """
    _at_least(2, steps, "steps")
    if (seeds is None) == (not pictures) or (pictures and len(pictures) != 2):
        given = f", not {len(pictures)}" if pictures else ""
        raise UsageError(f"interpolate goes between two picture files{given}, or --seeds 0 1.")
    where = _out(out, ".png", ".gif")
    gif = gif if where is None else where.suffix == ".gif"
    model = _model(run, "encode")
    from pinxit.sampling import latents, sheets

    ends = None
    if seeds is not None:
        made = latents.between_seeds(model, seeds, steps, path)
        name = f"seeds-{seeds[0]}-{seeds[1]}"
    else:
        ends = _files(model, run, pictures)
        made = latents.between_pictures(model, ends, steps, path)
        name = "-".join(_plain(file.stem) for file in pictures)
    name = f"interpolate-{name}" + (f"-{path}" if path != "spherical" else "")
    where = where or run / f"{name}{'.gif' if gif else '.png'}"
    _done(where, sheets.animation(made) if gif else sheets.strip(made, ends).png())


def traverse(
    run: RunFolder,
    latents: int = 8,
    picture: Path | None = None,
    steps: int = 11,
    out: Out = None,
    json: bool = False,
) -> None:
    """What each of the most active latents does, from -3 to 3: a row each, with its KL.

    Args:
        run: the run's folder
        latents: how many, those of highest KL on the run's test pictures first
        picture: where the other latents stand still; without it the most typical test picture
        steps: pictures a row
        out: the sheet's PNG; else traverse-*.png in the run's folder
        json: print the latents and their KL as JSON
    """
    _at_least(1, latents, "latents")
    _at_least(2, steps, "steps")
    where = _out(out, ".png")
    model = _model(run, "encode")
    from pinxit.sampling.inputs import spread
    from pinxit.sampling.latents import traverse as along
    from pinxit.sampling.sheets import rows_with_text

    start = None if picture is None else _files(model, run, (picture,))
    found = along(model, spread(_pictures(model, run, ()), 2_000), latents, start, steps)
    rows = list(zip(found.latents, found.rate, strict=True))
    texts = [f"z{number}\n{rate:.2f} nats" for number, rate in rows]
    name = f"traverse-{latents}" + (f"-{_plain(picture.stem)}" if picture else "")
    where = where or run / f"{name}.png"
    sheet = rows_with_text(found.pictures, found.steps, texts)
    if json:
        _written(where, sheet)
        shown = [{"latent": number, "kl": rate} for number, rate in rows]
        _print_json({"path": str(where), "latents": shown})
        return
    _done(where, sheet)


def embed(
    run: RunFolder,
    data: Data = (),
    out: Out = None,
    json: bool = False,
) -> None:
    """A vector for each picture, as parquet: name, vector, and label and split where known.

    Args:
        run: the run's folder
        data: DATA or picture files; without it all of the run's own data
        out: the parquet file; else embeddings-*.parquet in the run's folder
        json: print what was written as JSON
    """
    where = _out(out, ".parquet")
    model = _model(run, "embed")
    from pinxit.sampling.tables import embeddings

    pictures = _pictures(model, run, data, split="all")
    vectors = model.embed(pictures)
    where = where or run / f"embeddings-{_called(data, 'all')}.parquet"
    _written(where, embeddings(pictures, vectors))
    if json:
        _print_json({"path": str(where), "count": len(vectors), "dim": vectors.shape[1]})
        return
    print(f"{_many(len(vectors), 'vector')} of {vectors.shape[1]} numbers")
    print(where)


def score(
    run: RunFolder,
    data: Data = (),
    samples: int = 1,
    seed: int = 0,
    out: Out = None,
    json: bool = False,
) -> None:
    """Log-likelihood of each picture, most unusual first: a CSV, and a sheet of the most unusual.

    Args:
        run: the run's folder
        data: DATA or picture files; without it the test split of the run's own data
        samples: 1 for the ELBO, more for the tighter importance-weighted bound
        seed: of the chance
        out: the CSV file (the sheet stands beside it as .png); else scores-*.csv in the run's
            folder
        json: print the scores as JSON
    """
    _at_least(1, samples, "samples")
    where = _out(out, ".csv")
    model = _model(run, "score")
    from pinxit.sampling.scores import scores, table
    from pinxit.sampling.sheets import scored

    pictures = _pictures(model, run, data)
    found = scores(model, pictures, samples, seed)
    where = where or run / f"scores-{_called(data)}-k{samples}.csv"
    rows = table(model, pictures, found)
    from pinxit.sampling.tables import csv_text

    _written(where, csv_text(rows))
    sheet = _written(where.with_suffix(".png"), scored(pictures, found))
    if json:
        _print_json({"path": str(where), "sheet": str(sheet), "scores": rows})
        return
    print(f"{_many(len(found), 'picture')}: {found.mean():.1f} nats on average")
    print(f"most unusual: {sheet}")
    print(where)


# -- what they share -------------------------------------------------------------------------


def _model(run: Path, ability: str) -> Any:
    """The run's model, which can do what is asked."""
    from pinxit.models.contract import require
    from pinxit.runs import Run

    Run(run).config  # noqa: B018 (a folder that is no run says so before torch is imported)
    return require(Run(run).load(), ability)


def _pictures(model: Any, run: Path, data: tuple[str, ...], split: str = "test") -> Pictures:
    """The pictures asked for; without any the run's own, of its test split or all."""
    from pinxit.data.progress import say
    from pinxit.runs import Run
    from pinxit.sampling.inputs import for_model, given_pictures, held_out, run_pictures

    if data:
        return for_model(model, given_pictures(Run(run), data))
    pictures = run_pictures(Run(run))
    if split == "test":
        pictures, warning = held_out(pictures)
        if warning:
            say(warning)
    return for_model(model, pictures)


def _files(model: Any, run: Path, files: tuple[Path, ...]) -> Pictures:
    """Picture files, each of which must be there and readable; in their order, with repeats."""
    from pinxit.data.pictures import Pictures
    from pinxit.runs import Run
    from pinxit.sampling.inputs import given_pictures

    for file in files:
        if not file.is_file():
            raise UsageError(f"there is no picture file {file}.")
    each = [given_pictures(Run(run), [file]) for file in files]
    for file, pictures in zip(files, each, strict=True):
        if len(pictures) != 1:
            raise UsageError(f"{file} is not one picture but {len(pictures)}.")
    return Pictures.concatenate(each)


def _out(out: Path | None, *endings: str) -> Path | None:
    """What `--out` says, refused before any work where its ending is none of these."""
    if out is not None and out.suffix.lower() not in endings:
        raise UsageError(f"--out ends in {' or '.join(endings)}, not '{out.suffix}': {out}")
    return out


def _at_least(least: int, number: int, what: str) -> None:
    if number < least:
        raise UsageError(f"{what}: {least} or more, not {number}.")


def _written(path: Path, content: bytes | str) -> Path:
    from pinxit.data.files import write_atomically

    return _tried(path, lambda where: write_atomically(where, content), say=False)


def _tried(path: Path, write: Any, say: bool = True) -> Path:
    try:
        write(path)
    except OSError as error:
        raise PinxitError(f"{path} cannot be written: {error.strerror or error}.") from None
    if say:
        print(path)
    return path


def _done(path: Path, content: bytes) -> None:
    print(_written(path, content))


def _called(data: tuple[str, ...], split: str = "test") -> str:
    """What the pictures are called in a file's name."""
    if not data:
        return split
    return _plain(Path(data[0]).stem if len(data) == 1 else f"{len(data)}-files")


def _plain(text: str) -> str:
    import re

    return re.sub(r"[^\w.-]+", "-", text).strip("-.") or "pictures"


def _many(count: int, thing: str) -> str:
    return f"{count:,} {thing}" + ("" if count == 1 else "s")


def _names(pictures: Pictures) -> list[str]:
    return list(pictures.names) or [str(i) for i in range(len(pictures))]


def _print_json(record: Any) -> None:
    import json

    print(json.dumps(record, indent=2, ensure_ascii=False))
