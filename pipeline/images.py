"""The only way in for a picture, and the only codec. Frames of a video come in through `video`.

What comes from outside goes through `read` (hostile until proven a picture) and `fit` (once, to
the patch grid). From there on a picture is an `Image`: lossless, hashed, in the pixels that the
model sees, and no code scales it again.
"""

import hashlib
import io
import struct
import warnings
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, cast

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageCms, ImageOps, UnidentifiedImageError

from pipeline.types import Image, Size

Pixels = npt.NDArray[np.uint8]  # (height, width, 3), RGB

cv2.setNumThreads(1)  # parallelism is over problems; threads under it only get in each other's way

MAX_BYTES = 64 * 2**20
MAX_SIDE = 20_000  # px; the longest picture that is opened at all
MAX_AREA = 64 * 10**6  # px; what is decoded at most: 192 MB as RGB
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
BAND = 256  # rows of deep grey that are turned into eight bits at a time
PHOTOMETRIC = 262  # TIFF's tag that says which way grey goes
SRGB = ImageCms.createProfile("sRGB")
PNG_LEVEL = 3  # zlib's; 6 saves 4 % of synthetic scenes and takes three times as long


# What Pillow's decoders and its EXIF code raise when a broken file makes them trip.
BROKEN = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError,
    EOFError, RuntimeError, MemoryError, struct.error,
)  # fmt: skip


class BadPicture(StrEnum):
    MISSING = "missing"
    OUTSIDE = "outside"  # of the folder that it was to be in
    EMPTY = "empty"
    TOO_LARGE = "too_large"
    NOT_A_PICTURE = "not_a_picture"
    NOT_A_VIDEO = "not_a_video"
    TRUNCATED = "truncated"
    TOO_SHORT = "too_short"  # a video of fewer frames than are asked for
    TOO_LONG = "too_long"


class PictureError(ValueError):
    """A picture or a video that is refused. ``reason`` is one of `BadPicture`."""

    def __init__(self, reason: BadPicture, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def within(folder: Path, name: str) -> Path:
    """Where a file of a folder lies, all links followed; ``name`` may be hostile, ``folder`` not.

    Raises:
        PictureError: if the name is absolute or goes up, or a link leads out of the folder.
    """
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise PictureError(BadPicture.OUTSIDE, f"{name!r} is no path inside a folder")
    try:
        place = (folder / name).resolve()
    except (OSError, ValueError, RuntimeError):  # no such name, or links that go round in a circle
        raise PictureError(BadPicture.MISSING, repr(name[:80])) from None
    if not place.is_relative_to(folder.resolve()):
        raise PictureError(BadPicture.OUTSIDE, f"{name!r} leads to {place}")
    return place


def read(source: Path | bytes) -> Pixels:
    """Opens an untrusted picture: checked, turned upright as its EXIF says, converted to sRGB.

    Transparent pixels are laid on white. Of an animation the first frame is taken. A picture with
    a colour profile is converted by it; a profile that is broken or not for it is ignored.

    Raises:
        PictureError: if it is missing, empty, larger than ``MAX_*``, cut short or no picture.
    """
    data = _bytes(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of broken files; MAX_AREA is stricter than the bomb's
            with Pillow.open(io.BytesIO(data), formats=FORMATS) as picture:
                width, height = picture.size
                if max(width, height) > MAX_SIDE or width * height > MAX_AREA:
                    raise PictureError(BadPicture.TOO_LARGE, f"{width}×{height} px")
                picture.load()
                return _rgb(ImageOps.exif_transpose(picture), negative=_is_negative(picture))
    except UnidentifiedImageError:
        raise PictureError(BadPicture.NOT_A_PICTURE, f"starts with {data[:8]!r}") from None
    except Pillow.DecompressionBombError as error:
        raise PictureError(BadPicture.TOO_LARGE, str(error)) from None
    except PictureError:
        raise
    except BROKEN as error:
        raise PictureError(BadPicture.TRUNCATED, str(error)) from None


def _bytes(source: Path | bytes) -> bytes:
    with opened(source, MAX_BYTES) as stream:
        return stream.read()


def opened(source: Path | bytes, max_bytes: int) -> BinaryIO:
    """A stream of a source that is there and neither empty nor too large; closing it is the caller's.

    Raises:
        PictureError: if it is missing, cannot be opened, is empty, or has more than ``max_bytes``.
    """
    if isinstance(source, bytes):
        stream, size = cast(BinaryIO, io.BytesIO(source)), len(source)
    else:
        try:
            if not source.is_file():  # a pipe would be waited for
                raise FileNotFoundError("no such file")
            stream, size = source.open("rb"), source.stat().st_size
        except (OSError, ValueError) as error:  # may not be read, or a name that no file can have
            raise PictureError(BadPicture.MISSING, f"{source.name[:80]}: {error}") from None
    if 0 < size <= max_bytes:
        return stream
    stream.close()
    raise PictureError(BadPicture.TOO_LARGE if size else BadPicture.EMPTY, f"{size} bytes")


def _is_negative(picture: Pillow.Image) -> bool:
    """Whether nought is white in a TIFF of sixteen bits. Pillow turns those of eight bits itself."""
    return picture.mode.startswith("I;16") and getattr(picture, "tag_v2", {}).get(PHOTOMETRIC) == 0


def _rgb(picture: Pillow.Image, *, negative: bool) -> Pixels:
    alpha = None
    if picture.mode.startswith("I;16") or picture.mode in ("I", "F"):
        picture, alpha = _shallow(picture, negative=negative)
    elif picture.has_transparency_data:
        grey = picture.mode in ("1", "L", "LA")  # a profile for grey takes no colours
        picture = picture.convert("LA" if grey else "RGBA")
        alpha = picture.getchannel("A")
        picture = picture.convert("L" if grey else "RGB")
    elif picture.mode in ("1", "P"):
        picture = picture.convert("L" if picture.mode == "1" else "RGB")
    picture = _srgb(picture)
    if alpha is not None:
        paper = Pillow.new("RGBA", picture.size, "white")
        picture.putalpha(alpha)
        picture = Pillow.alpha_composite(paper, picture).convert("RGB")
    return np.asarray(picture, dtype=np.uint8)


def _shallow(picture: Pillow.Image, *, negative: bool) -> tuple[Pillow.Image, Pillow.Image | None]:
    """Deep grey as eight bits, and its alpha if one of its levels is transparent."""
    deep = np.asarray(picture)
    top = 65535.0
    if picture.mode == "F":
        top = float(deep.max(initial=1.0, where=np.isfinite(deep)))
    level = picture.info.get("transparency")
    shown, seen = np.empty(deep.shape, np.uint8), np.empty(deep.shape, np.uint8)
    for first in range(0, len(deep), BAND):  # as floats the whole would take eight times its bytes
        rows = slice(first, first + BAND)
        band = deep[rows].astype(np.float64)
        seen[rows] = np.where(band == level, 0, 255)
        band = np.nan_to_num(band, nan=0, posinf=top, neginf=0)
        shown[rows] = np.clip((top - band if negative else band) * 255 / top, 0, 255)
    grey = Pillow.fromarray(shown)
    grey.info["icc_profile"] = picture.info.get("icc_profile")
    return grey, Pillow.fromarray(seen) if isinstance(level, int) else None


def _srgb(picture: Pillow.Image) -> Pillow.Image:
    """RGB for a screen, by the picture's colour profile if that says how."""
    profile = picture.info.get("icc_profile")
    if not isinstance(profile, bytes):
        return picture.convert("RGB")
    try:
        colours = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        shown = ImageCms.profileToProfile(picture, colours, SRGB, outputMode="RGB")
    except (ImageCms.PyCMSError, *BROKEN):
        return picture.convert("RGB")
    assert shown is not None  # it is not asked to work in place
    return shown


def fit_size(size: Size, unit: int, max_pixels: int) -> Size:
    """The nearest size whose sides are multiples of ``unit`` px and whose area keeps the cap."""
    shrink = min(1.0, (max_pixels / (size.width * size.height)) ** 0.5)
    width, height = (max(1, round(side * shrink / unit)) for side in size)
    while width * height * unit * unit > max_pixels and max(width, height) > 1:
        width, height = (width - 1, height) if width >= height else (width, height - 1)
    return Size(width * unit, height * unit)


def fit(pixels: Pixels, unit: int, max_pixels: int) -> Pixels:
    """A picture on the patch grid: resized to `fit_size`, or as it is where it fits already."""
    return resize(pixels, fit_size(size_of(pixels), unit, max_pixels))


def resize(pixels: Pixels, size: Size) -> Pixels:
    """The one place where a picture changes size."""
    if size == size_of(pixels):
        return pixels
    shrinks = size.width * size.height < pixels.shape[0] * pixels.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, size, interpolation=how), dtype=np.uint8)


