"""What crude looks see by: masks of a colour, patches, letters, names in a question.

Names of colours are known, as anyone knows what red looks like; nothing of a scene is.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.images import Pixels
from pipeline.reward import LETTERS
from pipeline.tasks.shapes import COLOURS, FIGURES, WEIGHT

Mask = npt.NDArray[np.bool_]
Spot = tuple[float, float]
Colour = tuple[int, int, int]

GLYPH = (12, 16)  # px: what letters are compared at
MIDDLE: Spot = (112.0, 112.0)  # of a picture, for what is not found
LEAST_ALIKE = 0.35  # correlation below which a patch is no letter


@dataclass(frozen=True, slots=True)
class Blob:
    """A connected patch: its middle, the box around it and its area, px."""

    x: float
    y: float
    left: int
    top: int
    wide: int
    tall: int
    area: int

    @property
    def at(self) -> Spot:
        return self.x, self.y


def like(pixels: Pixels, colour: Colour, near: int = 45) -> Mask:
    """Where no channel differs from a colour by more than ``near``."""
    return np.asarray((np.abs(pixels.astype(int) - colour) < near).all(axis=2))


def coloured(pixels: Pixels, least: int = 70) -> Mask:
    """Where the picture is far from grey."""
    return np.asarray(np.ptp(pixels.astype(int), axis=2) > least)


def blobs(mask: Mask, least: int) -> list[Blob]:
    """Connected patches of at least so many px, from top to bottom."""
    count, _, stats, middles = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    found = []
    for n in range(1, count):
        left, top, wide, tall, area = (int(value) for value in stats[n])
        if area >= least:
            x, y = (float(value) for value in middles[n])
            found.append(Blob(x, y, left, top, wide, tall, area))
    return found


def read(pixels: Pixels, ink: Colour, letters: str) -> dict[str, Spot]:
    """Where each of some letters stands, written in an ink; those that are not found are left out."""
    far = np.abs(pixels.astype(np.float32) - np.array(ink, np.float32)).max(axis=2)
    strength = np.clip(1 - far / 150, 0, 1)
    return _matched(strength, blobs(like(pixels, ink, 75), 5), letters)


def tags(pixels: Pixels, letters: str) -> dict[str, Spot]:
    """Where tags, white on black, carry each of some letters."""
    grey = pixels.max(axis=2)
    dark = cv2.dilate((grey < 40).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    light = np.asarray((pixels.min(axis=2) > 130) & (np.ptp(pixels.astype(int), axis=2) < 20))
    found = []
    for blob in blobs(light, 4):
        ring = _window(dark, blob, 1)
        if blob.tall < 15 and blob.wide < 15 and ring[[0, -1]].mean() > 0.9:
            found.append(blob)
    return _matched(grey.astype(np.float32) / 255, found, letters)


def _matched(
    strength: npt.NDArray[np.float32], found: Sequence[Blob], letters: str
) -> dict[str, Spot]:
    """Letters and patches, one to one, best match first."""
    pairs = []
    for blob in found:
        glyph = cv2.resize(_window(strength, blob, 0), GLYPH, interpolation=cv2.INTER_AREA)
        for letter in letters:
            shape, aspect = _shape(letter)
            unlike = abs(np.log(blob.wide / blob.tall / aspect))
            pairs.append((_correlation(glyph, shape) - 0.5 * float(unlike), letter, blob))
    spots: dict[str, Spot] = {}
    for worth, letter, blob in sorted(pairs, key=lambda pair: -pair[0]):
        if worth > LEAST_ALIKE and letter not in spots and blob.at not in spots.values():
            spots[letter] = blob.at
    return spots


@cache
def _shape(text: str) -> tuple[npt.NDArray[np.float32], float]:
    """How a letter looks at `GLYPH`, and how wide it is for its height."""
    sheet = np.zeros((64, 64, 3), np.uint8)
    cv2.putText(sheet, text, (16, 48), (255, 255, 255), cv2.FontFace("sans"), 40, WEIGHT)
    (ink,) = blobs(sheet[:, :, 0] > 0, 1)[:1]
    cut = _window(sheet[:, :, 0].astype(np.float32) / 255, ink, 0)
    return cv2.resize(cut, GLYPH, interpolation=cv2.INTER_AREA), ink.wide / ink.tall


def _correlation(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float((a * b).sum()) / size if size else 0.0


def _window(plane: Any, blob: Blob, room: int) -> Any:
    top, left = max(0, blob.top - room), max(0, blob.left - room)
    return plane[top : blob.top + blob.tall + room, left : blob.left + blob.wide + room]


def named(question: str) -> list[str]:
    """The figures that a text names, each once, in its order."""
    found = re.findall(rf"\b({'|'.join(COLOURS)}) ({'|'.join(FIGURES)})", question)
    return list(dict.fromkeys(" ".join(pair) for pair in found))


def nearest_option(value: float, options: Sequence[str]) -> str:
    """A number as an answer: itself, or the letter of the option that comes nearest."""
    if not options:
        return f"{value:g}"
    return LETTERS[min(range(len(options)), key=lambda n: abs(float(options[n]) - value))]


def largest(picture: Pixels, name: str) -> tuple[float, float]:
    """Where the largest patch of a figure's colour is; the middle if there is none."""
    found = blobs(like(picture, COLOURS[name.split()[0]]), 10)
    height, width = picture.shape[:2]
    return max(found, key=lambda blob: blob.area).at if found else (width / 2, height / 2)


def best_option(options: Sequence[str], worth: Callable[[str], float]) -> str:
    """The letter of the option that is worth most."""
    return LETTERS[max(range(len(options)), key=lambda n: worth(options[n]))]
