"""Stored responses, their images, uploaded files: in SQLite, or in any database by its URL.

A response is committed before its client has it, so killing the server loses nothing that was
delivered. Servers on the same database share all of it.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from typing import Any, NamedTuple

import sqlalchemy as sql
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from pinxit.errors import PinxitError, UsageError

WRITES_PER_PRUNE = 100

_tables = sql.MetaData()
_responses = sql.Table(
    "responses",
    _tables,
    sql.Column("id", sql.String(80), primary_key=True),
    sql.Column("created", sql.Float, index=True, nullable=False),
    sql.Column("input_items", sql.Text, nullable=False),  # JSON
    sql.Column("body", sql.Text, nullable=False),  # the response as JSON, without its images
    sql.Column("size", sql.Integer, nullable=False),
)
_images = sql.Table(
    "images",
    _tables,
    sql.Column("id", sql.String(80), primary_key=True),
    sql.Column("response", sql.String(80), index=True, nullable=False),
    sql.Column("created", sql.Float, index=True, nullable=False),
    sql.Column("content", sql.LargeBinary, nullable=False),
    sql.Column("size", sql.Integer, nullable=False),
)
_files = sql.Table(
    "files",
    _tables,
    sql.Column("id", sql.String(80), primary_key=True),
    sql.Column("created", sql.Float, index=True, nullable=False),
    sql.Column("name", sql.Text, nullable=False),
    sql.Column("purpose", sql.String(80), nullable=False),
    sql.Column("content", sql.LargeBinary, nullable=False),
    sql.Column("size", sql.Integer, nullable=False),
)
# responses that a server is streaming; any server may set `cancelled`
_active = sql.Table(
    "active_responses",
    _tables,
    sql.Column("id", sql.String(80), primary_key=True),
    sql.Column("created", sql.Float, index=True, nullable=False),
    sql.Column("cancelled", sql.Boolean, nullable=False),
)
_SIZED = (_responses, _images, _files)
_ALL = (*_SIZED, _active)


@dataclass(frozen=True)
class StoredFile:
    """An uploaded file."""

    id: str
    created: float
    name: str
    purpose: str
    size: int  # bytes
    content: bytes = b""


class StoredResponse(NamedTuple):
    """A response and its input items, both as the API returns them."""

    body: dict[str, Any]
    input_items: list[dict[str, Any]]


class Store:
    """A database of responses and files, bounded in age (`max_days`) and size (`max_mib`)."""

    def __init__(self, url: str, max_days: float = 30.0, max_mib: float = 1024.0) -> None:
        """Open or create the database at `url`: a URL, or the path of a SQLite file.

        Raises UsageError for an invalid URL, PinxitError if the database does not answer or has
        tables of another version.
        """
        self.max_days, self.max_mib = max_days, max_mib
        self._num_writes, self._count_lock = 0, threading.Lock()
        try:
            self.engine = sql.create_engine(_add_driver(url), pool_pre_ping=True)
        except (ArgumentError, ImportError) as error:
            raise UsageError(f"--store {_hide_password(url)}: {error}") from None
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine, "connect", _configure_sqlite)
        try:
            self._create_tables()
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", error)).splitlines()[0]
            raise PinxitError(f"cannot open the store {_hide_password(url)}: {reason}") from None
        if not self._has_all_columns():
            raise PinxitError(
                f"the store {_hide_password(url)} was written by another version of pinxit; "
                "delete it or choose another with --store."
            )

    def _create_tables(self) -> None:
        try:
            with self.engine.begin() as connection:
                _tables.create_all(connection)
        except SQLAlchemyError:
            # two servers that start together may both create the tables
            existing = set(sql.inspect(self.engine).get_table_names())
            if not {table.name for table in _ALL} <= existing:
                raise

    def _has_all_columns(self) -> bool:
        inspector = sql.inspect(self.engine)
        return all(
            {column["name"] for column in inspector.get_columns(table.name)}
            == set(table.columns.keys())
            for table in _ALL
        )

    def is_reachable(self) -> bool:
        try:
            with self.engine.connect() as connection:
                connection.execute(sql.select(1))
        except SQLAlchemyError:
            return False
        return True

    # -- responses ------------------------------------------------------------------------------

    def save_response(self, body: dict[str, Any], input_items: list[dict[str, Any]]) -> None:
        """Store a response and its input items in one transaction."""
        now = time.time()
        bare_body, images = _split_images(body)
        body_json, items_json = json.dumps(bare_body), json.dumps(input_items)
        with self.engine.begin() as connection:
            connection.execute(sql.delete(_images).where(_images.c.response == body["id"]))
            connection.execute(sql.delete(_responses).where(_responses.c.id == body["id"]))
            connection.execute(
                sql.insert(_responses).values(
                    id=body["id"],
                    created=now,
                    input_items=items_json,
                    body=body_json,
                    size=len(body_json) + len(items_json),
                )
            )
            for image_id, content in images.items():
                connection.execute(
                    sql.insert(_images).values(
                        id=image_id,
                        response=body["id"],
                        created=now,
                        content=content,
                        size=len(content),
                    )
                )
        self._prune_sometimes()

    def load_response(self, response_id: str) -> StoredResponse | None:
        """Return a response and its input items; None if it was not stored or has expired."""
        with self.engine.connect() as connection:
            row = connection.execute(
                sql.select(_responses.c.body, _responses.c.input_items).where(
                    _responses.c.id == response_id
                )
            ).first()
            if row is None:
                return None
            images = connection.execute(
                sql.select(_images.c.id, _images.c.content).where(_images.c.response == response_id)
            ).all()
        body = json.loads(row.body)
        results = {image.id: base64.b64encode(image.content).decode() for image in images}
        for item in body.get("output", []):
            if item.get("id") in results:
                item["result"] = results[item["id"]]
        return StoredResponse(body, json.loads(row.input_items))

    def load_image(self, image_id: str) -> bytes | None:
        """Return the file of a generated image by its output item's id, or None."""
        with self.engine.connect() as connection:
            row = connection.execute(
                sql.select(_images.c.content).where(_images.c.id == image_id)
            ).first()
        return None if row is None else bytes(row.content)

    def delete_response(self, response_id: str) -> bool:
        """Delete a response and its images. Return False if it does not exist."""
        with self.engine.begin() as connection:
            connection.execute(sql.delete(_images).where(_images.c.response == response_id))
            deleted = connection.execute(
                sql.delete(_responses).where(_responses.c.id == response_id)
            )
        return deleted.rowcount > 0

    # -- responses that are being streamed ------------------------------------------------------

    def add_active(self, response_id: str) -> None:
        """Record that a response is being streamed, so that any server can cancel it."""
        values = {"id": response_id, "created": time.time(), "cancelled": False}
        with self.engine.begin() as connection:
            connection.execute(sql.insert(_active).values(**values))

    def remove_active(self, response_id: str) -> None:
        with self.engine.begin() as connection:
            connection.execute(sql.delete(_active).where(_active.c.id == response_id))

    def cancel_active(self, response_id: str) -> bool:
        """Mark an active response as cancelled. Return False if it is not active."""
        with self.engine.begin() as connection:
            query = sql.update(_active).where(_active.c.id == response_id).values(cancelled=True)
            return connection.execute(query).rowcount > 0

    def is_cancelled(self, response_id: str) -> bool:
        """Return whether any server has cancelled this response."""
        query = sql.select(_active.c.cancelled).where(_active.c.id == response_id)
        with self.engine.connect() as connection:
            return bool(connection.execute(query).scalar())

    # -- files ----------------------------------------------------------------------------------

    def save_file(self, file_id: str, name: str, purpose: str, content: bytes) -> StoredFile:
        file = StoredFile(file_id, time.time(), name, purpose, len(content), content)
        with self.engine.begin() as connection:
            connection.execute(sql.insert(_files).values(**vars(file)))
        self._prune_sometimes()
        return file

    def load_file(self, file_id: str) -> StoredFile | None:
        with self.engine.connect() as connection:
            row = connection.execute(sql.select(_files).where(_files.c.id == file_id)).first()
        if row is None:
            return None
        return StoredFile(**{**row._mapping, "content": bytes(row.content)})

    def list_files(
        self, limit: int, after: str | None = None, order: str = "desc", purpose: str | None = None
    ) -> list[StoredFile]:
        """Return the files that follow the file `after`, without their content.

        `order`: desc for the newest first, asc for the oldest. Raises KeyError for an unknown
        `after`.
        """
        columns = [column for column in _files.c if column.name != "content"]
        key = sql.tuple_(_files.c.created, _files.c.id)
        is_descending = order == "desc"
        by_age = (_files.c.created, _files.c.id)
        ordering = [column.desc() if is_descending else column.asc() for column in by_age]
        query = sql.select(*columns).order_by(*ordering).limit(limit)
        if purpose is not None:
            query = query.where(_files.c.purpose == purpose)
        with self.engine.connect() as connection:
            if after is not None:
                cursor = connection.execute(sql.select(*by_age).where(_files.c.id == after)).first()
                if cursor is None:
                    raise KeyError(after)
                position = sql.tuple_(*map(sql.literal, cursor))
                query = query.where(key < position if is_descending else key > position)
            return [StoredFile(**row._mapping) for row in connection.execute(query)]

    def delete_file(self, file_id: str) -> bool:
        """Delete a file. Return False if it does not exist."""
        with self.engine.begin() as connection:
            deleted = connection.execute(sql.delete(_files).where(_files.c.id == file_id))
        return deleted.rowcount > 0

    # -- limits of age and size -----------------------------------------------------------------

    def _prune_sometimes(self) -> None:
        with self._count_lock:
            self._num_writes += 1
            is_due = self._num_writes % WRITES_PER_PRUNE == 0
        if is_due:
            self.prune()

    def prune(self) -> None:
        """Delete what is older than `max_days`, then the oldest rows above `max_mib`."""
        oldest_allowed = time.time() - self.max_days * 86_400
        with self.engine.begin() as connection:
            for table in _ALL:
                connection.execute(sql.delete(table).where(table.c.created < oldest_allowed))
            excess = sum(_size(connection, table) for table in _SIZED) - self.max_mib * 2**20
            while excess > 0:
                oldest = [_oldest(connection, table) for table in _SIZED]
                dated = [(when, i) for i, when in enumerate(oldest) if when is not None]
                if not dated:
                    return
                when, i = min(dated)
                table = _SIZED[i]
                before = _size(connection, table)
                until = _nth_oldest(connection, table, when)
                connection.execute(sql.delete(table).where(table.c.created <= until))
                excess -= before - _size(connection, table)


