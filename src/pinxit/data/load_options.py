"""`LoadOptions`: how images are read. Imports no numpy, so that `--help` stays fast."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pinxit.data.decoding.conversion import Conversion, Resample, parse_conversion
from pinxit.data.seeds import check_seed
from pinxit.data.sizes import Size, parse_size
from pinxit.errors import UsageError, check_keys

Fit = Literal["crop", "pad"]
Color = Literal["auto", "grey", "rgb"]
StreamMode = Literal["auto", "on", "off"]


@dataclass(frozen=True)
class LoadOptions:
    """Options of loading images."""

    # image size in pixels, 64 or 96x64 (width x height); None: the images' own size if all have the
    # same, else a default that depends on their sizes
    size: Size = None
    # crop the middle, or pad with the color of the corners, if the proportions differ
    fit: Fit = "crop"
    # channels to read; auto: grey if every image is grey
    color: Color = "auto"
    # values that become black and white, such as 0,4095 or -1,1; auto: found for the set from
    # images of 10 to 16 bits, of floats, or of 0 and 1
    range: str = "auto"
    # what transparent pixels show: white, black, grey or a color such as #ff8000; auto: white,
    # unless images are hidden on it
    background: str = "auto"
    # filter of resizing: nearest keeps hard edges, area is the mean, lanczos is smooth (bicubic to
    # enlarge); auto: nearest for pixel art at a whole factor, else lanczos
    resample: Resample = "auto"
    # read at most this many images, selected by --data-seed; None: all
    limit: int | None = None
    # captions for images that have labels: `labels` uses the built-in templates ("a photo of a
    # sneaker"), a file uses the templates in it; images with captions keep theirs
    captions: str | None = None
    # languages of the captions and keywords to use, such as en or en,fr; None: all
    languages: str | None = None
    # groups of images that show the same thing, and stay in one split: the name of a column (auto:
    # `base`, else `group`); burst: names in one folder that differ only in their final number, as
    # those of a video's frames do; none: no groups
    group_by: str = "auto"
    # fail if any file, record or caption of the source is not used, instead of skipping it; files
    # that an operating system or git makes (.DS_Store, Thumbs.db, trash) are allowed
    strict: bool = False
    # read the images of shards while training, instead of decoding all of them first; auto: if they
    # would take more than 16 GiB
    stream: StreamMode = "auto"
    # shards of a stream whose images are shuffled together
    stream_window: int = 8
    # seed for --limit and for generated data such as shapes:1000; None: the training seed, or 0
    data_seed: int | None = None

    def __post_init__(self) -> None:
        parse_size(self.size)
        if self.fit not in get_args(Fit):
            raise UsageError(f"fit is 'crop' or 'pad', not '{self.fit}'.")
        if self.color not in get_args(Color):
            raise UsageError(f"color is 'auto', 'grey' or 'rgb', not '{self.color}'.")
        if self.stream not in get_args(StreamMode):
            raise UsageError(f"stream is 'auto', 'on' or 'off', not '{self.stream}'.")
        if self.stream_window < 1:
            raise UsageError(f"stream_window is 1 shard or more, not {self.stream_window}.")
        _ = self.conversion
        if not self.group_by.strip():
            raise UsageError("group_by is 'auto', 'none', 'burst' or the name of a column, not ''.")
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"limit is a number of images, 1 or more, not {self.limit}.")
        if self.data_seed is not None:
            check_seed(self.data_seed, "data_seed")

    @property
    def height_width(self) -> tuple[int, int] | None:
        """`size` as (height, width); None if it is chosen from the images."""
        return parse_size(self.size)

    @property
    def conversion(self) -> Conversion:
        """`range`, `background` and `resample`, parsed. Raises UsageError if one is invalid."""
        return parse_conversion(self.range, self.background, self.resample)

    @property
    def seed(self) -> int:
        """`data_seed`, or 0 if it is not set."""
        return self.data_seed or 0

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def check_no_options(options: LoadOptions) -> None:
    """Raise UsageError for options of loading given with images that are loaded already.

    The seed of the data is no such option: training sets it.
    """
    names = [
        field.name
        for field in dataclasses.fields(LoadOptions)
        if field.name != "data_seed" and getattr(options, field.name) != field.default
    ]
    if names:
        kind = "are options" if len(names) > 1 else "is an option"
        raise UsageError(
            f"{', '.join(names)} {kind} of loading a source; these images are loaded already."
        )


def make_load_options(
    options: LoadOptions | Mapping[str, Any] | None = None, **changes: Any
) -> LoadOptions:
    """Return options from an instance, a dict or nothing, with changes.

    Raises UsageError for an unknown option, with the nearest known one, and for invalid values.
    """
    known = [field.name for field in dataclasses.fields(LoadOptions)]
    if not isinstance(options, LoadOptions):
        changes = {**(options or {}), **changes}
        options = LoadOptions()
    check_keys(changes, known, "LoadOptions")
    if changes.get("captions") is not None:
        changes["captions"] = str(changes["captions"])  # a Path, too
    if isinstance(changes.get("languages"), list | tuple):
        changes["languages"] = ",".join(changes["languages"])
    if not isinstance(size := changes.get("size"), str | None):
        height, width = parse_size(size) or (0, 0)  # integers of NumPy, and lists of JSON
        changes["size"] = (height, width) if isinstance(size, Iterable) else height
    return dataclasses.replace(options, **changes)
