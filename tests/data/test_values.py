"""Values of more than 8 bits, backgrounds, profiles and frames: found for the set, and noted."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from pinxit.data.images import Images
from pinxit.data.load import load_images
from pinxit.data.load_options import LoadOptions
from pinxit.errors import UsageError
from tests.data.test_decode import decode_bytes, encode

COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # of PNG, by number of channels


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_16(values: np.ndarray, extra: bytes = b"") -> bytes:
    """Return a 16-bit PNG of values `[height, width, 1 to 4]`, which Pillow cannot write."""
    height, width, channels = values.shape
    rows = values.astype(">u2").reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 16, COLOR_TYPES[channels], 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    signature = b"\x89PNG\r\n\x1a\n"
    data = chunk(b"IDAT", body) + chunk(b"IEND", b"")
    return signature + chunk(b"IHDR", header) + extra + data


def tiff(values: np.ndarray, **options) -> bytes:
    with io.BytesIO() as file:
        tifffile.imwrite(file, values, **options)
        return file.getvalue()


def write_all(folder: Path, contents: dict[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder


def load(path: Path, **options) -> Images:
    return load_images(str(path), progress=False, cache=False, **options)


def gradient(low: float, high: float, dtype=np.float64) -> np.ndarray:
    return np.linspace(low, high, 256).reshape(16, 16).astype(dtype)


# -- range -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("kind", ["tif", "png", "npy"])
def test_images_of_10_to_16_bits_use_all_levels(tmp_path, bits, kind):
    images = [gradient(0, top * (2**bits - 1), np.uint16) for top in (1, 0.5, 0.1)]
    if kind == "npy":
        np.save(tmp_path / "a.npy", np.stack(images))
        loaded = load(tmp_path / "a.npy")
    else:
        write = tiff if kind == "tif" else (lambda values: encode(Image.fromarray(values)))
        names = {f"{i}.{kind}": write(values) for i, values in enumerate(images)}
        loaded = load(write_all(tmp_path, names))
    expected = np.rint(np.stack(images) * (255 / (2**bits - 1)))
    assert (loaded.pixels[..., 0] == expected).all()
    note = f"{bits}-bit values: 0 to {2**bits - 1} are scaled to 0 to 255"
    assert any(note in text for text in loaded.notes) == (bits < 16)


@pytest.mark.parametrize("channels", [2, 3, 4])
@pytest.mark.parametrize("kind", ["png", "tif", "deflate"])
def test_16_bit_color_keeps_the_values_below_the_upper_8_bits(tmp_path, channels, kind):
    values = np.random.default_rng(0).integers(0, 4096, (9, 7, channels)).astype(np.uint16)
    if channels in (2, 4):
        values[..., -1] = 65_535
    if kind == "png":
        content = png_16(values)
    elif channels == 2:
        return
    else:
        options = {"compression": kind, "predictor": True} if kind == "deflate" else {}
        extra = {"extrasamples": ["unassalpha"]} if channels == 4 else {}
        content = tiff(values, photometric="rgb", **options, **extra)
    loaded = load(write_all(tmp_path, {"a.png" if kind == "png" else "a.tif": content}))
    colors = values[..., : 1 if channels == 2 else 3]
    assert (loaded.pixels[0] == np.rint(colors * (255 / 4095))).all()


@pytest.mark.parametrize(
    ("low", "high", "range_"),
    [(-1, 1, (-1, 1)), (0, 1, (0, 1)), (0, 255, (0, 255)), (-1024, 3071, (-1024, 3071))],
)
@pytest.mark.parametrize("kind", ["tif", "npz"])
def test_floats_of_any_range_use_all_levels(tmp_path, low, high, range_, kind):
    values = gradient(low, high, np.float32)
    if kind == "npz":
        np.savez(tmp_path / "a.npz", images=values[None])
        loaded = load(tmp_path / "a.npz")
    else:
        loaded = load(write_all(tmp_path, {"a.tif": tiff(values)}))
    scaled = (values.astype(np.float64) - range_[0]) * (255 / (range_[1] - range_[0]))
    assert (loaded.pixels[0, ..., 0] == np.rint(scaled)).all()
    assert any("are scaled to 0 to 255" in note for note in loaded.notes) == (low < 0)


def test_an_image_ten_times_as_bright_stays_ten_times_as_bright(tmp_path):
    dim, bright = (np.full((16, 16), value, np.float32) for value in (250.5, 2505.0))
    loaded = load(write_all(tmp_path, {"a.tif": tiff(dim), "b.tif": tiff(bright)}))
    assert loaded.pixels[:, 0, 0, 0].tolist() == [26, 255]


def test_the_range_is_that_of_all_images_beyond_those_that_are_examined_first(tmp_path):
    images = [np.full((8, 8), 500, np.uint16) for _ in range(60)]
    images[37][0, 0] = 4000
    np.save(tmp_path / "a.npy", np.stack(images))
    loaded = load(tmp_path / "a.npy")
    assert loaded.pixels.max() == round(4000 * 255 / 4095)
    assert loaded.conversion["range"] == "integer:0,4095"


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.bool_, np.uint16])
def test_zeros_and_ones_become_black_and_white(tmp_path, dtype):
    values = np.random.default_rng(0).integers(0, 2, (40, 8, 8)).astype(dtype)
    values[:20] = 0  # most of those that are examined first
    np.save(tmp_path / "a.npy", values)
    loaded = load(tmp_path / "a.npy")
    assert (loaded.pixels[..., 0] == values * np.uint8(255)).all()
    is_noted = any("values 0 and 1 are scaled" in note for note in loaded.notes)
    assert is_noted == (np.dtype(dtype).kind in "ui")


def test_masks_of_zeros_and_ones_are_seen_in_png_files_too(tmp_path):
    mask = np.zeros((16, 16), np.uint8)
    mask[4:9, 3:12] = 1
    loaded = load(write_all(tmp_path, {f"{i}.png": encode(Image.fromarray(mask)) for i in "abc"}))
    assert (loaded.pixels[..., 0] == 255 * mask).all()
    # one image of full range among many, and none is scaled
    bright = encode(Image.fromarray(mask * np.uint8(200)))
    names = {f"{i:02d}.png": encode(Image.fromarray(mask)) for i in range(50)} | {"x.png": bright}
    loaded = load(write_all(tmp_path / "more", names))
    assert sorted(set(loaded.pixels.ravel().tolist())) == [0, 1, 200]
    assert any("50 of 51 images are of one color" in note for note in loaded.notes)


@pytest.mark.parametrize("range_", ["0,1000", "-1,1", "100,200"])
def test_the_range_can_be_given_and_what_is_cut_off_is_noted(tmp_path, range_):
    low, high = map(float, range_.split(","))
    values = gradient(-2000, 5000, np.float32)
    loaded = load(write_all(tmp_path, {"a.tif": tiff(values)}), range=range_)
    expected = np.clip(np.rint((values.astype(np.float64) - low) * (255 / (high - low))), 0, 255)
    assert (loaded.pixels[0, ..., 0] == expected).all()
    assert any("1 image with values outside of the range" in note for note in loaded.notes)


def test_dark_and_plain_images_are_noted(tmp_path):
    dark = np.random.default_rng(0).integers(2, 20, (3, 8, 8, 3)).astype(np.uint8)
    loaded = load(
        write_all(tmp_path, {f"{i}.png": encode(Image.fromarray(dark[i])) for i in range(3)})
    )
    assert any("the images only use levels 2 to 19 of 0 to 255" in note for note in loaded.notes)
    assert (load(tmp_path, range="0,20").pixels == np.rint(dark * (255 / 20))).all()
    plain = {f"{i}.png": encode(Image.new("RGB", (8, 8), (9 * i, 200, 7))) for i in range(3)}
    loaded = load(write_all(tmp_path / "plain", plain))
    assert any("3 of 3 images are of one color, the first is 0.png" in n for n in loaded.notes)


def test_values_that_are_not_numbers_are_black_and_noted(tmp_path):
    values = gradient(0, 1, np.float32)
    values[3, 3], values[3, 4] = np.nan, np.inf
    loaded = load(write_all(tmp_path, {"a.tif": tiff(values)}))
    assert loaded.pixels[0, 3, 3, 0] == 0
    assert loaded.pixels[0, 15, 15, 0] == 255
    assert any("1 image with values that are not numbers" in note for note in loaded.notes)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.uint32, np.float16, np.float64])
@pytest.mark.parametrize("shape", ["grey", "rgb", "planes"])
def test_tiff_files_that_pillow_does_not_open_are_read(tmp_path, dtype, shape):
    values = np.random.default_rng(1).integers(0, 100, (12, 9, 3)).astype(dtype)
    content = {
        "grey": lambda: tiff(values[..., 0]),
        "rgb": lambda: tiff(values, photometric="rgb"),
        "planes": lambda: tiff(values.transpose(2, 0, 1), photometric="rgb", planarconfig=2),
    }[shape]()
    loaded = load(write_all(tmp_path, {"a.tif": content}))
    expected = values if shape != "grey" else values[..., :1]
    assert (loaded.pixels[0] == expected).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_deep_images_are_turned_upright_as_others_are(tmp_path, orientation):
    values = np.arange(6 * 9, dtype=np.uint16).reshape(6, 9) * 1200
    tags = [(274, "H", 1, orientation, True)]
    deep = load(write_all(tmp_path, {"a.tif": tiff(values, extratags=tags)})).pixels
    shallow = np.rint(values / 257).astype(np.uint8)
    expected = load(write_all(tmp_path / "b", {"a.tif": tiff(shallow, extratags=tags)})).pixels
    assert deep.shape == expected.shape
    assert (deep == expected).all()


@st.composite
def sources(draw):
    """A suffix, and raw values `[n, 8, 8]` of one of many types and ranges."""
    kind, dtype = draw(
        st.sampled_from(
            [("npy", d) for d in ("u1", "u2", "i2", "i4", "f2", "f4", "f8", "?")]
            + [("tif", d) for d in ("u1", "u2", "i2", "i4", "f4", "f8")]
            + [("png", d) for d in ("u1", "u2")]
        )
    )
    signed = np.dtype(dtype).kind in "if" and draw(st.booleans())
    top = draw(st.sampled_from([1, 3, 15, 200, 255, 1023, 4000, 30_000]))
    top = min(top, 255) if dtype == "u1" else top
    if np.dtype(dtype).kind == "f":
        top = draw(st.sampled_from([0.01, 1.0, 10.0, 255.0, 3e4]))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    values = rng.uniform(-top if signed else 0, top, (draw(st.integers(1, 5)), 8, 8))
    values *= draw(st.sampled_from([1.0, 0.3])) ** np.arange(len(values))[:, None, None]
    if np.dtype(dtype).kind != "f":
        values = np.rint(values)
    return kind, values.astype(dtype)


def store(folder: Path, kind: str, values: np.ndarray) -> Path:
    if kind == "npy":
        np.save(folder / "a.npy", values)
        return folder / "a.npy"
    write = tiff if kind == "tif" else (lambda image: encode(Image.fromarray(image)))
    return write_all(folder / "set", {f"{i}.{kind}": write(v) for i, v in enumerate(values)})


@settings(deadline=None, max_examples=40, derandomize=True)
@given(sources())
def test_values_keep_their_order_on_one_scale_and_poor_ones_are_noted(tmp_path_factory, source):
    kind, values = source
    loaded = load(store(tmp_path_factory.mktemp("values"), kind, values), color="grey")
    levels = loaded.pixels[..., 0].astype(int)
    order = np.argsort(values.astype(np.float64), axis=None, kind="stable")
    raw, level = values.astype(np.float64).ravel()[order], levels.ravel()[order]
    assert (np.diff(level) >= 0).all(), "a brighter value is darker"
    assert (level[1:] == level[:-1])[np.diff(raw) == 0].all(), "one value has two levels"
    if np.ptp(level) < 32 or any(np.ptp(image) <= 1 for image in levels):
        assert any("one color" in note or "levels" in note for note in loaded.notes)
    if np.ptp(raw) > 0 and np.dtype(values.dtype).itemsize > 1:
        assert np.ptp(level) >= 32, "deep values are all dark"


# -- background ------------------------------------------------------------------------------------


def icon(color: tuple[int, int, int], shift: int = 0) -> bytes:
    pixels = np.zeros((32, 32, 4), np.uint8)
    pixels[..., :3] = color
    pixels[8 + shift : 20 + shift, 8:20, 3] = 255
    return encode(Image.fromarray(pixels))


@pytest.mark.parametrize(
    ("colors", "background", "note"),
    [
        ([(255, 255, 255)] * 3, 0, "transparent pixels are shown on black"),
        ([(0, 0, 0), (200, 0, 0)], 255, ""),
        ([(255, 255, 255), (0, 0, 0)], 128, "transparent pixels are shown on grey"),
    ],
)
def test_the_background_is_one_on_which_all_images_are_visible(tmp_path, colors, background, note):
    names = {f"{i}.png": icon(color, i) for i, color in enumerate(colors)}
    loaded = load(write_all(tmp_path, names))
    assert (loaded.pixels[:, 0, 0] == background).all()
    assert (loaded.pixels[:, 12, 12] != background).any(axis=-1).all()
    assert any(note in text for text in loaded.notes) or not note
    assert note or not loaded.notes


def test_the_background_can_be_given(tmp_path):
    folder = write_all(tmp_path, {"a.png": icon((255, 255, 255))})
    for text, color in (("grey", 128), ("#ff8000", [255, 128, 0]), ("black", 0)):
        assert (load(folder, background=text).pixels[0, 0, 0] == color).all()
    loaded = load(folder, background="white")
    assert any("1 of 1 image is of one color" in note for note in loaded.notes)


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P"])
def test_every_mode_with_transparency_gets_the_background(tmp_path, mode):
    image = Image.open(io.BytesIO(icon((255, 255, 255))))
    options = {}
    if mode == "P":
        image = Image.new("P", (32, 32), 0)
        image.putpalette([0, 0, 0, 255, 255, 255])
        image.paste(1, (8, 8, 20, 20))
        options = {"transparency": 0}
    content = encode(image if mode == "P" else image.convert(mode), **options)
    pixels = load(write_all(tmp_path, {"a.png": content})).pixels
    assert (pixels[0, 0, 0], pixels[0, 12, 12]) == (0, 255)


@settings(deadline=None, max_examples=25, derandomize=True)
@given(
    st.lists(
        st.tuples(
            st.tuples(*[st.sampled_from([0, 10, 100, 128, 200, 250, 255])] * 3),
            st.sampled_from([0, 1, 120, 255]),
        ),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from(["auto", "white", "grey", "#102030"]),
)
def test_no_transparent_image_is_blank_without_a_note(tmp_path_factory, icons, background):
    contents = {}
    for i, (color, alpha) in enumerate(icons):
        pixels = np.zeros((12, 12, 4), np.uint8)
        pixels[..., :3] = color
        pixels[2:9, 3:7, 3] = alpha
        contents[f"{i}.png"] = encode(Image.fromarray(pixels))
    folder = write_all(tmp_path_factory.mktemp("icons"), contents)
    loaded = load(folder, background=background)
    corners = loaded.pixels[:, 0, 0].astype(int)
    assert (corners == corners[0]).all(), "one background for the set"
    is_blank = np.ptp(loaded.pixels.astype(int), axis=(1, 2)).max(-1) <= 1
    if is_blank.any():
        assert any("of one color" in note for note in loaded.notes)
    if background == "auto" and (corners[0] != 255).any():
        assert any("transparent pixels are shown on" in note for note in loaded.notes)


# -- color profiles --------------------------------------------------------------------------------


def wide_gamut_profile() -> bytes:
    """Return the ICC profile of a space with the primaries of Adobe RGB and gamma 2.2."""

    def to_fixed_point(*numbers: float) -> bytes:
        return b"".join(struct.pack(">i", round(number * 65_536)) for number in numbers)

    def xyz(*numbers: float) -> bytes:
        return b"XYZ \0\0\0\0" + to_fixed_point(*numbers)

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, int(2.2 * 256)) + b"\0\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"wide\0" + b"\0" * 78,
        b"cprt": b"text\0\0\0\0-\0",
        b"wtpt": xyz(0.9642, 1, 0.8249),
        b"rXYZ": xyz(0.60974, 0.31111, 0.01947),
        b"gXYZ": xyz(0.20528, 0.62567, 0.06087),
        b"bXYZ": xyz(0.14919, 0.06322, 0.74457),
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    start, table, data = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, value in tags.items():
        padded = value + b"\0" * (-len(value) % 4)
        table += name + struct.pack(">II", start + len(data), len(padded))
        data += padded
    head = struct.pack(">I", 128 + len(table) + len(data)) + b"\0\0\0\0\x02\x10\0\0mntrRGB XYZ "
    head += b"\0" * 12 + b"acsp" + b"\0" * 28 + to_fixed_point(0.9642, 1, 0.8249)
    return head.ljust(128, b"\0") + table + data


def show_as_a_viewer(image: Image.Image, profile: bytes) -> Image.Image:
    source, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
    return ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")


@pytest.mark.parametrize(("format_", "mode"), [("PNG", "RGB"), ("TIFF", "RGB"), ("PNG", "RGBA")])
def test_a_color_profile_is_applied(tmp_path, format_, mode):
    image, profile = Image.new("RGB", (16, 16), (60, 200, 60)), wide_gamut_profile()
    content = encode(image.convert(mode), format_, icc_profile=profile)
    loaded = load(write_all(tmp_path, {f"a.{format_.lower()}": content}))
    expected = show_as_a_viewer(image, profile).getpixel((0, 0))
    assert tuple(loaded.pixels[0, 0, 0].tolist()) == expected
    assert "the color profile of 1 image is applied" in loaded.notes


def test_a_profile_of_srgb_changes_nothing(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    color, grey = Image.fromarray(pixels), Image.fromarray(pixels[..., 0])
    names = {"a.png": color, "b.png": grey, "c.png": grey.convert("LA")}
    contents = {name: encode(image, icc_profile=profile) for name, image in names.items()}
    loaded = load(write_all(tmp_path, contents), group_by="none")
    assert (loaded.pixels[0] == pixels).all()
    assert (loaded.pixels[1:] == pixels[..., :1]).all()
    assert not any("profile" in note for note in loaded.notes)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("profile", [b"damaged", wide_gamut_profile()[:300], wide_gamut_profile()])
def test_a_damaged_profile_and_one_of_another_mode_are_noted(tmp_path, mode, profile):
    image = Image.new("RGB", (16, 16), (60, 200, 60)).convert(mode)
    content = encode(image, "TIFF", icc_profile=profile)
    loaded = load(write_all(tmp_path, {"a.tif": content}), color="rgb")
    if mode != "CMYK" and len(profile) > 300:
        shown = show_as_a_viewer(image.convert("RGB"), profile)
        assert (loaded.pixels[0] == np.asarray(shown)).all()
        return
    assert (loaded.pixels[0] == np.asarray(image.convert("RGB"))).all()
    assert any("color profile of 1 image cannot be applied" in note for note in loaded.notes)


# -- frames, options and runs ----------------------------------------------------------------------


@pytest.mark.parametrize(("format_", "frames"), [("GIF", 3), ("TIFF", 4), ("PNG", 2), ("WEBP", 3)])
def test_frames_that_are_not_read_are_counted(tmp_path, format_, frames):
    images = [Image.new("RGB", (8, 8), (80 * i, 9, 9)) for i in range(frames)]
    content = encode(images[0], format_, save_all=True, append_images=images[1:])
    loaded = load(write_all(tmp_path, {f"a.{format_.lower()}": content}))
    verb = "is" if frames == 2 else "are"
    note = f"1 file of several frames or pages: the first is read, {frames - 1} {verb} not"
    assert note in loaded.notes
    assert abs(loaded.pixels[0, 4, 4].astype(int) - [0, 9, 9]).max() <= 9


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"range": "bright"}, "range is 'auto' or LOW,HIGH.*not 'bright'"),
        ({"range": "5,1"}, "LOW,HIGH"),
        ({"range": "0,nan"}, "LOW,HIGH"),
        ({"range": "half:0,1"}, "LOW,HIGH"),
        ({"background": "pink"}, "background is 'auto', 'white', 'black', 'grey' or a color"),
        ({"background": "#12345"}, "background is 'auto'"),
        ({"resample": "cubic"}, "resample is one of 'auto', 'nearest', 'area', 'lanczos'"),
    ],
)
def test_invalid_options_are_errors(options, text):
    with pytest.raises(UsageError, match=text):
        LoadOptions(**options)


def test_other_images_are_read_with_the_range_and_background_found_for_the_set(tmp_path):
    bright, dim = (gradient(0, top, np.float32) for top in (900.5, 90.0))
    folder = write_all(tmp_path / "set", {"a.tif": tiff(bright), "b.png": icon((255, 255, 255))})
    options = load(folder, size=16).conversion
    other = write_all(tmp_path / "other", {"a.tif": tiff(dim), "b.png": icon((0, 0, 0))})
    loaded = load(other, size=16, **options)
    assert loaded.pixels[0].max() == round(90 * 255 / 900.5)
    assert (loaded.pixels[1] == 0).all()  # black on black, as training showed it
    assert loaded.conversion["range"].endswith("floating:0.0,900.5")


def test_8_bit_files_beside_deeper_ones_keep_their_range(tmp_path):
    shallow = gradient(0, 255, np.uint8)
    contents = {
        "a.tif": tiff(gradient(0, 4095, np.uint16)),
        "b.png": encode(Image.fromarray(shallow)),
    }
    for range_ in ("auto", "0,4095"):
        loaded = load(write_all(tmp_path, contents), range=range_)
        assert (loaded.pixels[1, ..., 0] == shallow).all()
        assert loaded.pixels[0].max() == 255


@settings(deadline=None, max_examples=25, derandomize=True)
@given(
    st.sampled_from(["RGB", "L", "P", "1", "CMYK"]),
    st.sampled_from(["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP"]),
    st.integers(0, 999),
    st.sampled_from([12, 17, 40]),
)
def test_ordinary_files_have_the_pixels_that_pillow_gives(mode, format_, seed, side):
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 20, 3), np.uint8)
    image = Image.fromarray(pixels).convert(mode)
    if mode not in {"JPEG": "L RGB CMYK", "TIFF": "RGB L P 1 CMYK"}.get(format_, "RGB L").split():
        return
    content = encode(image, format_)
    opened = Image.open(io.BytesIO(content))
    plain = opened.convert("L") if opened.mode == "1" else opened.convert("RGB").convert("RGB")
    filter_ = Image.Resampling.BICUBIC if side > 20 else Image.Resampling.LANCZOS
    expected = plain.convert("L" if opened.mode in ("1", "L") else "RGB")
    expected = expected.resize((side, side), filter_, box=(0, 0, 20, 20), reducing_gap=3.0)
    assert (decode_bytes(content, side, side) == np.asarray(expected.convert("RGB"))).all()
