"""/v1/files: uploaded images."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import FormData, UploadFile

from pinxit.serve.api.multipart import parse_form
from pinxit.serve.api.pages import FileLimit, Order, list_page, unknown_cursor
from pinxit.serve.api.sse import run_while_connected
from pinxit.serve.errors import ApiError, truncate
from pinxit.serve.links import FileLinks
from pinxit.serve.media.outputs import media_type
from pinxit.serve.media.uploads import open_upload
from pinxit.serve.pools import work_on_images
from pinxit.serve.store import Store, StoredFile, new_id


@dataclass(frozen=True)
class FileRoutes:
    """The routes of files."""

    store: Store
    links: FileLinks

    async def create(self, request: Request) -> Response:
        form = await parse_form(request, ("file",))
        _check_fields(form)
        upload, purpose = form.get("file"), form.get("purpose")
        if not isinstance(upload, UploadFile):
            raise ApiError("Missing required parameter: 'file'.", param="file")
        if not isinstance(purpose, str) or not re.fullmatch(r"[\w.-]{1,64}", purpose):
            message = "'purpose' must be one word of at most 64 characters, such as vision."
            raise ApiError(message, param="purpose")
        content = await upload.read()
        await run_while_connected(request, work_on_images(open_upload(content, "file").check))
        file_id, name = new_id("file"), _clean_name(upload.filename)
        file = await asyncio.to_thread(self.store.save_file, file_id, name, purpose, content)
        return JSONResponse(_to_record(file))

    async def list(
        self,
        limit: FileLimit = 10_000,
        after: str | None = None,
        order: Order = "desc",
        purpose: str | None = None,
    ) -> Response:
        def load() -> list[StoredFile]:
            return self.store.list_files(limit + 1, after, order, purpose)

        try:
            files = await asyncio.to_thread(load)
        except KeyError:
            raise unknown_cursor(after or "") from None
        page = [_to_record(file) for file in files[:limit]]
        return JSONResponse(list_page(page, has_more=len(files) > limit))

    async def retrieve(self, file_id: str) -> Response:
        return JSONResponse(_to_record(await self._load(file_id)))

    async def content(self, file_id: str) -> Response:
        file = await self._load(file_id)
        return Response(file.content, media_type=media_type(file.content))

    async def content_of_link(self, file_id: str, expires: int, signature: str) -> Response:
        """Return the file of a link that `FileLinks` has signed."""
        self.links.check(file_id, expires, signature)
        return await self.content(file_id)

    async def delete(self, file_id: str) -> Response:
        if not await asyncio.to_thread(self.store.delete_file, file_id):
            raise _not_found(file_id)
        return JSONResponse({"id": file_id, "object": "file", "deleted": True})

    async def _load(self, file_id: str) -> StoredFile:
        file = await asyncio.to_thread(self.store.load_file, file_id)
        if file is None:
            raise _not_found(file_id)
        return file


def _check_fields(form: FormData) -> None:
    """Raises ApiError for a field that this server does not obey."""
    for name, value in form.multi_items():
        if name not in ("file", "purpose") and value:
            known = name.startswith("expires_after")
            param = truncate(name)
            message = f"'{param}' is not supported." if known else f"Unknown parameter: '{param}'."
            code = "unsupported_parameter" if known else "unknown_parameter"
            raise ApiError(message, param=param, code=code)


def _clean_name(name: str | None) -> str:
    return re.sub(r"[^\w. -]+", "_", (name or "image").replace("\\", "/"))[-100:]


def _not_found(file_id: str) -> ApiError:
    message = f"The file '{truncate(file_id)}' does not exist."
    return ApiError(message, status=404, param="file_id")


def _to_record(file: StoredFile) -> dict[str, Any]:
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size,
        "created_at": int(file.created),
        "filename": file.name,
        "purpose": file.purpose,
        "status": "processed",
    }
