"""Load the images that a request refers to: data URLs, uploaded files, URLs of allowed hosts."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pinxit.serve.errors import ApiError, truncate
from pinxit.serve.media.fetch import fetch_image
from pinxit.serve.media.uploads import UploadedImage, decode_data_url, decode_upload
from pinxit.serve.schemas import ImageRef
from pinxit.serve.store import Store


@dataclass(frozen=True)
class ImageSources:
    """Loads images by reference."""

    allowed_hosts: tuple[str, ...] = ()  # of remote images; "*": any public host

    def load_url(self, url: str, param: str) -> UploadedImage:
        if re.match(r"https?:", url, re.IGNORECASE):
            return decode_upload(fetch_image(url, self.allowed_hosts, param), param)
        return decode_data_url(url, param)

    def load(self, ref: ImageRef, param: str, store: Store) -> UploadedImage:
        """Load an image by its URL or file id. Raises ApiError if there is no image."""
        if ref.image_url is not None:
            return self.load_url(ref.image_url, f"{param}.image_url")
        if ref.file_id is None:
            raise ApiError("An image needs 'image_url' or 'file_id'.", param=param)
        file = store.load_file(ref.file_id)
        if file is None:
            raise ApiError(
                f"The file '{truncate(ref.file_id)}' does not exist.",
                status=404,
                param=f"{param}.file_id",
                code="image_file_not_found",
            )
        return decode_upload(file.content, f"{param}.file_id")
