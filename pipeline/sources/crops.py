"""Windows of photographs: opened, cut out, resized, and where things end up after that.

A place in a photograph is in its own pixels; `Crop` takes it to the pixels of the picture that is
shown. Coordinates are of pixel edges, so the middle of pixel 3 is at 3.5.
"""

import hashlib
import math
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from random import Random

import cv2
import numpy as np

from pipeline.geometry import Corners, bounds, clip_box
from pipeline.images import Pixels, resize
from pipeline.types import Point, Size

ENLARGED = 4.0  # times, at most: more shows nothing more
EVEN = 1.08  # below a change of aspect of 8 % the larger picture is the better one
DISTORTED = 1.15  # the largest change of aspect

FONT = cv2.FontFace("sans")
WEIGHT = 700


def wheel_file(name: str, sha256: str) -> bytes:
    """A data file of the installed scikit-image wheel, found without importing scikit-image.

    Raises:
        ModuleNotFoundError: without scikit-image.
        ValueError: if the file is not the one whose truth is known.
    """
    package = find_spec("skimage")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("the photographs come with scikit-image: install scikit-image")
    data = (Path(package.submodule_search_locations[0]) / "data" / name).read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ValueError(
            f"{name} of scikit-image is not the file that was annotated: "
            f"its sha256 is {found}, not {sha256}"
        )
    return data


@dataclass(frozen=True, slots=True)
class Crop:
    """A window of a photograph and what is done to it before it is shown."""

    window: Corners  # px of the photograph
    size: Size  # px of the picture shown
    mirrored: tuple[bool, bool]  # left to right, top to bottom
    tone: tuple[float, float]  # contrast (a factor) and brightness (added), of levels 0..255

    @property
    def scale(self) -> tuple[float, float]:
        """px shown for a px of the photograph, across and down."""
        (left, top), (right, bottom) = self.window
        return self.size.width / (right - left), self.size.height / (bottom - top)

    def cut(self, photograph: Pixels) -> Pixels:
        (left, top), (right, bottom) = self.window
        pixels = resize(photograph[top:bottom, left:right], self.size)
        across, down = (-1 if mirrored else 1 for mirrored in self.mirrored)
        contrast, brightness = self.tone
        toned = (pixels[::down, ::across].astype(np.float32) - 128) * contrast + 128 + brightness
        return np.ascontiguousarray(np.clip(np.rint(toned), 0, 255).astype(np.uint8))

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a place of the photograph lies in the picture shown."""
        across, down = self.scale
        x, y = (x - self.window[0].x) * across, (y - self.window[0].y) * down
        return (
            self.size.width - x if self.mirrored[0] else x,
            self.size.height - y if self.mirrored[1] else y,
        )

    def box(self, box: Corners) -> Corners:
        """A box of the photograph in whole pixels of the picture shown, clipped to it."""
        ends = [self.place(*corner) for corner in box]
        first, last = (Point(round(x), round(y)) for x, y in ends)
        return clip_box(bounds((first, last)), self.size)

    def facts(self) -> dict[str, object]:
        """Its part of a scene's geometry."""
        return {
            "window": [*self.window[0], *self.window[1]],
            "size": list(self.size),
            "mirrored": [int(mirrored) for mirrored in self.mirrored],
            "tone": list(self.tone),
        }


def fitted(window: Corners, canvas: Size, unit: int) -> Size | None:
    """The size to show a window at, px: sides multiples of ``unit``, no longer than the canvas's
    longer side, in area no more than the canvas; the window's aspect, then the largest.

    None if every such size changes the aspect by more than 15 %.
    """
    (left, top), (right, bottom) = window
    aspect = (bottom - top) / (right - left)
    most = min(max(canvas), ENLARGED * max(right - left, bottom - top))
    sizes = []
    for columns in range(1, math.floor(most / unit) + 1):
        for rows in {max(1, math.floor(columns * aspect)), math.ceil(columns * aspect)}:
            size = Size(columns * unit, rows * unit)
            change = rows / columns / aspect
            change = max(change, 1 / change)
            fits = size.height <= most and size.width * size.height <= canvas.width * canvas.height
            if fits and change <= DISTORTED:
                sizes.append((max(change, EVEN), -size.width * size.height, size))
    return min(sizes)[2] if sizes else None


def some_tone(rng: Random) -> tuple[float, float]:
    """A mild change of contrast and brightness, so that one window is not always the same."""
    return round(rng.uniform(0.85, 1.15), 2), round(rng.uniform(-14, 14), 1)


def write(pixels: Pixels, letter: str, x: int, y: int, height: int, ink: int) -> None:
    """A letter in grey level ``ink``, centred on (x, y), in place."""
    frame = (pixels.shape[1], pixels.shape[0])
    left, top, wide, tall = cv2.getTextSize(frame, letter, (0, 0), FONT, height, WEIGHT)
    origin = (round(x - left - wide / 2), round(y - top - tall / 2))
    cv2.putText(pixels, letter, origin, (ink, ink, ink), FONT, height, WEIGHT)


def badge(pixels: Pixels, letter: str, x: int, y: int, height: int) -> None:
    """A black letter on a white disc around (x, y), in place: legible on any ground."""
    radius = round(0.75 * height)
    cv2.circle(pixels, (x, y), radius, (255, 255, 255), -1, cv2.LINE_AA)
    cv2.circle(pixels, (x, y), radius, (0, 0, 0), 1, cv2.LINE_AA)
    write(pixels, letter, x, y, height, 0)
