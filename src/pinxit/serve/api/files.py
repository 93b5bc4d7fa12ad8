"""/v1/files: uploaded images."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import UploadFile

from pinxit.serve.api.images import _form, media_of
from pinxit.serve.errors import Refusal, short
from pinxit.serve.media.uploads import received
from pinxit.serve.schemas import whole_list
from pinxit.serve.store import Store, Stored, new_id


@dataclass(frozen=True)
class Files:
    """/v1/files, for images."""

    store: Store

    async def create(self, request: Request) -> Response:
        form = await _form(request)
        file, purpose = form.get("file"), form.get("purpose")
        if not isinstance(file, UploadFile):
            raise Refusal("there is no file.", param="file")
        if not isinstance(purpose, str) or not re.fullmatch(r"[\w.-]{1,64}", purpose):
            raise Refusal("'purpose' is a word, as vision.", param="purpose")
        content = await file.read()
        await asyncio.to_thread(received, content, "file")
        name = re.sub(r"[^\w. -]+", "_", (file.filename or "image").replace("\\", "/"))[-100:]
        kept = await asyncio.to_thread(self.store.keep_file, new_id("file"), name, purpose, content)
        return JSONResponse(_file(kept))

    async def all(self, limit: int = 100) -> Response:
        found = await asyncio.to_thread(self.store.files, max(1, min(limit, 1000)))
        data = [_file(one) for one in found]
        return JSONResponse(whole_list(data))

    async def one(self, file_id: str) -> Response:
        return JSONResponse(_file(await self._found(file_id)))

    async def content(self, file_id: str) -> Response:
        found = await self._found(file_id)
        return Response(found.content, media_type=media_of(found.content))

    async def delete(self, file_id: str) -> Response:
        if not await asyncio.to_thread(self.store.forget_file, file_id):
            raise _no_file(file_id)
        return JSONResponse({"id": file_id, "object": "file", "deleted": True})

    async def _found(self, name: str) -> Stored:
        found = await asyncio.to_thread(self.store.file, name)
        if found is None:
            raise _no_file(name)
        return found


def _no_file(name: str) -> Refusal:
    return Refusal(f"there is no file '{short(name)}' here.", status=404, param="file_id")


def _file(stored: Stored) -> dict[str, Any]:
    return {
        "id": stored.id,
        "object": "file",
        "bytes": stored.size,
        "created_at": int(stored.created),
        "filename": stored.name,
        "purpose": stored.purpose,
        "status": "processed",
    }
