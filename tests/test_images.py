"""Pictures: what is refused and why, what is read to the pixel, and that nothing is lost after."""

import hashlib
import io
import os
import random
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL import ImageCms, ImageFile

from pipeline import images
from pipeline.images import BadPicture, PictureError, Pixels, decode, encode, fit, fit_size, read
from pipeline.types import Image, Size

steady = settings(derandomize=True, deadline=None, max_examples=100)

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
MAGIC = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff\xe0\x00\x10JFIF\x00",
    b"RIFF\x40\x00\x00\x00WEBPVP8 ",
    b"BM",
    b"II*\x00\x08\x00\x00\x00",
    b"MM\x00*\x00\x00\x00\x08",
    b"GIF89a",
)

# Corners of the upright picture, clockwise from the top left, as corners of the stored one.
EXIF_CORNERS = {
    1: ("TL", "TR", "BR", "BL"),
    2: ("TR", "TL", "BL", "BR"),
    3: ("BR", "BL", "TL", "TR"),
    4: ("BL", "BR", "TR", "TL"),
    5: ("TL", "BL", "BR", "TR"),
    6: ("BL", "TL", "TR", "BR"),
    7: ("BR", "TR", "TL", "BL"),
    8: ("TR", "BR", "BL", "TL"),
}


def noise(width: int, height: int, seed: int = 0) -> Pixels:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(width: int, height: int) -> Pixels:
    """Something that JPEG keeps: three slow gradients."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return np.stack([x, y, (x + y) / 2], axis=-1).astype(np.uint8)


def saved(picture: Pillow.Image | Pixels, kind: str, **options: object) -> bytes:
    if isinstance(picture, np.ndarray):
        picture = Pillow.fromarray(picture)
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def grey(values: list[list[float]], dtype: str) -> Pillow.Image:
    return Pillow.fromarray(np.array(values, dtype=dtype))


def chunk(kind: bytes, body: bytes) -> bytes:
    crc = struct.pack(">I", zlib.crc32(kind + body))
    return struct.pack(">I", len(body)) + kind + body + crc


def png_header(width: int, height: int, depth: int = 8, rest: bytes = b"") -> bytes:
    """A grey PNG that claims a size, with whatever chunks behind it."""
    head = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + rest + chunk(b"IEND", b"")


def png_bomb(side: int) -> bytes:
    """A complete, valid 1-bit PNG of side × side px in a few kilobytes."""
    squeeze = zlib.compressobj(9)
    line = bytes(1 + side // 8)
    data = b"".join(squeeze.compress(line) for _ in range(side)) + squeeze.flush()
    return png_header(side, side, 1, chunk(b"IDAT", data))


def gif_header(width: int, height: int) -> bytes:
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x44\x01\x00;"
    return screen + frame


def bmp_header(width: int, height: int) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + info


def tiff_header(width: int, height: int) -> bytes:
    fields = ((256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields)
    return b"II*\0" + struct.pack("<IH", 8, len(fields)) + entries + bytes(4)


def jpeg_with_exif(*entries: tuple[int, int, int, int], upright: int = 6) -> bytes:
    """A sound JPEG whose EXIF turns it and holds (tag, type, count, value) as they are given."""
    fields = sorted([(0x112, 3, 1, upright), *entries])
    table = b"".join(struct.pack("<HHII", *field) for field in fields)
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(fields)) + table + bytes(4)
    return saved(smooth(16, 8), "JPEG", exif=exif)


def refused(source: Path | bytes) -> PictureError:
    with pytest.raises(PictureError) as caught:
        read(source)
    return caught.value


def read_or_refused(data: bytes) -> Pixels | None:
    """What hostile bytes may come to: pixels, or the one exception that says why not."""
    try:
        pixels = read(data)
    except PictureError:
        return None
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    return pixels


@pytest.fixture
def no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: ImageFile.ImageFile) -> None:
        raise AssertionError(f"{self.format} of {self.size} px was about to be decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)


@contextmanager
def little(seconds: float = 0.5, memory: int = 8 * 2**20) -> Iterator[None]:
    """Fails if what is inside takes more than that. Pillow's own memory is not seen: it decodes."""
    tracemalloc.start()
    start = time.process_time()  # by the clock, a machine that is busy would count
    yield
    spent, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert spent < seconds
    assert peak < memory


# Refused -----------------------------------------------------------------------------------------


def test_a_file_that_is_not_there_is_refused_as_missing(tmp_path: Path) -> None:
    error = refused(tmp_path / "holiday.png")
    assert error.reason == BadPicture.MISSING
    assert "holiday.png" in str(error)


def test_a_folder_is_refused_as_missing(tmp_path: Path) -> None:
    assert refused(tmp_path).reason == BadPicture.MISSING


@pytest.mark.skipif(os.name != "posix", reason="named pipes")
def test_a_named_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert refused(tmp_path / "pipe.png").reason == BadPicture.MISSING


@pytest.mark.parametrize("name", ["a\0b.png", "a" * 5000 + ".png"], ids=["nul", "too long"])
def test_a_name_that_no_file_can_have_is_refused_as_missing(name: str) -> None:
    assert refused(Path(name)).reason == BadPicture.MISSING


