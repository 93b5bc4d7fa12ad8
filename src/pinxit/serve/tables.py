"""The tables of the store, and how a connection to its database is made."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection as SqliteConnection

import sqlalchemy as sql
from sqlalchemy.exc import ArgumentError

BUSY_MILLISECONDS, PROBE_MILLISECONDS = 10_000, 500  # to wait for a lock
CONNECT_SECONDS = 5
ROWS_PER_DELETE = 50

metadata = sql.MetaData()
responses = sql.Table(
    "responses",
    metadata,
    sql.Column("id", sql.String(80), primary_key=True),
    sql.Column("created", sql.Float, index=True, nullable=False),
    sql.Column("input_items", sql.Text, nullable=False),  # JSON
    sql.Column("body", sql.Text, nullable=False),  # the response as JSON, without its images
    sql.Column("size", sql.Integer, nullable=False),
)
images = sql.Table(
    "images",
    metadata,
    sql.Column("id", sql.String(80), primary_key=True),
    sql.Column("response", sql.String(80), index=True, nullable=False),
    sql.Column("created", sql.Float, index=True, nullable=False),
    sql.Column("content", sql.LargeBinary, nullable=False),
    sql.Column("size", sql.Integer, nullable=False),
)
# the items of responses, their input and output, which later requests may refer to by id
response_items = sql.Table(
    "response_items",
    metadata,
    sql.Column("id", sql.String(80), primary_key=True),
    sql.Column("response", sql.String(80), primary_key=True, index=True),
    sql.Column("created", sql.Float, index=True, nullable=False),
)
files = sql.Table(
    "files",
    metadata,
    sql.Column("id", sql.String(80), primary_key=True),
    sql.Column("created", sql.Float, index=True, nullable=False),
    sql.Column("name", sql.Text, nullable=False),
    sql.Column("purpose", sql.String(80), nullable=False),
    sql.Column("content", sql.LargeBinary, nullable=False),
    sql.Column("size", sql.Integer, nullable=False),
)
# responses that a server is building, `created` its last sign of life; any may set `cancelled`
active_responses = sql.Table(
    "active_responses",
    metadata,
    sql.Column("id", sql.String(80), primary_key=True),
    sql.Column("created", sql.Float, index=True, nullable=False),
    sql.Column("cancelled", sql.Boolean, nullable=False),
)
secrets_table = sql.Table(
    "secrets",
    metadata,
    sql.Column("id", sql.String(80), primary_key=True),
    sql.Column("value", sql.LargeBinary, nullable=False),
)
SIZED = (responses, images, files)
DATED = (*SIZED, active_responses, response_items)
ALL = (*DATED, secrets_table)


def connect(url: str) -> sql.Engine:
    """Return the engine of a database: a path is a SQLite file, `postgresql://` uses psycopg 3.

    Raises OSError where a file cannot be made, and what SQLAlchemy raises for a URL.
    """
    options: dict[str, object] = {}
    if "://" not in url:
        target = sql.URL.create("sqlite", database=url)  # a path may have any characters
        _check_file_database(target)
        make_private(Path(url))
        return sql.create_engine(target)
    for scheme in ("postgresql://", "postgres://"):
        if url.startswith(scheme):
            url = "postgresql+psycopg://" + url.removeprefix(scheme)
            options = {"connect_args": {"connect_timeout": CONNECT_SECONDS}}
    is_file = url.startswith("sqlite")  # which does not hang up
    if is_file:
        _check_file_database(sql.make_url(url))
    return sql.create_engine(url, pool_pre_ping=not is_file, **options)


def _check_file_database(url: sql.URL) -> None:
    """Raises ArgumentError for SQLite in memory: each connection would have a store of its own."""
    name = url.database or ""
    if name in ("", ":memory:") or url.query.get("mode") == "memory" or "uri" in url.query:
        raise ArgumentError("a store is a file: give its path, or sqlite:///PATH")


def make_private(path: Path) -> None:
    """Create a SQLite file that only its owner reads; SQLite gives the files beside it its mode."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    for file in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
        if file.is_file() and (not hasattr(os, "getuid") or file.stat().st_uid == os.getuid()):
            file.chmod(0o600)


def hide_password(url: str) -> str:
    head, at, tail = url.rpartition("@")
    return f"{head.split('://')[0]}://...@{tail}" if at else url


def configure_sqlite(connection: SqliteConnection, _record: object) -> None:
    cursor = connection.cursor()
    # writers do not block readers; killing the process loses nothing that was committed
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute(f"PRAGMA busy_timeout={BUSY_MILLISECONDS}")
    cursor.close()


def identify(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another of the same name; None if there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


@contextmanager
def short_timeout(connection: sql.Connection) -> Iterator[None]:
    """Let a database wait only shortly for a lock of another process."""
    if connection.dialect.name != "sqlite":
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {PROBE_MILLISECONDS}")
        yield
        return
    connection.exec_driver_sql(f"PRAGMA busy_timeout={PROBE_MILLISECONDS}")
    try:
        yield
    finally:
        connection.rollback()
        connection.exec_driver_sql(f"PRAGMA busy_timeout={BUSY_MILLISECONDS}")


def now(connection: sql.Connection) -> sql.ColumnElement[float]:
    """Return the time of a database that servers of several machines share, else of this one.

    Clocks of machines differ by more than the time after which a silent server counts as dead.
    """
    if connection.dialect.name == "postgresql":
        return sql.cast(sql.extract("epoch", sql.func.clock_timestamp()), sql.Float)
    return sql.literal(time.time(), sql.Float)


def size_of(connection: sql.Connection, table: sql.Table) -> int:
    return int(connection.execute(sql.select(sql.func.sum(table.c.size))).scalar() or 0)


def delete_oldest(connection: sql.Connection, size: int, max_bytes: float) -> int:
    """Delete the oldest rows of all tables until at most `max_bytes` are left; return the size."""
    while size > max_bytes:
        oldest = []
        for index, table in enumerate(SIZED):
            columns = (table.c.created, sql.literal(index), table.c.id, table.c.size)
            query = sql.select(*columns).order_by(table.c.created).limit(ROWS_PER_DELETE)
            oldest += [tuple(row) for row in connection.execute(query)]
        if not oldest:
            break
        for _, index, row_id, row_size in sorted(oldest)[:ROWS_PER_DELETE]:
            if size <= max_bytes:
                break
            table = SIZED[index]
            connection.execute(sql.delete(table).where(table.c.id == row_id))
            size -= row_size
    return size


def delete_unowned_items(connection: sql.Connection) -> None:
    """Delete the ids of items whose response was deleted for its size."""
    is_owned = response_items.c.response.in_(sql.select(responses.c.id))
    connection.execute(sql.delete(response_items).where(~is_owned))
