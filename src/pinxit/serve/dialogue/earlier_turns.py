"""The earlier turns of a conversation: their messages, and their images."""

from __future__ import annotations

from collections.abc import Iterator

from pinxit.serve.dialogue.items import LoadImage, Message, parse_item
from pinxit.serve.errors import ApiError, truncate
from pinxit.serve.media.sources import RequestImages
from pinxit.serve.media.uploads import UploadedImage
from pinxit.serve.store import MAX_SILENT_SECONDS, Store, StoredResponse

MAX_TURNS = 30  # earlier responses that are read


def load_earlier_turns(
    response_id: str | None, store: Store, loader: RequestImages
) -> tuple[list[Message], list[list[LoadImage]]]:
    """Return the messages of the earlier turns, and the images of each of their items."""
    messages: list[Message] = []
    loads: list[list[LoadImage]] = []
    turns = list(_load_chain(response_id, store))
    for body, input_items in reversed(turns):
        for item in [*input_items, *body["output"]]:
            try:
                content = parse_item(item, "previous_response_id", loader)
            except ApiError:  # of another version of this server
                continue
            messages += content[0]
            loads.append(content[1])
    return messages, loads


def load_last_images(items: list[list[LoadImage]]) -> list[UploadedImage]:
    """Return the images of the last item of which there are any: files may have expired since."""
    for loads in reversed(items):
        images = []
        for load in loads:
            try:
                images.append(load())
            except ApiError:
                continue
        if found := [image for image in images if image is not None]:
            return found
    return []


def _load_chain(response_id: str | None, store: Store) -> Iterator[StoredResponse]:
    """Yield the earlier responses, newest first."""
    for turn in range(MAX_TURNS):
        if response_id is None:
            return
        response = _load_ended(response_id, store)
        if response is None:
            if turn:  # it has expired
                return
            raise ApiError(
                f"The response '{truncate(response_id)}' does not exist.",
                param="previous_response_id",
                code="previous_response_not_found",
            )
        if response.body["status"] == "in_progress":
            message = f"The response '{truncate(response_id)}' has not ended yet."
            raise ApiError(message, param="previous_response_id")
        yield response
        response_id = response.body.get("previous_response_id")


def _load_ended(response_id: str, store: Store) -> StoredResponse | None:
    """Return a response; one whose server has ended will never end by itself, and has failed."""
    response = store.load_response(response_id)
    if response is None or response.body["status"] != "in_progress":
        return response
    if store.is_active(response_id, MAX_SILENT_SECONDS):
        return response
    response = store.load_response(response_id)  # it may have ended just now
    if response is not None and response.body["status"] == "in_progress":
        return response._replace(body={**response.body, "status": "failed"})
    return response