def test_zero_bytes_are_refused_as_empty(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    assert refused(tmp_path / "empty.png").reason == BadPicture.EMPTY
    assert refused(b"").reason == BadPicture.EMPTY


@pytest.mark.parametrize(
    "data",
    [
        b"Dear Sir or Madam,\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\0\0\0\x18ftypheic" + bytes(40),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"%PDF-1.7\n",
        saved(noise(16, 16), "ICO"),
    ],
    ids=["text", "svg", "heic", "eps", "pdf", "ico"],
)
def test_a_file_of_no_known_format_is_refused_as_not_a_picture(data: bytes) -> None:
    error = refused(data)
    assert error.reason == BadPicture.NOT_A_PICTURE
    assert repr(data[:8]) in str(error)


def test_a_text_file_with_a_picture_s_name_is_refused_as_not_a_picture(tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("no picture at all\n" * 100)
    assert refused(tmp_path / "notes.png").reason == BadPicture.NOT_A_PICTURE


@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_cut_short_is_refused_as_truncated(kind: str) -> None:
    data = saved(noise(64, 48), kind)
    half = {"TIFF": -1}.get(kind, len(data) // 2)  # half a TIFF may have lost its directory
    assert refused(data[:half]).reason == BadPicture.TRUNCATED


@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_cut_anywhere_is_refused_or_whole(kind: str) -> None:
    data = saved(noise(12, 10), kind)
    whole = read(data)
    lost = 0
    for end in range(len(data)):
        pixels = read_or_refused(data[:end])
        lost += pixels is None
        assert pixels is None or np.array_equal(pixels, whole), f"cut at {end} of {len(data)}"
    assert lost > len(data) * 0.8


@pytest.mark.parametrize("progressive", [False, True])
def test_a_photograph_cut_anywhere_is_refused_or_whole(progressive: bool) -> None:
    data = saved(smooth(200, 150), "JPEG", progressive=progressive, quality=80)
    whole = read(data)
    for end in (*range(0, len(data), 61), *range(len(data) - 40, len(data))):
        pixels = read_or_refused(data[:end])
        assert pixels is None or np.array_equal(pixels, whole), f"cut at {end} of {len(data)}"


@pytest.mark.parametrize("kind", FORMATS)
def test_broken_bytes_inside_a_picture_raise_nothing_but_a_picture_error(kind: str) -> None:
    exif = Pillow.Exif()
    exif[0x112], exif[0x11A], exif[0x10E] = 6, 72.0, "a description"
    known = {} if kind in ("BMP", "GIF") else {"exif": exif}
    data = saved(noise(12, 10), kind, **known)
    rng = random.Random(kind)
    for _ in range(250):
        broken = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 6))):
            broken[rng.randrange(rng.choice((60, 200, len(data))))] = rng.choice((0, 255, 7, 128))
        read_or_refused(bytes(broken))


@pytest.mark.parametrize(
    "entry",
    [
        (0x10E, 11, 1, 0x40490FDB),  # a description that is a number
        (0x100, 2, 2, 0x00004141),  # a width that is a text
        (0x11A, 6, 1, 0x000000FF),  # a resolution that is a negative byte
        (0x12D, 4, 1, 0x40490FDB),  # a short that does not fit
        (0x8769, 6, 1, 0x000000DB),  # a directory before the start of the file
        (0x10E, 2, 2**31, 0x00000008),  # a text longer than the file
    ],
    ids=["float", "text", "negative", "overflow", "pointer", "length"],
)
def test_broken_exif_raises_nothing_but_a_picture_error(entry: tuple[int, int, int, int]) -> None:
    read_or_refused(jpeg_with_exif(entry))


def test_an_orientation_that_does_not_exist_is_no_reason_to_turn() -> None:
    upright = read(jpeg_with_exif(upright=1))
    for orientation in (0, 9, 6000):
        assert np.array_equal(read(jpeg_with_exif(upright=orientation)), upright)


def test_an_orientation_given_twice_raises_nothing_but_a_picture_error() -> None:
    read_or_refused(jpeg_with_exif((0x112, 3, 2, 0x00060006)))


@steady
@given(st.binary(max_size=300))
def test_random_bytes_are_refused(data: bytes) -> None:
    reason = refused(data).reason
    assert reason == (BadPicture.NOT_A_PICTURE if data else BadPicture.EMPTY)


@steady
@given(st.sampled_from(MAGIC), st.binary(max_size=300))
@example(b"II*\x00\x08\x00\x00\x00", b"\xff\xff")
def test_random_bytes_behind_a_true_signature_raise_nothing_else(magic: bytes, data: bytes) -> None:
    read_or_refused(magic + data)


# Too large ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_decoding")
@pytest.mark.parametrize(
    ("width", "height"),
    [(60_000, 1), (1, 60_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1), (20_000, 3201)],
)
def test_a_header_that_claims_too_much_is_refused_before_decoding(width: int, height: int) -> None:
    data = png_header(width, height, rest=chunk(b"IDAT", b""))
    with little():
        error = refused(data)
    assert error.reason == BadPicture.TOO_LARGE
    assert str(width) in str(error) or str(width * height) in str(error)


