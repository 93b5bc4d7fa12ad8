"""`pinxit embed` and `pinxit score`."""

from __future__ import annotations

from pinxit.cli.common import (
    Data,
    Out,
    RunFolder,
    check_at_least,
    check_suffix,
    data_slug,
    load_images_for,
    load_model,
    pluralize,
    print_json,
    write_file,
)


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
    where = check_suffix(out, ".parquet")
    model = load_model(run, "embed")
    from pinxit.sampling.exports import embeddings_to_parquet

    images = load_images_for(model, run, data, split="all")
    vectors = model.embed(images)
    where = where or run / f"embeddings-{data_slug(data, 'all')}.parquet"
    write_file(where, embeddings_to_parquet(images, vectors))
    if json:
        print_json({"path": str(where), "count": len(vectors), "dim": vectors.shape[1]})
        return
    print(f"{pluralize(len(vectors), 'vector')} of {vectors.shape[1]} numbers")
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
    check_at_least(1, samples, "samples")
    where = check_suffix(out, ".csv")
    model = load_model(run, "score")
    from pinxit.sampling.grids import score_sheet
    from pinxit.sampling.scores import score_images, score_rows

    images = load_images_for(model, run, data)
    found = score_images(model, images, samples, seed)
    where = where or run / f"scores-{data_slug(data)}-k{samples}.csv"
    rows = score_rows(model, images, found)
    from pinxit.sampling.exports import rows_to_csv

    write_file(where, rows_to_csv(rows))
    sheet = write_file(where.with_suffix(".png"), score_sheet(images, found))
    if json:
        print_json({"path": str(where), "sheet": str(sheet), "scores": rows})
        return
    print(f"{pluralize(len(found), 'image')}: {found.mean():.1f} nats on average")
    print(f"most unusual: {sheet}")
    print(where)