def size_of(pixels: Pixels) -> Size:
    return Size(pixels.shape[1], pixels.shape[0])


def png(pixels: Pixels) -> bytes:
    """Lossless bytes of a picture, the same for the same pixels."""
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    ok, data = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL])
    if not ok:
        raise ValueError(f"OpenCV could not encode a picture of shape {pixels.shape}")
    return data.tobytes()


def sent(pixels: Pixels, encoding: str, quality: int | None) -> bytes:
    """Bytes of a picture as it is sent to a server: ``webp``, lossless, or ``jpeg`` of a quality."""
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    lossless = [cv2.IMWRITE_WEBP_QUALITY, 101]  # above 100 nothing is lost
    how = lossless if encoding == "webp" else [cv2.IMWRITE_JPEG_QUALITY, quality or 95]
    ok, data = cv2.imencode(f".{encoding}", bgr, how)
    if not ok:
        raise ValueError(f"OpenCV could not encode a picture of shape {pixels.shape}")
    return data.tobytes()


def encode(pixels: Pixels) -> Image:
    """Wraps pixels (height, width, 3) RGB as an `Image`."""
    size = size_of(pixels)
    digest = hashlib.sha256(f"{size.width}x{size.height}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return Image(png=png(pixels), size=size, sha256=digest.hexdigest())


def decode(image: Image) -> Pixels:
    """The pixels of an `Image` that `encode` made; a fresh array, free to be drawn on."""
    data = np.frombuffer(image.png, np.uint8)
    try:
        bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    except cv2.error:  # a header of more pixels than it takes
        bgr = None
    if bgr is None:
        raise ValueError(f"image {image.sha256[:12]} does not decode: the store is damaged")
    pixels = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)
    if size_of(pixels) != image.size:
        raise ValueError(f"image {image.sha256[:12]} is not of its size: the store is damaged")
    return pixels