@pytest.mark.usefixtures("no_decoding")
@pytest.mark.parametrize("header", [png_header, gif_header, bmp_header, tiff_header])
def test_every_format_s_size_is_checked_before_decoding(
    header: Callable[[int, int], bytes],
) -> None:
    assert refused(header(30_000, 10)).reason == BadPicture.TOO_LARGE
    assert refused(header(15_000, 15_000)).reason == BadPicture.TOO_LARGE


@pytest.mark.parametrize("side", [8192, 12_000, 18_000])
@pytest.mark.usefixtures("no_decoding")
def test_a_decompression_bomb_is_refused_undecoded(side: int) -> None:
    bomb = png_bomb(side)
    assert len(bomb) < 200_000
    with little():
        assert refused(bomb).reason == BadPicture.TOO_LARGE


def test_a_bomb_in_a_text_chunk_is_refused_in_little_memory() -> None:
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(64 * 2**20), 9))
    bomb = png_header(1, 1, rest=text + chunk(b"IDAT", zlib.compress(b"\0\0")))
    assert len(bomb) < 100_000
    with little():
        refused(bomb)


def test_a_file_over_the_cap_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "huge.png").open("wb") as stream:
        stream.write(saved(noise(4, 4), "PNG"))
        stream.truncate(images.MAX_BYTES + 1)
    with little():
        error = refused(tmp_path / "huge.png")
    assert error.reason == BadPicture.TOO_LARGE
    assert str(images.MAX_BYTES + 1) in str(error)


def test_the_caps_are_inclusive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data = saved(noise(9, 5), "PNG")
    (tmp_path / "a.png").write_bytes(data)
    monkeypatch.setattr(images, "MAX_BYTES", len(data))
    monkeypatch.setattr(images, "MAX_SIDE", 9)
    monkeypatch.setattr(images, "MAX_AREA", 45)
    assert np.array_equal(read(data), noise(9, 5))
    assert np.array_equal(read(tmp_path / "a.png"), noise(9, 5))
    for cap in ("MAX_BYTES", "MAX_SIDE", "MAX_AREA"):
        with monkeypatch.context() as patch:
            patch.setattr(images, cap, getattr(images, cap) - 1)
            assert refused(data).reason == BadPicture.TOO_LARGE
            assert refused(tmp_path / "a.png").reason == BadPicture.TOO_LARGE


# Right to the pixel ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {"lossless": True}),
    ],
)
def test_lossless_formats_are_read_to_the_pixel(
    kind: str, options: dict[str, object], tmp_path: Path
) -> None:
    data = saved(noise(13, 7), kind, **options)
    (tmp_path / "picture").write_bytes(data)  # what it is, its name does not say
    assert np.array_equal(read(data), noise(13, 7))
    assert np.array_equal(read(tmp_path / "picture"), noise(13, 7))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_formats_are_read_to_within_their_loss(kind: str) -> None:
    pixels = smooth(64, 48)
    off = np.abs(read(saved(pixels, kind, quality=95)).astype(int) - pixels)
    assert off.mean() < 3
    assert off.max() < 30


