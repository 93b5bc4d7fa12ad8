"""Responses, their images and sent files: in SQLite, or in any database by its URL.

What was answered is committed before, so a kill at any moment loses nothing of it.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from pinxit.errors import PinxitError, UsageError

PRUNED_EACH = 100  # rows written between looks at age and size

_tables = sql.MetaData()
_responses = sql.Table(
    "responses",
    _tables,
    sql.Column("id", sql.String(80), primary_key=True),
    sql.Column("created", sql.Float, index=True, nullable=False),
    sql.Column("given", sql.Text, nullable=False),  # the input items, as JSON
    sql.Column("body", sql.Text, nullable=False),  # the response, as JSON without its images
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
_ALL = (_responses, _images, _files)


@dataclass(frozen=True)
class Stored:
    """A file that was sent."""

    id: str
    created: float
    name: str
    purpose: str
    size: int
    content: bytes = b""


class Store:
    """Where a server keeps things. Several servers on one database serve one another's."""

    def __init__(self, url: str, days: float = 30.0, mebibytes: float = 1024.0) -> None:
        """Raises UsageError for a URL of no database, PinxitError where it does not answer."""
        self.days, self.mebibytes = days, mebibytes
        self._written, self._counting = 0, threading.Lock()
        try:
            self.engine = sql.create_engine(_with_driver(url), pool_pre_ping=True)
        except (ArgumentError, ImportError) as error:
            raise UsageError(f"--store {_bare(url)}: {error}") from None
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine, "connect", _careful)
        try:
            with self.engine.begin() as connection:
                _tables.create_all(connection)
        except SQLAlchemyError as error:
            # two servers that start together may both create the tables
            if not self._ready():
                reason = str(getattr(error, "orig", error)).splitlines()[0]
                raise PinxitError(f"the store {_bare(url)} does not answer: {reason}") from None

    def _ready(self) -> bool:
        try:
            found = sql.inspect(self.engine).get_table_names()
        except SQLAlchemyError:
            return False
        return all(table.name in found for table in _ALL)

    def answers(self) -> bool:
        """Whether the database can be reached."""
        try:
            with self.engine.connect() as connection:
                connection.execute(sql.select(1))
        except SQLAlchemyError:
            return False
        return True

    # -- responses ------------------------------------------------------------------------------

    def keep(self, body: dict[str, Any], given: list[dict[str, Any]]) -> None:
        """A response and the items it was given, whole or not at all."""
        now = time.time()
        bare, images = _without_images(body)
        text, asked = json.dumps(bare), json.dumps(given)
        with self.engine.begin() as connection:
            connection.execute(sql.delete(_images).where(_images.c.response == body["id"]))
            connection.execute(sql.delete(_responses).where(_responses.c.id == body["id"]))
            connection.execute(
                sql.insert(_responses).values(
                    id=body["id"], created=now, given=asked, body=text, size=len(text) + len(asked)
                )
            )
            for name, content in images.items():
                connection.execute(
                    sql.insert(_images).values(
                        id=name,
                        response=body["id"],
                        created=now,
                        content=content,
                        size=len(content),
                    )
                )
        self._prune()

    def response(self, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
        """A response and the items it was given; None where it is not there (any more)."""
        with self.engine.connect() as connection:
            row = connection.execute(
                sql.select(_responses.c.body, _responses.c.given).where(_responses.c.id == name)
            ).first()
            if row is None:
                return None
            images = connection.execute(
                sql.select(_images.c.id, _images.c.content).where(_images.c.response == name)
            ).all()
        body, given = json.loads(row.body), json.loads(row.given)
        results = {one.id: base64.b64encode(one.content).decode() for one in images}
        for item in body.get("output", []):
            if item.get("id") in results:
                item["result"] = results[item["id"]]
        return body, given

    def image(self, name: str) -> bytes | None:
        """The bytes of an image that a response made, by its id."""
        with self.engine.connect() as connection:
            row = connection.execute(
                sql.select(_images.c.content).where(_images.c.id == name)
            ).first()
        return None if row is None else bytes(row.content)

    def forget(self, name: str) -> bool:
        """Delete a response and its images; False where there is none."""
        with self.engine.begin() as connection:
            connection.execute(sql.delete(_images).where(_images.c.response == name))
            gone = connection.execute(sql.delete(_responses).where(_responses.c.id == name))
        return gone.rowcount > 0

    # -- files ----------------------------------------------------------------------------------

    def keep_file(self, name: str, file_name: str, purpose: str, content: bytes) -> Stored:
        stored = Stored(name, time.time(), file_name, purpose, len(content), content)
        with self.engine.begin() as connection:
            connection.execute(sql.insert(_files).values(**vars(stored)))
        self._prune()
        return stored

    def file(self, name: str) -> Stored | None:
        with self.engine.connect() as connection:
            row = connection.execute(sql.select(_files).where(_files.c.id == name)).first()
        return None if row is None else Stored(**{**row._mapping, "content": bytes(row.content)})

    def files(self, most: int) -> list[Stored]:
        """The newest files, without their content."""
        columns = [column for column in _files.c if column.name != "content"]
        query = sql.select(*columns).order_by(_files.c.created.desc(), _files.c.id).limit(most)
        with self.engine.connect() as connection:
            return [Stored(**row._mapping) for row in connection.execute(query)]

    def forget_file(self, name: str) -> bool:
        with self.engine.begin() as connection:
            gone = connection.execute(sql.delete(_files).where(_files.c.id == name))
        return gone.rowcount > 0

    # -- age and size ---------------------------------------------------------------------------

    def _prune(self) -> None:
        with self._counting:
            self._written += 1
            due = self._written % PRUNED_EACH == 0
        if due:
            self.prune()

    def prune(self) -> None:
        """Delete what is too old, then the oldest while there is too much."""
        with self.engine.begin() as connection:
            for table in _ALL:
                old = time.time() - self.days * 86_400
                connection.execute(sql.delete(table).where(table.c.created < old))
            over = sum(_size(connection, table) for table in _ALL) - self.mebibytes * 2**20
            while over > 0:
                first = [_oldest(connection, table) for table in _ALL]
                dated = [(when, i) for i, when in enumerate(first) if when is not None]
                if not dated:
                    return
                when, i = min(dated)
                before = _size(connection, _ALL[i])
                upto = _after(connection, _ALL[i], when)
                connection.execute(sql.delete(_ALL[i]).where(_ALL[i].c.created <= upto))
                over -= before - _size(connection, _ALL[i])


def _size(connection: sql.Connection, table: sql.Table) -> int:
    return int(connection.execute(sql.select(sql.func.sum(table.c.size))).scalar() or 0)


def _oldest(connection: sql.Connection, table: sql.Table) -> float | None:
    return connection.execute(sql.select(sql.func.min(table.c.created))).scalar()


def _after(connection: sql.Connection, table: sql.Table, when: float, rows: int = 20) -> float:
    query = sql.select(table.c.created).order_by(table.c.created).limit(rows)
    return max(when, *(row.created for row in connection.execute(query)))


def _without_images(body: dict[str, Any]) -> tuple[dict[str, Any], dict[str, bytes]]:
    images: dict[str, bytes] = {}
    output = []
    for item in body["output"]:
        if item.get("type") == "image_generation_call" and item.get("result"):
            images[item["id"]] = base64.b64decode(item["result"])
            item = {**item, "result": None}
        output.append(item)
    return {**body, "output": output}, images


def _with_driver(url: str) -> str:
    """A bare path is a SQLite file; `postgresql://` goes by psycopg 3."""
    if "://" not in url:
        Path(url).parent.mkdir(parents=True, exist_ok=True)
        return f"sqlite:///{url}"
    for scheme in ("postgresql://", "postgres://"):
        if url.startswith(scheme):
            return "postgresql+psycopg://" + url.removeprefix(scheme)
    return url


def _bare(url: str) -> str:
    """Without a password."""
    head, at, tail = url.rpartition("@")
    return f"{head.split('://')[0]}://...@{tail}" if at else url


def _careful(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    # a writer does not stop readers; after a kill of the process nothing committed is lost
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA busy_timeout=10000")
    cursor.close()


def new_id(kind: str) -> str:
    """`resp_...`, `ig_...`: not to be guessed."""
    return f"{kind}_{secrets.token_hex(16)}"
