"""Stored responses, their images, uploaded files: in SQLite, or in any database by its URL.

A response is committed before its client has it, so killing the server loses nothing that was
delivered. Servers on the same database share all of it.
"""

from __future__ import annotations

import base64
import json
import logging
import secrets
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sql
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError

from pinxit.errors import PinxitError, UsageError
from pinxit.serve import tables
from pinxit.serve.stored_items import index_items, split_images

MAX_SILENT_SECONDS = 30.0  # of a server that builds a response; then it has ended
WRITES_PER_PRUNE = 100  # at most: other servers on the store write too
log = logging.getLogger("pinxit.serve")

PROBE = "probe"  # the row that is written to see whether the store is ready
KEPT_SHARE = 0.9  # of the maximum size, once it is exceeded

# made once: a statement with its values takes longer to make than to execute
INSERT_RESPONSE, INSERT_IMAGE = sql.insert(tables.responses), sql.insert(tables.images)
INSERT_ITEM = sql.insert(tables.response_items)


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


class StoreGone(SQLAlchemyError):
    """The file of the store is gone."""


class Store:
    """A database of responses and files, bounded in age (`max_days`) and size (`max_mib`)."""

    def __init__(self, url: str, max_days: float = 30.0, max_mib: float = 1024.0) -> None:
        """Open or create the database at `url`: a URL, or the path of a SQLite file.

        Raises UsageError for an invalid URL or bound, PinxitError if the database does not answer
        or has tables of another version.
        """
        for bound, flag in ((max_days, "--store-days"), (max_mib, "--store-max-mib")):
            if not bound > 0:  # also NaN; all that is stored would be deleted
                raise UsageError(f"{flag} must be above 0 (inf: no bound), not {bound:g}.")
        self.max_days, self.max_mib = max_days, max_mib
        self._num_writes, self._num_bytes, self._count_lock = 0, 0, threading.Lock()
        try:
            self.engine = tables.connect(url)
        except (ArgumentError, ImportError, OSError) as error:
            raise UsageError(f"--store {tables.hide_password(url)}: {error}") from None
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine, "connect", tables.configure_sqlite)
        try:
            self._create_tables()
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", error)).splitlines()[0]
            raise PinxitError(
                f"cannot open the store {tables.hide_password(url)}: {reason}"
            ) from None
        if not self._has_all_columns():
            raise PinxitError(
                f"the store {tables.hide_password(url)} was written by another version of pinxit; "
                "delete it or choose another with --store."
            )
        name = self.engine.url.database
        is_file = self.engine.dialect.name == "sqlite" and name not in (None, "", ":memory:")
        self._file = Path(str(name)) if is_file else None
        if self._file is not None:
            tables.make_private(self._file)
        self._identity = tables.identify(self._file) if self._file else None
        self.prune()

    def _create_tables(self) -> None:
        try:
            with self.engine.begin() as connection:
                tables.metadata.create_all(connection)
        except SQLAlchemyError:
            # two servers that start together may both create the tables
            existing = set(sql.inspect(self.engine).get_table_names())
            if not {table.name for table in tables.ALL} <= existing:
                raise

    def _has_all_columns(self) -> bool:
        inspector = sql.inspect(self.engine)
        return all(
            {column["name"] for column in inspector.get_columns(table.name)}
            == set(table.columns.keys())
            for table in tables.ALL
        )

    def is_ready(self) -> bool:
        """Return whether a row can be written and read back, without waiting long for a lock."""
        stamp = str(time.time()).encode()
        row = tables.secrets_table.c.id == PROBE
        try:
            self._check_file()
            with self.engine.connect() as connection, tables.short_timeout(connection):
                connection.execute(sql.delete(tables.secrets_table).where(row))
                connection.execute(sql.insert(tables.secrets_table).values(id=PROBE, value=stamp))
                connection.commit()
                found = connection.execute(sql.select(tables.secrets_table.c.value).where(row))
                return found.scalar() is not None
        except IntegrityError:  # another server has just written the row
            return True
        except SQLAlchemyError:
            return False

    def _check_file(self) -> None:
        """Raises StoreGone if the SQLite file is not the one that was opened.

        SQLite writes on to a file that was deleted, and all of it is lost in the end.
        """
        if self._file is not None and tables.identify(self._file) != self._identity:
            raise StoreGone("the file of the store was deleted or replaced")

    # -- responses ------------------------------------------------------------------------------

    def save_response(
        self,
        body: dict[str, Any],
        input_items: list[dict[str, Any]],
        *,
        must_exist: bool = False,
        is_new: bool = False,
    ) -> None:
        """Store a response and its input items in one transaction.

        `must_exist`: only in the place of an earlier state, which may have been deleted. `is_new`:
        there is no earlier state.
        """
        self._check_file()
        now = time.time()
        bare_body, images = split_images(body)
        body_json, items_json = json.dumps(bare_body), json.dumps(input_items)
        with self.engine.begin() as connection:
            if not is_new and not self._delete_response(connection, body["id"]) and must_exist:
                return
            row = {"id": body["id"], "created": now, "input_items": items_json, "body": body_json}
            size = len(body_json) + len(items_json)
            connection.execute(INSERT_RESPONSE, {**row, "size": size})
            if rows := list(index_items(body, input_items, now)):
                connection.execute(INSERT_ITEM, rows)
            for image_id, content in images.items():
                row = {"id": image_id, "response": body["id"], "created": now, "content": content}
                connection.execute(INSERT_IMAGE, {**row, "size": len(content)})
        self._prune_if_full(size + sum(map(len, images.values())))

    def load_response(self, response_id: str) -> StoredResponse | None:
        """Return a response and its input items; None if it was not stored or has expired."""
        with self.engine.connect() as connection:
            row = connection.execute(
                sql.select(tables.responses.c.body, tables.responses.c.input_items).where(
                    tables.responses.c.id == response_id
                )
            ).first()
            if row is None:
                return None
            images = connection.execute(
                sql.select(tables.images.c.id, tables.images.c.content).where(
                    tables.images.c.response == response_id
                )
            ).all()
        body = json.loads(row.body)
        results = {image.id: base64.b64encode(image.content).decode() for image in images}
        for item in body.get("output", []):
            if item.get("id") in results:
                item["result"] = results[item["id"]]
        return StoredResponse(body, json.loads(row.input_items))

    def load_items_beside(self, item_id: str) -> list[dict[str, Any]]:
        """Return the items of the newest response that has an item of this id, images left out."""
        items, responses = tables.response_items, tables.responses
        query = (
            sql.select(responses.c.body, responses.c.input_items)
            .join(items, items.c.response == responses.c.id)
            .where(items.c.id == item_id)
            .order_by(items.c.created.desc())
            .limit(1)
        )
        with self.engine.connect() as connection:
            row = connection.execute(query).first()
        if row is None:
            return []
        return [*json.loads(row.input_items), *json.loads(row.body)["output"]]

    def load_image(self, image_id: str) -> bytes | None:
        """Return the file of a generated image by its output item's id, or None."""
        with self.engine.connect() as connection:
            row = connection.execute(
                sql.select(tables.images.c.content).where(tables.images.c.id == image_id)
            ).first()
        return None if row is None else bytes(row.content)

    def delete_response(self, response_id: str) -> bool:
        """Delete a response and its images. Return False if it does not exist."""
        with self.engine.begin() as connection:
            return self._delete_response(connection, response_id)

    def _delete_response(self, connection: sql.Connection, response_id: str) -> bool:
        for table in (tables.images, tables.response_items):
            connection.execute(sql.delete(table).where(table.c.response == response_id))
        deleted = connection.execute(
            sql.delete(tables.responses).where(tables.responses.c.id == response_id)
        )
        return deleted.rowcount > 0

    # -- responses that are being built ---------------------------------------------------------

    def add_active(self, response_id: str) -> None:
        """Record that a response is being built, so that any server can cancel it."""
        with self.engine.begin() as connection:
            values = {"id": response_id, "created": tables.now(connection), "cancelled": False}
            connection.execute(sql.insert(tables.active_responses).values(**values))

    def remove_active(self, response_id: str) -> None:
        with self.engine.begin() as connection:
            connection.execute(
                sql.delete(tables.active_responses).where(
                    tables.active_responses.c.id == response_id
                )
            )

    def cancel_active(self, response_id: str) -> bool:
        """Mark an active response as cancelled. Return False if it is not active."""
        with self.engine.begin() as connection:
            query = (
                sql.update(tables.active_responses)
                .where(tables.active_responses.c.id == response_id)
                .values(cancelled=True)
            )
            return connection.execute(query).rowcount > 0

    def poll_active(self, response_id: str) -> bool:
        """Give a sign of life of an active response; return whether a server has cancelled it."""
        row = tables.active_responses.c.id == response_id
        with self.engine.begin() as connection:
            connection.execute(
                sql.update(tables.active_responses)
                .where(row)
                .values(created=tables.now(connection))
            )
            return bool(
                connection.execute(
                    sql.select(tables.active_responses.c.cancelled).where(row)
                ).scalar()
            )

    def is_active(self, response_id: str, max_silent_seconds: float) -> bool:
        """Return whether a server is building this response, by its last sign of life."""
        row = tables.active_responses.c.id == response_id
        with self.engine.connect() as connection:
            age = tables.now(connection) - tables.active_responses.c.created
            seconds = connection.execute(sql.select(age).where(row)).scalar()
        return seconds is not None and seconds <= max_silent_seconds

    # -- the secret of links --------------------------------------------------------------------

    def load_secret(self) -> bytes:
        """Return the secret that the servers on this store share; the first one makes it."""
        query = sql.select(tables.secrets_table.c.value).where(tables.secrets_table.c.id == "links")
        made = {"id": "links", "value": secrets.token_bytes(32)}
        with self.engine.connect() as connection:
            found = connection.execute(query).scalar()
        if found is None:
            try:
                with self.engine.begin() as connection:
                    connection.execute(sql.insert(tables.secrets_table).values(**made))
                return made["value"]
            except IntegrityError:  # another server was first
                with self.engine.connect() as connection:
                    found = connection.execute(query).scalar_one()
        return bytes(found)

    # -- files ----------------------------------------------------------------------------------

    def save_file(self, file_id: str, name: str, purpose: str, content: bytes) -> StoredFile:
        self._check_file()
        file = StoredFile(file_id, time.time(), name, purpose, len(content), content)
        with self.engine.begin() as connection:
            connection.execute(sql.insert(tables.files).values(**vars(file)))
        self._prune_if_full(len(content))
        return file

    def load_file(self, file_id: str) -> StoredFile | None:
        with self.engine.connect() as connection:
            row = connection.execute(
                sql.select(tables.files).where(tables.files.c.id == file_id)
            ).first()
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
        columns = [column for column in tables.files.c if column.name != "content"]
        key = sql.tuple_(tables.files.c.created, tables.files.c.id)
        is_descending = order == "desc"
        by_age = (tables.files.c.created, tables.files.c.id)
        ordering = [column.desc() if is_descending else column.asc() for column in by_age]
        query = sql.select(*columns).order_by(*ordering).limit(limit)
        if purpose is not None:
            query = query.where(tables.files.c.purpose == purpose)
        with self.engine.connect() as connection:
            if after is not None:
                cursor = connection.execute(
                    sql.select(*by_age).where(tables.files.c.id == after)
                ).first()
                if cursor is None:
                    raise KeyError(after)
                position = sql.tuple_(*map(sql.literal, cursor))
                query = query.where(key < position if is_descending else key > position)
            return [StoredFile(**row._mapping) for row in connection.execute(query)]

    def delete_file(self, file_id: str) -> bool:
        """Delete a file. Return False if it does not exist."""
        with self.engine.begin() as connection:
            deleted = connection.execute(
                sql.delete(tables.files).where(tables.files.c.id == file_id)
            )
        return deleted.rowcount > 0

    # -- limits of age and size -----------------------------------------------------------------

    def _prune_if_full(self, num_bytes: int) -> None:
        """Count a write, and prune where the size is above its bound, or has long not been read."""
        with self._count_lock:
            self._num_writes += 1
            self._num_bytes += num_bytes
            is_full = self._num_bytes > self.max_mib * 2**20
            is_due = is_full or self._num_writes % WRITES_PER_PRUNE == 0
        if is_due:
            try:
                self.prune()
            except SQLAlchemyError as error:  # what was written is stored all the same
                log.error("the store was not pruned: %s", type(error).__name__)

    def prune(self) -> None:
        """Delete what is older than `max_days`; if there is more than `max_mib`, the oldest rows
        until `KEPT_SHARE` of it is left, so that not every write prunes.
        """
        oldest_allowed = time.time() - self.max_days * 86_400
        max_bytes = self.max_mib * 2**20
        with self.engine.begin() as connection:
            for table in tables.DATED:
                connection.execute(sql.delete(table).where(table.c.created < oldest_allowed))
            size = sum(tables.size_of(connection, table) for table in tables.SIZED)
            if size > max_bytes:
                size = tables.delete_oldest(connection, size, KEPT_SHARE * max_bytes)
                tables.delete_unowned_items(connection)
        with self._count_lock:
            self._num_bytes = size


def new_id(prefix: str) -> str:
    """Return `prefix_` and 128 random bits: ids cannot be guessed."""
    return f"{prefix}_{secrets.token_hex(16)}"