@pytest.mark.parametrize(
    ("ink", "colour"),
    [
        ((0, 0, 0, 0), (255, 255, 255)),
        ((255, 0, 0, 0), (0, 255, 255)),
        ((0, 255, 0, 0), (255, 0, 255)),
        ((0, 0, 255, 0), (255, 255, 0)),
        ((0, 0, 0, 255), (0, 0, 0)),
        ((255, 0, 255, 0), (0, 255, 0)),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_inks_come_out_as_their_colours(
    kind: str, ink: tuple[int, ...], colour: tuple[int, ...]
) -> None:
    data = saved(Pillow.new("CMYK", (16, 8), ink), kind)
    assert np.abs(read(data).astype(int) - colour).max() <= 2
    assert read(data).shape == (8, 16, 3)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_keeps_its_whole_range(kind: str) -> None:
    levels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    pixels = read(saved(Pillow.fromarray(levels * 257), kind))
    assert np.array_equal(pixels, np.repeat(levels.astype(np.uint8)[:, :, None], 3, axis=2))


def test_sixteen_bit_grey_between_two_levels_is_one_of_them() -> None:
    deep = np.arange(0, 65536, 7, dtype=np.uint16).reshape(1, -1)
    off = np.abs(read(saved(Pillow.fromarray(deep), "PNG"))[:, :, 0] - deep / 257)
    assert off.max() < 1


def test_a_large_picture_of_sixteen_bits_is_read_as_a_small_one_in_little_memory() -> None:
    across, down = np.meshgrid(np.arange(1500), np.arange(1000))
    deep = (across * 43 + down).astype(np.uint16)
    data = saved(Pillow.fromarray(deep), "TIFF")
    tracemalloc.start()
    pixels = read(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(pixels[..., 0], deep // 257)  # 65535 is 255, and levels are cut down
    assert peak < 16 * deep.size  # bytes; all of it as floats takes 8 for each level, several times


def test_sixteen_bit_grey_is_read_in_either_byte_order() -> None:
    deep = np.array([[0, 257, 514, 65535]], dtype=">u2")
    fields = ((256, 4), (257, 1), (258, 16), (259, 1), (262, 1), (273, 8), (277, 1), (279, 8))
    entries = b"".join(struct.pack(">HHIHH", tag, 3, 1, value, 0) for tag, value in fields)
    data = b"MM\0*" + struct.pack(">I", 16) + deep.tobytes()
    data += struct.pack(">H", len(fields)) + entries + bytes(4)
    assert read(data)[0, :, 0].tolist() == [0, 1, 2, 255]


@pytest.mark.parametrize("orientation", [1, 3])
def test_sixteen_bit_grey_whose_nought_is_white_is_turned_over(orientation: int) -> None:
    deep = Pillow.fromarray(np.array([[0, 257, 514, 65535]], dtype=np.uint16))
    data = saved(deep, "TIFF", tiffinfo={262: 0, 274: orientation})
    shown = read(data)[0, :, 0].tolist()
    assert shown == ([255, 254, 253, 0] if orientation == 1 else [0, 253, 254, 255])


def test_the_transparent_level_of_sixteen_bit_grey_is_laid_on_white() -> None:
    data = saved(grey([[0, 257, 65535]], "uint16"), "PNG", transparency=257)
    assert read(data)[0, :, 0].tolist() == [0, 255, 255]


@pytest.mark.parametrize("mode", ["L", "1"])
def test_the_transparent_level_of_grey_is_laid_on_white(mode: str) -> None:
    picture = Pillow.fromarray(np.array([[0, 255]], dtype=np.uint8)).convert(mode)
    assert read(saved(picture, "PNG", transparency=0))[0, :, 0].tolist() == [255, 255]
    assert read(saved(picture, "PNG"))[0, :, 0].tolist() == [0, 255]


def test_the_transparent_colour_of_rgb_is_laid_on_white() -> None:
    pixels = np.array([[[1, 2, 3], [3, 2, 1]]], dtype=np.uint8)
    data = saved(pixels, "PNG", transparency=(1, 2, 3))
    assert read(data)[0].tolist() == [[255, 255, 255], [3, 2, 1]]


def on_white(colour: tuple[int, ...], alpha: int) -> list[float]:
    return [(part * alpha + 255 * (255 - alpha)) / 255 for part in colour]


@pytest.mark.parametrize("alpha", [0, 1, 64, 128, 254, 255])
@pytest.mark.parametrize(
    ("mode", "colour"), [("RGBA", (200, 0, 10)), ("LA", (100,)), ("PA", (30, 60, 90))]
)
def test_alpha_is_laid_on_white(mode: str, colour: tuple[int, ...], alpha: int) -> None:
    full = colour if len(colour) == 3 else colour * 3
    if mode == "PA":  # PNG keeps it as a palette with one alpha for each entry
        picture = Pillow.new("P", (3, 2))
        picture.putpalette(colour)
        data = saved(picture, "PNG", transparency=bytes([alpha]))
    else:
        data = saved(Pillow.new(mode, (3, 2), (*colour, alpha)), "PNG")
    pixels = read(data)
    assert pixels.shape == (2, 3, 3)
    assert np.abs(pixels - np.array(on_white(full, alpha))).max() < 1
    if alpha in (0, 255):
        assert np.array_equal(pixels[0, 0], on_white(full, alpha))


def test_a_palette_with_transparency_is_read_entry_by_entry() -> None:
    picture = Pillow.fromarray(np.array([[0, 1, 2, 3]], dtype=np.uint8))
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 8, 7])
    pixels = read(saved(picture, "PNG", transparency=b"\xff\x00\xff\x00"))
    assert pixels[0].tolist() == [[255, 0, 0], [255, 255, 255], [0, 0, 255], [255, 255, 255]]
    plain = read(saved(picture, "PNG"))
    assert plain[0].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 8, 7]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "GIF"])
def test_one_bit_pictures_are_black_and_white(kind: str) -> None:
    bits = noise(11, 5)[:, :, 0] > 127
    pixels = read(saved(Pillow.fromarray(bits), kind))
    assert np.array_equal(pixels, np.where(bits, 255, 0)[:, :, None].repeat(3, axis=2))