def _size(connection: sql.Connection, table: sql.Table) -> int:
    return int(connection.execute(sql.select(sql.func.sum(table.c.size))).scalar() or 0)


def _oldest(connection: sql.Connection, table: sql.Table) -> float | None:
    return connection.execute(sql.select(sql.func.min(table.c.created))).scalar()


def _nth_oldest(connection: sql.Connection, table: sql.Table, oldest: float, n: int = 20) -> float:
    query = sql.select(table.c.created).order_by(table.c.created).limit(n)
    return max(oldest, *(row.created for row in connection.execute(query)))


def _split_images(body: dict[str, Any]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the body without its images, and the images by item id."""
    images: dict[str, bytes] = {}
    output = []
    for item in body["output"]:
        if item.get("type") == "image_generation_call" and item.get("result"):
            images[item["id"]] = base64.b64decode(item["result"])
            item = {**item, "result": None}
        output.append(item)
    return {**body, "output": output}, images


def _add_driver(url: str) -> str:
    """Return SQLAlchemy's URL: a path is a SQLite file, `postgresql://` uses psycopg 3."""
    if "://" not in url:
        _make_private(Path(url))
        return f"sqlite:///{url}"
    for scheme in ("postgresql://", "postgres://"):
        if url.startswith(scheme):
            return "postgresql+psycopg://" + url.removeprefix(scheme)
    return url


def _make_private(path: Path) -> None:
    """Create a SQLite file that only its owner reads; SQLite gives the files beside it its mode."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(0o600)
    if path.stat().st_uid == os.getuid():
        path.chmod(0o600)


def _hide_password(url: str) -> str:
    head, at, tail = url.rpartition("@")
    return f"{head.split('://')[0]}://...@{tail}" if at else url


def _configure_sqlite(connection: SqliteConnection, _record: object) -> None:
    cursor = connection.cursor()
    # writers do not block readers; killing the process loses nothing that was committed
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA busy_timeout=10000")
    cursor.close()


def new_id(prefix: str) -> str:
    """Return `prefix_` and 128 random bits: ids cannot be guessed."""
    return f"{prefix}_{secrets.token_hex(16)}"
