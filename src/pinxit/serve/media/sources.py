"""Load the images that a request refers to: data URLs, uploaded files, URLs of allowed hosts."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any

from pinxit.serve.errors import ApiError, truncate
from pinxit.serve.media.fetch import MAX_FETCH_SECONDS, fetch_image
from pinxit.serve.media.uploads import UploadedImage, decode_base64, decode_data_url, open_upload
from pinxit.serve.schemas import ImageRef
from pinxit.serve.store import Store
from pinxit.serve.stored_items import is_item

MAX_REQUEST_IMAGES = 256
MAX_REQUEST_BYTES = 64 * 2**20  # of all image files of a request


@dataclass(frozen=True)
class ImageSources:
    """Where requests may load images from."""

    allowed_hosts: tuple[str, ...] = ()  # of remote images; "*": any public host


class RequestImages:
    """Loads the images of one request: each once, and not more than the bounds of a request.

    Images are checked by their headers; they are decoded where they are needed.
    """

    def __init__(self, sources: ImageSources, store: Store | None = None) -> None:
        self.sources, self.store = sources, store
        self._loaded: dict[tuple[str, str], UploadedImage] = {}
        self._items: dict[str, dict[str, Any]] = {}
        self._num_images, self._num_bytes = 0, 0
        self._deadline = time.monotonic() + MAX_FETCH_SECONDS

    def load(self, ref: ImageRef, param: str) -> UploadedImage:
        """Load an image by its URL or file id. Raises ApiError if there is no image, or two."""
        if ref.image_url is not None and ref.file_id is not None:
            message = "An image has either 'image_url' or 'file_id', not both."
            raise ApiError(message, param=f"{param}.file_id")
        if ref.image_url is not None:
            return self.load_url(ref.image_url, f"{param}.image_url")
        if ref.file_id is None:
            raise ApiError("An image needs 'image_url' or 'file_id'.", param=param)
        return self._load_file(ref.file_id, f"{param}.file_id")

    def load_url(self, url: str, param: str) -> UploadedImage:
        key = "url", url
        if key not in self._loaded:
            if re.match(r"https?:", url, re.IGNORECASE):
                hosts = self.sources.allowed_hosts
                content = fetch_image(url, hosts, param, self._deadline)
            else:
                content = decode_data_url(url, param)
            self._loaded[key] = self.open(content, param)
        return self._loaded[key]

    def load_base64(self, text: str, param: str) -> UploadedImage:
        return self.open(decode_base64(text, param), param)

    def load_generated(self, item_id: str, param: str) -> UploadedImage | None:
        """Load a generated image by the id of its output item; None if it does not exist."""
        content = None if self.store is None else self.store.load_image(item_id)
        return None if content is None else self.open(content, param)

    def load_item(self, item_id: str) -> dict[str, Any] | None:
        """Return an item of a stored response by its id; None if it does not exist."""
        if item_id not in self._items and self.store is not None:
            for item in self.store.load_items_beside(item_id):
                if is_item(item):
                    self._items.setdefault(item["id"], item)
        return self._items.get(item_id)

    def _load_file(self, file_id: str, param: str) -> UploadedImage:
        key = "file", file_id
        if key not in self._loaded:
            file = None if self.store is None else self.store.load_file(file_id)
            if file is None:
                raise ApiError(
                    f"The file '{truncate(file_id)}' does not exist.",
                    status=404,
                    param=param,
                    code="image_file_not_found",
                )
            self._loaded[key] = self.open(file.content, param)
        return self._loaded[key]

    def open(self, content: bytes, param: str) -> UploadedImage:
        """Check an image file, and count it. Raises ApiError above a bound of a request."""
        self._num_images += 1
        self._num_bytes += len(content)
        if self._num_images > MAX_REQUEST_IMAGES:
            message = f"The request has more than {MAX_REQUEST_IMAGES} images."
            raise ApiError(message, param=param, code="too_many_images")
        if self._num_bytes > MAX_REQUEST_BYTES:
            size = MAX_REQUEST_BYTES // 2**20
            message = f"The images of the request have more than {size} MiB together."
            raise ApiError(message, param=param, code="image_file_too_large")
        return open_upload(content, param)