@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_of_one_pixel_is_read(kind: str) -> None:
    pixels = read(saved(Pillow.new("RGB", (1, 1), (250, 128, 3)), kind))
    assert pixels.shape == (1, 1, 3)
    assert np.abs(pixels[0, 0].astype(int) - (250, 128, 3)).max() <= 4


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_exif_turns_a_picture_upright(kind: str, orientation: int) -> None:
    colours = {"TL": (230, 30, 30), "TR": (30, 200, 30), "BR": (30, 30, 220), "BL": (220, 220, 40)}
    stored = np.zeros((32, 64, 3), dtype=np.uint8)
    stored[:16, :32], stored[:16, 32:] = colours["TL"], colours["TR"]
    stored[16:, :32], stored[16:, 32:] = colours["BL"], colours["BR"]
    exif = Pillow.Exif()
    exif[0x112] = orientation
    pixels = read(saved(stored, kind, exif=exif))
    assert pixels.shape == ((64, 32, 3) if orientation > 4 else (32, 64, 3))
    height, width = pixels.shape[:2]
    inside = (
        pixels[2 : height // 2 - 2, 2 : width // 2 - 2],
        pixels[2 : height // 2 - 2, width // 2 + 2 : -2],
        pixels[height // 2 + 2 : -2, width // 2 + 2 : -2],
        pixels[height // 2 + 2 : -2, 2 : width // 2 - 2],
    )
    slack = 0 if kind in ("PNG", "TIFF") else 20
    for corner, seen in zip(EXIF_CORNERS[orientation], inside, strict=True):
        assert np.abs(seen.astype(int) - colours[corner]).max() <= slack, corner


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(kind: str) -> None:
    first, second = np.zeros((6, 8, 3), np.uint8), np.full((6, 8, 3), 255, np.uint8)
    first[:3] = (255, 0, 0)
    more = [Pillow.fromarray(second)]
    data = saved(first, kind, save_all=True, append_images=more, lossless=True)
    with Pillow.open(io.BytesIO(data)) as picture:
        assert picture.n_frames == 2
    assert np.array_equal(read(data), first)


def test_float_pictures_from_nought_to_one_keep_their_whole_range() -> None:
    data = saved(grey([[0.0, 0.2, 0.6, 1.0]], "float32"), "TIFF")
    assert np.abs(read(data)[0, :, 0] - np.array([0, 51, 153, 255])).max() <= 1


def test_float_pictures_above_one_are_scaled_to_their_brightest() -> None:
    data = saved(grey([[0.0, 500.0, 1000.0]], "float32"), "TIFF")
    assert np.abs(read(data)[0, :, 0] - np.array([0, 127.5, 255])).max() <= 1


def test_negative_floats_are_black() -> None:
    data = saved(grey([[-3.0, -np.inf, 1.0]], "float32"), "TIFF")
    assert read(data)[0, :, 0].tolist() == [0, 0, 255]


@pytest.mark.parametrize("hole", [np.nan, np.inf], ids=["nan", "inf"])
def test_a_float_that_is_no_number_spoils_no_other_pixel(hole: float) -> None:
    pixels = read(saved(grey([[hole, 0.0, 0.5, 1.0]], "float32"), "TIFF"))
    assert np.abs(pixels[0, 1:, 0] - np.array([0, 127.5, 255])).max() <= 1


def test_a_float_picture_without_a_number_is_black() -> None:
    assert read(saved(grey([[np.nan, np.nan]], "float32"), "TIFF")).max() == 0


def test_whole_numbers_of_32_bits_are_cut_to_the_sixteen_bit_range() -> None:
    data = saved(grey([[-5, 0, 257, 65535, 70000]], "int32"), "TIFF")
    assert read(data)[0, :, 0].tolist() == [0, 0, 1, 255, 255]


@pytest.mark.parametrize("size", [(20_000, 1), (1, 20_000), (3000, 2)])
def test_the_longest_and_thinnest_picture_is_read_and_fitted(size: tuple[int, int]) -> None:
    pixels = read(saved(noise(*size), "PNG"))
    assert np.array_equal(pixels, noise(*size))
    fitted = fit(pixels, 28, 256 * 28 * 28)
    assert min(fitted.shape[:2]) == 28
    assert max(fitted.shape[:2]) <= 256 * 28
    assert encode(fitted).size == images.size_of(fitted)


@pytest.mark.parametrize("depth", [8, 16])
def test_colours_of_sixteen_bits_keep_their_upper_eight(depth: int) -> None:
    levels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5
    deep = levels.astype(np.uint16) * 257 if depth == 16 else levels
    _, data = cv2.imencode(".png", deep[:, :, ::-1])
    assert np.array_equal(read(data.tobytes()), levels)


# Colour profiles ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_a_colour_profile_for_srgb_changes_nothing(kind: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = smooth(16, 16)
    assert np.array_equal(read(saved(pixels, kind, icc_profile=profile)), read(saved(pixels, kind)))


def shipped(name: str) -> bytes:
    """The colour profile of a photograph that scikit-image ships."""
    with Pillow.open(Path(str(resources.files("skimage"))) / "data" / name) as picture:
        profile: bytes = picture.info["icc_profile"]
    return profile


def adobe_as_srgb(pixels: Pixels) -> npt.NDArray[np.float64]:
    """From the definitions of both spaces: decode, Adobe RGB to XYZ to sRGB (D65), encode."""
    to_xyz = np.array([[0.57667, 0.18556, 0.18823], [0.29734, 0.62736, 0.07529],
                       [0.02703, 0.07069, 0.99134]])  # fmt: skip
    to_srgb = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415],
                        [0.0557, -0.2040, 1.0570]])  # fmt: skip
    linear = np.clip((pixels / 255.0) ** 2.19921875 @ to_xyz.T @ to_srgb.T, 0, 1)
    dark = linear <= 0.0031308
    return np.where(dark, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055) * 255


def ink_profile(lightness: tuple[int, ...]) -> bytes:
    """A CMYK profile whose 16 corners, K fastest, are greys of the given lightness (0 to 255)."""
    same = bytes(range(256))
    one = struct.pack(">9i", *(65536 * (n % 4 == 0) for n in range(9)))
    corners = b"".join(bytes([level, 128, 128]) for level in lightness)
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + one + same * 4 + corners + same * 3
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    tags = struct.pack(">I4sII4sII", 2, b"A2B0", 156, len(table), b"wtpt", 156 + len(table), 20)
    head = struct.pack(">I4xI4s4s4s", 156 + len(table) + 20, 0x02400000, b"prtr", b"CMYK", b"Lab ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head + bytes(128 - len(head)) + tags + table + white


def test_a_picture_in_another_colour_space_is_converted_to_srgb() -> None:
    pixels = noise(64, 48) // 2 + 64  # well inside both spaces
    seen = read(saved(pixels, "PNG", icc_profile=shipped("rocket.jpg")))
    expected = adobe_as_srgb(pixels)
    inside = ((expected > 2) & (expected < 253)).all(axis=2)
    assert inside.mean() > 0.5
    assert np.abs(seen - expected)[inside].max() < 3
    assert np.abs(seen.astype(int) - pixels).max() > 10, "it was left as it was"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_a_profile_is_followed_in_every_format_that_holds_one(kind: str) -> None:
    pixels = np.full((16, 16, 3), (160, 120, 90), np.uint8)
    seen = read(saved(pixels, kind, icc_profile=shipped("rocket.jpg")))
    assert np.abs(seen - adobe_as_srgb(pixels)).max() < 8
    assert np.abs(seen.astype(int) - pixels).max() > 10


def test_a_profile_for_grey_is_followed_at_every_depth() -> None:
    profile, levels = shipped("page.png"), np.arange(0, 256, 5, dtype=np.uint8).reshape(4, 13)
    whole = Pillow.fromarray(levels)
    shallow = read(saved(whole, "PNG", icc_profile=profile))
    deep = read(saved(Pillow.fromarray(levels.astype(np.uint16) * 257), "PNG", icc_profile=profile))
    whole.putalpha(255)
    assert np.array_equal(shallow, deep)
    assert np.array_equal(shallow, read(saved(whole, "PNG", icc_profile=profile)))
    assert shallow[0, 0].tolist() == [0, 0, 0]
    assert shallow[-1, -1].tolist() == [255, 255, 255]
    assert np.abs(shallow[:, :, 0].astype(int) - levels).max() > 10
    assert (np.diff(shallow[:, :, 0].ravel().astype(int)) >= 0).all()


def test_a_profile_changes_colours_and_not_what_is_transparent() -> None:
    pixels = np.full((2, 2, 4), (160, 120, 90, 255), np.uint8)
    pixels[0, :, 3] = 0
    seen = read(saved(pixels, "PNG", icc_profile=shipped("rocket.jpg")))
    assert (seen[0] == 255).all()
    assert np.abs(seen[1] - adobe_as_srgb(pixels[1:, :, :3])).max() < 3


def test_a_palette_s_colours_are_converted_too() -> None:
    picture = Pillow.new("P", (2, 2))
    picture.putpalette((160, 120, 90))
    seen = read(saved(picture, "PNG", icc_profile=shipped("rocket.jpg")))
    assert np.abs(seen - adobe_as_srgb(np.array([[[160, 120, 90]]], np.uint8))).max() < 3


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_inks_are_seen_as_their_profile_says(kind: str) -> None:
    profile = ink_profile((255, 0, *[128] * 13, 0))  # no ink, black, others, all: the darkest
    for inks, level in (((0, 0, 0, 0), 255), ((0, 0, 0, 255), 0), ((255, 0, 0, 0), 119)):
        seen = read(saved(Pillow.new("CMYK", (8, 8), inks), kind, icc_profile=profile))
        assert np.abs(seen.astype(int) - level).max() <= 3, inks  # L* = 50 is 119 in sRGB


@pytest.mark.parametrize(
    "profile",
    [
        b"no profile",
        bytes(128),
        shipped("rocket.jpg")[:-300],
        shipped("rocket.jpg")[:128] + bytes(432),
        shipped("page.png"),
        ink_profile((0,) * 16),
    ],
    ids=["text", "nought", "cut", "no tags", "of grey", "of inks"],
)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_a_profile_that_is_broken_or_of_another_kind_changes_nothing(
    profile: bytes, kind: str
) -> None:
    known = {"lossless": True} if kind == "WEBP" else {}
    assert np.array_equal(read(saved(noise(5, 4), kind, icc_profile=profile, **known)), noise(5, 4))


def test_broken_bytes_in_a_profile_raise_nothing_but_a_picture_error() -> None:
    rng = random.Random(7)
    for whole in (shipped("rocket.jpg"), shipped("page.png"), ink_profile((255, *range(15)))):
        mode = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}[whole[16:20]]
        for _ in range(60):
            profile = bytearray(whole)
            for _ in range(rng.choice((1, 2, 8))):
                at = rng.randrange(rng.choice((130, 250, len(whole))))
                profile[at] = rng.choice((0, 255, 7, 128))
            data = saved(Pillow.new(mode, (4, 4), None), "TIFF", icc_profile=bytes(profile))
            assert read_or_refused(data) is not None


# Within a folder ---------------------------------------------------------------------------------


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A folder of pictures, beside one that is nobody's business."""
    (tmp_path / "album" / "2024").mkdir(parents=True)
    for name in ("album/a.png", "album/2024/b.png", "secret.png"):
        (tmp_path / name).write_bytes(saved(noise(4, 4), "PNG"))
    return tmp_path / "album"


@pytest.mark.parametrize("name", ["a.png", "2024/b.png", "./a.png", "2024//b.png"])
def test_a_picture_in_a_folder_is_read_from_there(name: str, album: Path) -> None:
    assert np.array_equal(read(images.within(album, name)), noise(4, 4))


def outside(folder: Path, name: str) -> PictureError:
    with pytest.raises(PictureError) as caught:
        read(images.within(folder, name))
    assert caught.value.reason == BadPicture.OUTSIDE
    return caught.value


@pytest.mark.parametrize("name", ["../secret.png", "2024/../../secret.png", "2024/../a.png", ".."])
def test_a_name_that_goes_up_is_refused_as_outside(name: str, album: Path) -> None:
    assert name in str(outside(album, name))


def test_an_absolute_name_is_refused_as_outside(album: Path) -> None:
    outside(album, str(album.parent / "secret.png"))
    outside(album, str(album / "a.png"))


def test_a_link_that_leaves_its_folder_is_refused_as_outside(album: Path) -> None:
    (album / "link.png").symlink_to("../secret.png")
    (album / "up").symlink_to(album.parent)
    (album / "twice.png").symlink_to("link.png")
    (album / "nowhere.png").symlink_to("/nowhere/at/all.png")
    for name in ("link.png", "up/secret.png", "twice.png", "nowhere.png"):
        outside(album, name)


def test_a_folder_whose_name_begins_alike_is_outside(album: Path) -> None:
    album.with_name("album2").mkdir()
    (album / "link").symlink_to("../album2")
    outside(album, "link/a.png")


def test_a_link_that_stays_in_its_folder_is_followed(album: Path) -> None:
    (album / "link.png").symlink_to("2024/b.png")
    album.with_name("shelf").symlink_to(album)
    assert np.array_equal(read(images.within(album, "link.png")), noise(4, 4))
    assert np.array_equal(read(images.within(album.with_name("shelf"), "a.png")), noise(4, 4))


@pytest.mark.parametrize("name", ["c.png", "a.png/b.png", "", "a\0b", "a" * 5000, "circle/a.png"])
def test_a_name_in_a_folder_that_is_no_file_is_refused_as_missing(name: str, album: Path) -> None:
    (album / "circle").symlink_to("circle")
    with pytest.raises(PictureError) as caught:
        read(images.within(album, name))
    assert caught.value.reason == BadPicture.MISSING


# Fitting -----------------------------------------------------------------------------------------

sides = st.integers(1, 20_000)
units = st.sampled_from((14, 28, 32))
caps = st.integers(1, 448)  # in patches


@steady
@given(st.builds(Size, sides, sides), units, caps)
@example(Size(20_000, 1), 28, 256)
@example(Size(1, 20_000), 28, 1)
def test_a_fitted_size_is_whole_patches_under_the_cap(size: Size, unit: int, cap: int) -> None:
    fitted = fit_size(size, unit, cap * unit * unit)
    assert fitted.width % unit == 0
    assert fitted.height % unit == 0
    assert min(fitted) >= unit
    assert fitted.width * fitted.height <= cap * unit * unit


@steady
@given(st.builds(Size, sides, sides), units, caps)
def test_a_fitted_size_fits_as_it_is(size: Size, unit: int, cap: int) -> None:
    fitted = fit_size(size, unit, cap * unit * unit)
    assert fit_size(fitted, unit, cap * unit * unit) == fitted


@steady
@given(st.builds(Size, sides, sides), units, caps)
def test_a_fitted_size_keeps_the_aspect_roughly(size: Size, unit: int, cap: int) -> None:
    shrink = min(1.0, (cap / (size.width * size.height)) ** 0.5 * unit)
    assume(min(size) * shrink >= 2 * unit)  # thinner: a patch is most of its breadth
    fitted = fit_size(size, unit, cap * unit * unit)
    ratio = (fitted.width / fitted.height) / (size.width / size.height)
    assert 0.5 <= ratio <= 2
    if min(size) * shrink >= 8 * unit:
        assert 0.85 <= ratio <= 1.18


@steady
@given(st.integers(1, 300), st.integers(1, 300), units)
def test_under_the_cap_each_side_goes_to_its_nearest_patch(w: int, h: int, unit: int) -> None:
    fitted = fit_size(Size(w, h), unit, 10**9)
    for side, was in zip(fitted, (w, h), strict=True):
        assert abs(side - was) <= unit / 2 or (side == unit and was < unit)


@pytest.mark.parametrize(
    ("size", "fitted"),
    [
        (Size(448, 448), Size(448, 448)),
        (Size(4032, 3024), Size(504, 392)),
        (Size(100, 100), Size(112, 112)),
        (Size(1, 1), Size(28, 28)),
        (Size(449, 449), Size(448, 448)),
    ],
)
def test_sizes_of_the_training_cap_are_as_they_were(size: Size, fitted: Size) -> None:
    assert fit_size(size, 28, 256 * 28 * 28) == fitted


def test_a_fitting_picture_is_left_untouched() -> None:
    pixels = noise(56, 28)
    before = pixels.tobytes()
    assert fit(pixels, 28, 2 * 28 * 28) is pixels
    assert pixels.tobytes() == before


@pytest.mark.parametrize("size", [(1, 1), (13, 200), (57, 29), (500, 500), (3000, 40)])
def test_a_picture_comes_out_in_its_fitted_size(size: tuple[int, int]) -> None:
    pixels = noise(*size)
    fitted = fit(pixels, 28, 16 * 28 * 28)
    assert images.size_of(fitted) == fit_size(Size(*size), 28, 16 * 28 * 28)
    assert fitted.dtype == np.uint8
    assert np.array_equal(pixels, noise(*size)), "the original was written to"


@pytest.mark.parametrize("size", [(10, 10), (57, 29), (300, 500)])
def test_a_picture_of_one_colour_stays_so(size: tuple[int, int]) -> None:
    pixels = np.full((size[1], size[0], 3), (12, 200, 77), dtype=np.uint8)
    assert (fit(pixels, 28, 16 * 28 * 28) == (12, 200, 77)).all()


def test_shrinking_averages_whole_blocks() -> None:
    pixels = noise(112, 112)
    blocks = pixels.reshape(28, 4, 28, 4, 3).mean(axis=(1, 3))
    assert np.abs(fit(pixels, 28, 28 * 28) - blocks).max() <= 1


def test_a_picture_as_read_can_be_fitted_and_encoded() -> None:
    pixels = read(saved(noise(40, 30), "PNG"))
    image = encode(fit(pixels, 28, 256 * 28 * 28))
    assert image.size == Size(28, 28)


# Encoding ----------------------------------------------------------------------------------------


@steady
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_encoding_and_decoding_lose_nothing(width: int, height: int, seed: int) -> None:
    pixels = noise(width, height, seed)
    image = encode(pixels)
    assert image.size == Size(width, height)
    assert np.array_equal(decode(image), pixels)


def test_another_decoder_sees_the_same_pixels() -> None:
    image = encode(noise(30, 20))
    with Pillow.open(io.BytesIO(image.png)) as picture:
        assert picture.format == "PNG"
        assert picture.mode == "RGB"
        assert np.array_equal(np.asarray(picture), noise(30, 20))
    assert np.array_equal(read(image.png), noise(30, 20))


@pytest.mark.parametrize(
    "view",
    [
        lambda pixels: pixels[:, ::-1],
        lambda pixels: pixels[::2, ::3],
        lambda pixels: pixels.transpose(1, 0, 2),
        lambda pixels: np.asfortranarray(pixels),
        lambda pixels: np.flip(pixels, axis=2),
    ],
    ids=["mirrored", "thinned", "transposed", "fortran", "bgr"],
)
def test_a_view_is_encoded_as_a_copy_of_it_would_be(view: Callable[[Pixels], Pixels]) -> None:
    pixels = view(noise(12, 9))
    assert encode(pixels) == encode(np.ascontiguousarray(pixels))
    assert np.array_equal(decode(encode(pixels)), pixels)


def test_the_same_pixels_give_the_same_image() -> None:
    first, second = encode(smooth(64, 48)), encode(smooth(64, 48))
    assert first.png == second.png
    assert first == second


def test_one_level_of_one_pixel_changes_the_hash() -> None:
    pixels = smooth(8, 8)
    other = pixels.copy()
    other[7, 7, 2] ^= 1
    assert encode(pixels).sha256 != encode(other).sha256


@pytest.mark.parametrize("level", [0, 1, 9])
def test_the_hash_does_not_depend_on_the_encoder(
    level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = encode(smooth(64, 48))
    monkeypatch.setattr(images, "PNG_LEVEL", level)
    other = encode(smooth(64, 48))
    assert other.png != usual.png
    assert other.sha256 == usual.sha256
    assert np.array_equal(decode(other), decode(usual))


def test_equal_bytes_in_other_sizes_have_other_hashes() -> None:
    pixels = noise(12, 1)
    shapes = [(1, 12, 3), (12, 1, 3), (2, 6, 3), (6, 2, 3), (3, 4, 3), (4, 3, 3)]
    assert len({encode(pixels.reshape(shape)).sha256 for shape in shapes}) == len(shapes)


def test_the_hash_is_of_the_size_and_the_pixels() -> None:
    """Stored rows hold it: another definition would orphan every store."""
    pixels = noise(7, 3)
    assert encode(pixels).sha256 == hashlib.sha256(b"7x3" + pixels.tobytes()).hexdigest()


def test_decoded_pixels_are_fresh_and_may_be_drawn_on() -> None:
    image = encode(noise(6, 6))
    decode(image)[:] = 0
    assert np.array_equal(decode(image), noise(6, 6))


@pytest.mark.parametrize(
    "data", [b"", b"no png", encode(noise(6, 6)).png[:20]], ids=["none", "text", "cut"]
)
def test_bytes_that_do_not_decode_are_named_by_their_hash(data: bytes) -> None:
    with pytest.raises(ValueError, match="abababababab"):
        decode(Image(data, Size(6, 6), "ab" * 32))
