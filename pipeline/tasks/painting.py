"""The picture of a `Shot`: a tiled floor with shadows, solids in their colours, tags to name them by."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

import cv2
import numpy as np

from pipeline.images import Pixels
from pipeline.tasks.shapes import COLOURS
from pipeline.tasks.solids import Array, Camera, Shot, Solid, Vector
from pipeline.types import Point

FLOOR, BACKDROP = (206, 203, 196), (226, 231, 238)
FLOOR_REACH = 8.0  # units from the middle to where the tiles have faded into the plain floor
FONT = cv2.FontFace("sans")


@cache
def _tiles(grain: int) -> Array:
    """Brightness of the bare floor from above, ``grain`` px to a unit: tiles fading outwards."""
    along = (np.arange(round(2 * FLOOR_REACH * grain), dtype=np.float32) + 0.5) / grain
    odd = np.add.outer(along // 1, along // 1) % 2
    away = np.hypot.outer(along - FLOOR_REACH, along - FLOOR_REACH) / FLOOR_REACH
    return np.asarray(255 - 36 * odd * np.clip(1.3 * (1 - away), 0, 1), np.uint8)


def floor(solids: Sequence[Solid], light: Vector, grain: int) -> Array:
    """Brightness 0..255 of the floor from above: `_tiles` and soft shadows."""
    lit = np.full_like(_tiles(grain), 255)
    for solid in solids:
        points = solid.hull
        fallen = points[:, :2] - points[:, 2:] * (np.array(light[:2]) / light[2])
        corners = np.round((fallen + FLOOR_REACH) * grain).astype(np.int32)
        cv2.fillConvexPoly(lit, cv2.convexHull(corners), 145)
    lit = np.asarray(cv2.GaussianBlur(lit, (0, 0), 0.06 * grain), np.uint8)
    return np.asarray(cv2.multiply(_tiles(grain), lit, scale=1 / 255))


def paint(shot: Shot, solids: Sequence[Solid], camera: Camera, ground: Array) -> Pixels:
    """The picture of a shot: backdrop, floor, solids; samples averaged into pixels."""
    rows, columns = shot.owner.shape
    d, f, (cx, cy) = shot.detail, camera.focal, camera.centre
    unit = 2 * FLOOR_REACH / ground.shape[0]
    spread = np.array([[unit, 0, -FLOOR_REACH], [0, unit, -FLOOR_REACH], [0, 0, 1]])
    onto = np.stack([*camera.axes[:, :2].T, -camera.axes @ camera.eye], axis=1)
    lens = np.array([[f * d, 0, cx * d - 0.5], [0, f * d, cy * d - 0.5], [0, 0, 1]])
    bright = cv2.warpPerspective(ground, lens @ onto @ spread, (columns, rows), borderValue=255)
    owner = shot.owner.astype(np.uint16)
    np.copyto(bright, shot.bright, where=owner > 0)
    across = (np.arange(columns, dtype=np.float32) / d - cx) / f * camera.axes[0, 2]
    along = (np.arange(rows, dtype=np.float32) / d - cy) / f * camera.axes[1, 2]
    horizon = -0.03 - camera.axes[2, 2]  # a ray that rises more than this shows the backdrop
    if across.max() + along.max() > horizon:
        owner[(np.add.outer(along, across) > horizon) & (owner == 0)] = len(solids) + 1
        bright[owner == len(solids) + 1] = 255
    colours = np.array([FLOOR, *(COLOURS[s.colour] for s in solids), BACKDROP])
    shades = np.zeros((len(colours), 256, 4), np.uint8)  # one word a pixel is looked up faster
    shades[..., :3] = np.multiply.outer(colours, np.arange(256) / 255).transpose(0, 2, 1)
    shown: Array = owner * 256 + bright
    words = shades.view(np.uint32).ravel().take(shown)
    picture: Array = words.view(np.uint8).reshape(rows, columns, 4)
    if d > 1:
        size = columns // d, rows // d
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGBA2RGB), np.uint8)


def tag(pixels: Pixels, shot: Shot, texts: Mapping[int, str]) -> Shot:
    """Draws tags beside solids, in place: white on black, each with a pin in what it names.

    A tag goes where it hides least. Returns the shot less what the tags hide.
    """
    tall, wide = pixels.shape[:2]
    height = min(36, max(9, min(tall, wide) // 22))
    owner, d = shot.owner.copy(), shot.detail
    cover = (owner[::d, ::d] > 0).astype(np.uint8)
    pins = {solid: _pin(shot, solid) for solid in texts}
    places: dict[int, tuple[int, int, int, int]] = {}
    for solid, text in texts.items():
        _, _, width, _ = cv2.getTextSize((wide, tall), text, (0, 0), FONT, height, 700)
        x1, y1, x2, y2 = _place(cover, shot.box(solid), (width + height // 2, height + 2))
        cover[y1:y2, x1:x2] = 50  # another tag must not lie here
        owner[y1 * d : y2 * d, x1 * d : x2 * d] = 0
        places[solid] = x1, y1, x2, y2
    thick = max(1, height // 9)
    for solid, (x1, y1, x2, y2) in places.items():
        middle = ((x1 + x2) // 2, (y1 + y2) // 2)
        cv2.line(pixels, middle, pins[solid], (0, 0, 0), thick, cv2.LINE_AA)
        cv2.circle(pixels, pins[solid], 1 + thick, (255, 255, 255), -1, cv2.LINE_AA)
        cv2.circle(pixels, pins[solid], 1 + thick, (0, 0, 0), thick, cv2.LINE_AA)
    for solid, (x1, y1, x2, y2) in places.items():
        cv2.rectangle(pixels, (x1, y1), (x2 - 1, y2 - 1), (0, 0, 0), -1)
        spot = (x1 + height // 4, y2 - 2 - height // 9)
        cv2.putText(pixels, texts[solid], spot, (255, 255, 255), FONT, height, 700)
    return replace(shot, owner=owner)


def _pin(shot: Shot, solid: int) -> tuple[int, int]:
    """The pixel of a solid that is nearest to the middle of what can be seen of it."""
    ys, xs = np.nonzero(shot.seen(solid))
    n = int(((xs - xs.mean()) ** 2 + (ys - ys.mean()) ** 2).argmin())
    rows, columns = shot.windows[solid]
    return (columns.start + int(xs[n])) // shot.detail, (rows.start + int(ys[n])) // shot.detail


def _place(
    cover: Array, box: tuple[Point, Point], size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """The rectangle of a size (width, height) around a box that covers least, near before far."""
    (left, top), (right, bottom) = box
    width, height = size
    best = (math.inf, (0, 0, width, height))
    sums = cv2.integral(cover)  # [y, x]: of all that is above y and left of x
    for gap in (2, 2 + height // 2, 2 + height):
        for turn in range(16):
            angle = turn * math.pi / 8 + math.pi / 2  # straight below comes first
            x = (left + right) / 2 + math.cos(angle) * ((right - left + width) / 2 + gap)
            y = (top + bottom) / 2 + math.sin(angle) * ((bottom - top + height) / 2 + gap)
            x1 = min(max(0, round(x - width / 2)), cover.shape[1] - width)
            y1 = min(max(0, round(y - height / 2)), cover.shape[0] - height)
            x2, y2 = x1 + width, y1 + height
            cost = int(sums[y2, x2] - sums[y1, x2] - sums[y2, x1] + sums[y1, x1]) + gap / 4
            if cost < best[0]:
                best = (cost, (x1, y1, x2, y2))
    return best[1]
