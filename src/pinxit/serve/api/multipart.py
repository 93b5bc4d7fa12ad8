"""Multipart forms: their texts, and the images of an edit."""

from __future__ import annotations

from collections.abc import Collection

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.requests import ClientDisconnect

from pinxit.serve.errors import ApiError, truncate
from pinxit.serve.media.uploads import UploadedImage, open_upload

MAX_IMAGES = 16


async def parse_form(request: Request, files: Collection[str]) -> FormData:
    """Parse a multipart body with files of these names; none of its parts is dropped in silence.

    Raises ApiError for any other body, for a file of another name, and for two texts of one name.
    """
    media = request.headers.get("content-type", "")
    if not media.startswith("multipart/form-data"):
        raise ApiError(
            "The content type must be multipart/form-data.",
            status=415,
            code="unsupported_content_type",
        )
    try:
        form = await request.form(max_files=64, max_fields=100)
    except (ApiError, ClientDisconnect):  # the body is too large, or has not come
        raise
    except Exception:  # the parser raises many types on malformed bytes
        raise ApiError("The multipart body is malformed.", code="invalid_multipart") from None
    seen: set[str] = set()
    for name, value in form.multi_items():
        param = truncate(name)
        if isinstance(value, UploadFile) and name not in files:
            message = f"There is no file parameter '{param}'; known: {', '.join(files)}."
            raise ApiError(message, param=param, code="unknown_parameter")
        if isinstance(value, str) and name in seen:
            raise ApiError(f"'{param}' is given twice.", param=param)
        seen.add(name)
    return form


def form_texts(form: FormData) -> dict[str, str]:
    return {name: value for name, value in form.items() if isinstance(value, str)}


async def load_form_images(form: FormData) -> list[UploadedImage]:
    """Load the images under `image` or `image[]`, whatever their file names and types say."""
    files = [*form.getlist("image"), *form.getlist("image[]")]
    if len(files) > MAX_IMAGES:
        message = f"There are {len(files)} images; the maximum is {MAX_IMAGES}."
        raise ApiError(message, param="image")
    if any(isinstance(file, str) for file in files):
        raise ApiError("'image' must be a file, not text.", param="image")
    contents = [await file.read() for file in files if isinstance(file, UploadFile)]
    return [open_upload(content, "image") for content in contents]


async def load_form_mask(form: FormData) -> UploadedImage | None:
    """Load the mask under `mask` or `mask[]`. Raises ApiError for several, and for text."""
    masks = [*form.getlist("mask"), *form.getlist("mask[]")]
    if not masks:
        return None
    if len(masks) > 1:
        raise ApiError(f"There are {len(masks)} masks; an edit has one.", param="mask")
    if not isinstance(masks[0], UploadFile):
        raise ApiError("'mask' must be a file, not text.", param="mask")
    return open_upload(await masks[0].read(), "mask")
