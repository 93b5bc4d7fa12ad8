"""`pinxit embed` and `pinxit score`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinxit import console
from pinxit.cli.common import (
    Data,
    Json,
    Out,
    Quiet,
    RunFolder,
    SplitOrAll,
    check_at_least,
    check_suffix,
    data_slug,
    load_model,
    load_rows_for,
    open_file,
    pluralize,
    print_result,
    write_file,
)
from pinxit.data.seeds import check_seed
from pinxit.errors import UsageError
from pinxit.extras import require_extra
from pinxit.nn.device import Device

if TYPE_CHECKING:
    from pathlib import Path

    from pinxit.data.image_rows import ImageRows
    from pinxit.models.protocols import CanEmbed, CanScore
    from pinxit.sampling.stream_rows import StreamRows


def embed(
    run: RunFolder,
    data: Data = (),
    split: SplitOrAll | None = None,
    out: Out = None,
    device: Device = "auto",
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Compute a feature vector for each image.

    The Parquet file has the columns name, vector and, if known, label and split; an NPZ file has
    arrays of these names.

    Examples:
        pinxit embed runs/digits-vae
        pinxit embed runs/photos-mae photos/ --out photos.parquet

    Args:
        run: run folder
        data: DATA or image files (default: the run's own data)
        split: use this split only (default: all)
        out: Parquet or NPZ file (default: embeddings-*.parquet in the run folder)
        device: where to compute; auto is cuda if there is a GPU, or else cpu
        quiet: print no progress and no notes
        json: print the path and the number and size of the vectors as JSON
    """
    path = check_suffix(out, ".parquet", ".npz")
    if path is None or path.suffix.lower() == ".parquet":
        require_extra("parquet", "a Parquet file", "--out FILE.npz")
    model: CanEmbed = load_model(run, "embed", device)
    from pinxit.sampling.exports import write_embeddings_npz, write_embeddings_parquet
    from pinxit.sampling.inputs import match_labels
    from pinxit.sampling.stream_rows import StreamRows, all_rows

    rows = load_rows_for(model, run, data, split or "all", quiet)
    rows = all_rows(rows, split or "all")
    if isinstance(rows, StreamRows) and path is not None and path.suffix.lower() == ".npz":
        raise UsageError("an NPZ file holds all names at once: of a stream, --out FILE.parquet")
    embedded = ((images, model.embed(match_labels(model, images))) for images in rows.batches())
    path = path or run / f"embeddings-{data_slug(data, split, 'all')}.parquet"
    with open_file(path) as file:
        if path.suffix.lower() == ".npz":
            count, dim = write_embeddings_npz(file, len(rows), embedded)
        else:
            count, dim = write_embeddings_parquet(file, embedded)
    summary = f"{pluralize(count, 'vector')} of dimension {dim}"
    print_result(path, json, summary=summary, count=count, dim=dim)


def score(
    run: RunFolder,
    data: Data = (),
    split: SplitOrAll | None = None,
    samples: int | None = None,
    seed: int | None = None,
    out: Out = None,
    device: Device = "auto",
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Compute the log-likelihood of each image, the most unusual first.

    Writes a CSV file, and beside it a PNG sheet of the images of lowest likelihood. Streamed images
    are in the order of their shards.

    Examples:
        pinxit score runs/digits-vae
        pinxit score runs/photos-vae photos/ --samples 100 --out scores.csv

    Args:
        run: run folder
        data: DATA or image files (default: the run's own data)
        split: use this split only (default: test of the run's own data, all of DATA)
        samples: importance samples per image, where the likelihood is not exact: 1 gives the ELBO,
            more a tighter bound (default: 1)
        seed: random seed, where the likelihood has random numbers (default: 0)
        out: CSV file (default: scores-*.csv in the run folder)
        device: where to compute; auto is cuda if there is a GPU, or else cpu
        quiet: print no progress and no notes
        json: print the paths and the scores as JSON
    """
    num_samples, seed_or_0 = 1 if samples is None else samples, seed or 0
    check_at_least(1, num_samples, "--samples")
    check_seed(seed_or_0)
    path = check_suffix(out, ".csv")
    model = load_model(run, "score", device)
    from pinxit.sampling.exports import write_csv
    from pinxit.sampling.grids import score_sheet
    from pinxit.sampling.scores import check_score_options, score_images, score_rows
    from pinxit.sampling.stream_rows import all_rows

    check_score_options(model, samples, seed)
    images = load_rows_for(model, run, data, split, quiet)
    name = f"scores-{data_slug(data, split)}"
    name += "" if model.likelihood_is_exact else f"-k{num_samples}"
    name += f"-seed{seed}" if seed else ""
    path = path or run / f"{name}.csv"
    if images.images.stream is not None:
        rows = all_rows(images, split or ("all" if data else "test"))
        _score_stream(model, rows, path, num_samples, seed_or_0, json)
        return
    scores = score_images(model, images, num_samples, seed_or_0)
    with open_file(path) as file:
        write_csv(file, score_rows(model, images, scores))
    sheet = write_file(path.with_suffix(".png"), score_sheet(images, scores))
    if json:
        console.out_json(
            {
                "path": str(path),
                "sheet": str(sheet),
                "scores": list(score_rows(model, images, scores)),
            }
        )
        return
    mean = console.format_number(float(scores.mean()))
    console.out(f"{pluralize(len(scores), 'image')}: {mean} nats on average")
    console.out(f"lowest likelihood: {sheet}")
    console.out(str(path))


def _score_stream(
    model: CanScore, rows: ImageRows | StreamRows, path: Path, samples: int, seed: int, json: bool
) -> None:
    """Write the scores batch by batch, and a sheet of the lowest ones."""
    from pinxit.sampling.exports import write_csv
    from pinxit.sampling.stream_scores import StreamScores

    scores = StreamScores(model, samples, seed)
    with open_file(path) as file:
        write_csv(file, scores.rows(rows))
    sheet = write_file(path.with_suffix(".png"), scores.lowest_sheet())
    if json:
        facts = {"count": scores.count, "mean": scores.mean}
        console.out_json({"path": str(path), "sheet": str(sheet), **facts})
        return
    mean = console.format_number(scores.mean)
    console.out(f"{pluralize(scores.count, 'image')}: {mean} nats on average")
    console.out(f"lowest likelihood: {sheet}")
    console.out(str(path))
