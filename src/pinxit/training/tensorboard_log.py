"""Curves, images and options as TensorBoard event files."""

# pyright: reportAttributeAccessIssue=false
# (protobuf creates its classes at run time)

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pinxit.data.unicode_forms import escape_surrogates
from pinxit.errors import PinxitError

FOLDER = "tensorboard"


class TensorBoardLog:
    """Event files in a folder, with TensorBoard's own writer: that of torch, which Fabric's logger
    uses, takes seconds to import.

    TensorBoard drops events after `start_step` that an earlier session wrote. Raises PinxitError
    for a path that is not valid Unicode, which TensorBoard cannot write to.
    """

    def __init__(self, folder: Path, start_step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        if escape_surrogates(str(folder)) != str(folder):
            raise PinxitError("it cannot write to a path that is not UTF-8")
        self.writer, self.event = EventFileWriter(str(folder)), Event
        if start_step:
            purge = SessionLog(status=SessionLog.START)
            self.writer.add_event(
                Event(wall_time=time.time(), step=start_step + 1, session_log=purge)
            )

    def append(self, row: Mapping[str, float], step: int) -> None:
        """Write a value of each curve."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._write([Summary.Value(tag=k, simple_value=v) for k, v in row.items()], step)

    def append_images(self, files: Mapping[str, Path], step: int) -> None:
        """Write PNG files as images."""
        from PIL import Image
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = []
        for name, file in files.items():
            with Image.open(file) as opened:
                width, height, channels = *opened.size, len(opened.getbands())
            image = Summary.Image(
                height=height, width=width, colorspace=channels,
                encoded_image_string=file.read_bytes(),
            )  # fmt: skip
            values.append(Summary.Value(tag=name, image=image))
        self._write(values, step)

    def describe(self, config: Mapping[str, Any]) -> None:
        """Write the options of the run as a table of text."""
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.types_pb2 import DT_STRING

        rows = [f"| {name} | {value} |" for name, value in flatten(config).items()]
        text = "\n".join(["| option | value |", "| --- | --- |", *rows])
        plugin = SummaryMetadata.PluginData(plugin_name="text")
        tensor = TensorProto(dtype=DT_STRING, string_val=[text.encode()])
        metadata = SummaryMetadata(plugin_data=plugin)
        self._write([Summary.Value(tag="options", metadata=metadata, tensor=tensor)], 0)

    def _write(self, values: list[Any], step: int) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        summary = Summary(value=values)
        self.writer.add_event(self.event(wall_time=time.time(), step=step, summary=summary))

    def close(self) -> None:
        self.writer.close()


def flatten(record: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of nested records by their dotted names."""
    values: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, Mapping):
            values |= flatten(value, f"{prefix}{name}.")
        else:
            values[f"{prefix}{name}"] = value
    return values
