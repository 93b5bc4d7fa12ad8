"""Where the images of a request come from: data URLs, uploaded files, allowed hosts."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pinxit.serve.errors import Refusal, short
from pinxit.serve.media.fetch import fetched
from pinxit.serve.media.uploads import Sent, from_data_url, received
from pinxit.serve.schemas import Url
from pinxit.serve.store import Store


@dataclass(frozen=True)
class Sources:
    """Where images may come from."""

    allowed: tuple[str, ...] = ()  # hosts of remote images

    def of_url(self, url: str, param: str) -> Sent:
        if re.match(r"https?:", url, re.IGNORECASE):
            return received(fetched(url, self.allowed, param), param)
        return from_data_url(url, param)

    def of(self, one: Url, param: str, store: Store) -> Sent:
        """An image by URL or by the id of a file. Raises Refusal where neither is there."""
        if one.image_url is not None:
            return self.of_url(one.image_url, f"{param}.image_url")
        if one.file_id is None:
            raise Refusal("an image is by 'image_url' or 'file_id'.", param=param)
        stored = store.file(one.file_id)
        if stored is None:
            raise Refusal(
                f"there is no file '{short(one.file_id)}'.",
                status=404,
                param=f"{param}.file_id",
                code="image_file_not_found",
            )
        return received(stored.content, f"{param}.file_id")
