"""Coloured solids on a floor, seen by cameras: a small ray caster, and tags to name solids by.

Space is in units: x and y along the floor, z up; a solid is about one unit tall. Pictures are in px.
A `Shot` knows for every sample which solid it shows, so boxes and visibility are exact.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.images import Pixels
from pipeline.tasks.shapes import COLOURS
from pipeline.types import Point, Size

Array = npt.NDArray[Any]
Vector = tuple[float, float, float]

FORMS = {"sphere": (1.0, 2.0), "cube": (0.8, 1.6), "cylinder": (0.8, 1.8), "cone": (1.0, 2.1)}
SIZES = {"small": 0.4, "large": 0.62}  # units; times a form's base radius and height
AMBIENT = 0.55  # brightness of a face that the light does not reach
FLOOR, TILE, BACKDROP = (206, 203, 196), (176, 174, 170), (226, 231, 238)
FLOOR_REACH = 8.0  # units from the middle to where the tiles have faded into the plain floor
FONT = cv2.FontFace("sans")


@dataclass(frozen=True, slots=True)
class Solid:
    form: str
    colour: str
    size: str
    x: float
    y: float
    turn: float  # radians about the vertical; shows on cubes only

    @property
    def radius(self) -> float:
        """Of the base, units; half a side for a cube."""
        return FORMS[self.form][0] * SIZES[self.size]

    @property
    def height(self) -> float:
        return FORMS[self.form][1] * SIZES[self.size]

    @property
    def foot(self) -> Vector:
        return self.x, self.y, 0.0

    @property
    def middle(self) -> Vector:
        return self.x, self.y, self.height / 2

    def hull(self) -> Array:
        """Points (n, 3) whose convex hull is the solid, near enough for windows and shadows."""
        if self.form == "cube":
            angles = self.turn + np.arange(4) * math.pi / 2 + math.pi / 4
            rings = [(math.sqrt(2), 0.0), (math.sqrt(2), 1.0)]
        else:
            angles = np.arange(16) * math.pi / 8
            ball = [(math.sin(a), (1 - math.cos(a)) / 2) for a in np.linspace(0, math.pi, 9)]
            top = 0.0 if self.form == "cone" else 1.0
            rings = ball if self.form == "sphere" else [(1.0, 0.0), (top, 1.0)]
        around = np.stack([np.cos(angles), np.sin(angles), np.zeros_like(angles)], axis=1)
        levels = [
            around * self.radius * reach + (self.x, self.y, self.height * level)
            for reach, level in rings
        ]
        return np.concatenate(levels)


@dataclass(frozen=True)
class Camera:
    """A pinhole: where it is, what it looks at, and how space falls onto its picture."""

    eye: Vector
    target: Vector
    roll: float  # radians
    focal: float = 1.0  # px
    centre: tuple[float, float] = (0.0, 0.0)  # px; where the target is in the picture

    @cached_property
    def axes(self) -> Array:
        """Rows: right, down and forward of the picture, in space."""
        forward = np.subtract(self.target, self.eye)
        forward = forward / np.linalg.norm(forward)
        right = np.cross(forward, (0.0, 0.0, 1.0))
        right = right / np.linalg.norm(right)
        down = np.cross(forward, right)
        c, s = math.cos(self.roll), math.sin(self.roll)
        return np.stack([c * right + s * down, c * down - s * right, forward])

    def project(self, points: Array | Sequence[Vector]) -> Array:
        """Pixel coordinates (n, 2) of points (n, 3)."""
        local = (np.asarray(points) - self.eye) @ self.axes.T
        return np.asarray(local[:, :2] / local[:, 2:] * self.focal + self.centre)

    def fitted(self, solids: Sequence[Solid], size: Size) -> "Camera":
        """Zoomed and shifted so that all solids just fill the picture, but for a margin."""
        spots = self.project(np.concatenate([solid.hull() for solid in solids]))
        low, high = spots.min(axis=0), spots.max(axis=0)
        room = np.array(size) - 2 * 0.09 * min(size)
        focal = self.focal * float((room / (high - low)).min())
        middle = ((low + high) / 2 - self.centre) / self.focal
        x, y = np.array(size) / 2 - middle * focal
        return replace(self, focal=round(focal, 2), centre=(round(x, 2), round(y, 2)))


@dataclass(frozen=True, eq=False)
class Shot:
    """What a camera sees, ``detail`` samples to a pixel's side."""

    owner: Array  # (rows, columns): 0 where no solid is, else its index + 1
    bright: Array  # (rows, columns), 0..1
    whole: tuple[int, ...]  # samples that each solid would cover if it stood alone
    detail: int

    def visible(self, solid: int) -> float:
        """The share of a solid that nothing hides, 0..1."""
        return int((self.owner == solid + 1).sum()) / max(1, self.whole[solid])

    def box(self, solid: int) -> tuple[Point, Point]:
        """The smallest box of whole pixels around what can be seen of a solid."""
        seen = self.owner == solid + 1
        xs, ys = np.flatnonzero(seen.any(axis=0)), np.flatnonzero(seen.any(axis=1))
        d = self.detail
        return (
            Point(int(xs[0]) // d, int(ys[0]) // d),
            Point(int(xs[-1]) // d + 1, int(ys[-1]) // d + 1),
        )


def cast(
    solids: Sequence[Solid], camera: Camera, size: Size, light: Vector, detail: int = 1
) -> Shot:
    """Sends a ray through every sample near a solid, and keeps what is in front."""
    shape = size.height * detail, size.width * detail
    depth = np.full(shape, np.inf, np.float32)
    owner, bright, whole = np.zeros(shape, np.uint8), np.zeros(shape, np.float32), []
    for n, solid in enumerate(solids, start=1):
        spots = camera.project(solid.hull()) * detail
        pad = 2 + 0.03 * float(np.ptp(spots[:, 0]))  # the hull of a round solid cuts corners
        x1, y1 = (max(0, int(low - pad)) for low in spots.min(axis=0))
        x2, y2 = (int(high + pad) + 1 for high in spots.max(axis=0))
        window = np.s_[y1 : min(y2, shape[0]), x1 : min(x2, shape[1])]
        c, s = math.cos(solid.turn), math.sin(solid.turn)
        frame = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])  # columns: the solid's own axes
        right, down, forward = (camera.axes @ frame).astype(np.float32)
        u = (np.arange(x1, min(x2, shape[1])) + 0.5) / detail - camera.centre[0]
        v = (np.arange(y1, min(y2, shape[0])) + 0.5) / detail - camera.centre[1]
        across = (u / camera.focal).astype(np.float32)[None, :, None] * right
        rays = across + ((v / camera.focal).astype(np.float32)[:, None, None] * down + forward)
        meet = _meet_cube if solid.form == "cube" else _meet_round
        eye = np.subtract(camera.eye, solid.foot) @ frame
        reach, facing = meet(solid, eye, np.moveaxis(rays, 2, 0), np.array(light) @ frame)
        whole.append(int(np.isfinite(reach).sum()))
        front = reach < depth[window]
        depth[window][front] = reach[front]
        owner[window][front] = n
        bright[window][front] = AMBIENT + (1 - AMBIENT) * np.maximum(facing[front], 0)
    return Shot(owner, bright, tuple(whole), detail)


def _meet_round(solid: Solid, eye: Array, rays: Array, light: Array) -> tuple[Array, Array]:
    """Where rays (3, h, w) first meet a sphere, cylinder or cone (∞: nowhere), and how far that
    place faces the light. All three are x² + y² ≤ a + b·z + c·z², from the floor to their height.
    """
    r2, height = solid.radius**2, solid.height
    a, b, c = {
        "sphere": (0.0, height, -1.0),
        "cylinder": (r2, 0.0, 0.0),
        "cone": (r2, -2 * r2 / height, r2 / height**2),
    }[solid.form]
    (ox, oy, oz), (dx, dy, dz) = (float(e) for e in eye), rays
    square = dx * dx + dy * dy - c * dz * dz
    half = ox * dx + oy * dy - (b / 2 + c * oz) * dz
    rest = ox * ox + oy * oy - a - b * oz - c * oz * oz
    with np.errstate(invalid="ignore", divide="ignore"):  # NaN: the ray passes by
        root = np.sqrt(half * half - square * rest)
        cap = (height - oz) / dz
        x, y = ox + cap * dx, oy + cap * dy
        on_cap = (x * x + y * y <= a + b * height + c * height**2) & (dz < 0)
        reach = np.where(on_cap, cap, np.inf)
        for t in ((-half - root) / square, (-half + root) / square):
            z = oz + t * dz
            reach = np.where((t > 0) & (z >= 0) & (z <= height) & (t < reach), t, reach)
        t = np.where(np.isfinite(reach), reach, 0)
        x, y, z = ox + t * dx, oy + t * dy, oz + t * dz
        up = -(b / 2 + c * z)
        facing = (x * light[0] + y * light[1] + up * light[2]) / np.sqrt(x * x + y * y + up * up)
    return reach, np.where(on_cap & (reach == cap), light[2], facing)


def _meet_cube(solid: Solid, eye: Array, rays: Array, light: Array) -> tuple[Array, Array]:
    """As `_meet_round`: a ray is inside where it is between all three pairs of faces."""
    low = np.array([-solid.radius, -solid.radius, 0.0], np.float32)[:, None, None]
    high = np.array([solid.radius, solid.radius, solid.height], np.float32)[:, None, None]
    start = eye.astype(np.float32)[:, None, None]
    safe = np.where(np.abs(rays) < 1e-6, np.float32(1e-6), rays)
    one, other = (low - start) / safe, (high - start) / safe
    enters, leaves = np.minimum(one, other), np.maximum(one, other).min(axis=0)
    reach = enters.max(axis=0)
    reach = np.where((reach < leaves) & (reach > 0), reach, np.inf)
    through = enters.argmax(axis=0)[None]  # the axis of the face that the ray comes in by
    toward = np.take_along_axis(-np.sign(safe), through, axis=0)[0]
    return reach, toward * light[through[0]]


def floor(solids: Sequence[Solid], light: Vector, grain: int) -> Array:
    """The floor from above, ``grain`` px to a unit: tiles that fade outwards, and soft shadows."""
    side = int(2 * FLOOR_REACH * grain)
    along = (np.arange(side) + 0.5) / grain - FLOOR_REACH
    odd = (np.floor(along)[:, None] + np.floor(along)[None, :]) % 2
    fade = np.clip(1.3 - np.hypot(along[:, None], along[None, :]) / FLOOR_REACH * 1.3, 0, 1)
    plain = np.array(FLOOR, np.float32)
    darker = np.array(TILE, np.float32) - plain
    tiles = plain + (odd * fade)[:, :, None].astype(np.float32) * darker
    shade = np.zeros((side, side), np.uint8)
    for solid in solids:
        points = solid.hull()
        fallen = points[:, :2] - points[:, 2:] * (np.array(light[:2]) / light[2])
        corners = np.round((fallen + FLOOR_REACH) * grain).astype(np.int32)
        cv2.fillConvexPoly(shade, cv2.convexHull(corners), 110)
    shade = np.asarray(cv2.GaussianBlur(shade, (0, 0), 0.06 * grain), np.uint8)
    return np.asarray(tiles * (1 - shade[:, :, None] / np.float32(255)), np.uint8)


def paint(shot: Shot, solids: Sequence[Solid], camera: Camera, ground: Array) -> Pixels:
    """The picture of a shot: backdrop, floor, solids; samples averaged into pixels."""
    rows, columns = shot.owner.shape
    d, f, (cx, cy) = shot.detail, camera.focal, camera.centre
    grain = ground.shape[0] / (2 * FLOOR_REACH)
    lens = np.array([[f * d, 0, cx * d - 0.5], [0, f * d, cy * d - 0.5], [0, 0, 1]])
    spread = np.array([[1, 0, -FLOOR_REACH], [0, 1, -FLOOR_REACH], [0, 0, 1]]) @ np.diag(
        [1 / grain, 1 / grain, 1]
    )
    onto = np.stack([*camera.axes[:, :2].T, -camera.axes @ camera.eye], axis=1)
    picture = np.asarray(
        cv2.warpPerspective(ground, lens @ onto @ spread, (columns, rows), borderValue=FLOOR)
    )
    right, down, forward = camera.axes[:, 2]
    u, v = (np.arange(columns) / d - cx) / f, (np.arange(rows) / d - cy) / f
    picture[(u * right)[None, :] + (v * down)[:, None] + forward >= -0.03] = BACKDROP
    solid = shot.owner > 0
    colours = np.array([COLOURS[s.colour] for s in solids], np.float32)
    picture[solid] = colours[shot.owner[solid] - 1] * shot.bright[solid][:, None]
    if d > 1:
        picture = cv2.resize(picture, (columns // d, rows // d), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(picture, dtype=np.uint8)


def tag(pixels: Pixels, shot: Shot, texts: Mapping[int, str]) -> Shot:
    """Draws tags beside solids, in place: white on black, each with a pin in what it names.

    A tag goes where it hides least. Returns the shot less what the tags hide.
    """
    tall, wide = pixels.shape[:2]
    height = min(24, max(9, min(tall, wide) // 22))
    owner, free = shot.owner.copy(), shot.owner[:: shot.detail, :: shot.detail].astype(np.int32)
    pins = {solid: _pin(free == solid + 1) for solid in texts}
    cover = (free > 0).astype(np.int32)
    places: dict[int, tuple[int, int, int, int]] = {}
    for solid, text in texts.items():
        _, _, width, _ = cv2.getTextSize((wide, tall), text, (0, 0), FONT, height, 700)
        x1, y1, x2, y2 = _place(cover, shot.box(solid), (width + height // 2, height + 2))
        cover[y1:y2, x1:x2] = 50  # another tag must not lie here
        owner[y1 * shot.detail : y2 * shot.detail, x1 * shot.detail : x2 * shot.detail] = 0
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


def _pin(seen: Array) -> tuple[int, int]:
    """The pixel of a mask that is nearest to the mask's centre of mass."""
    ys, xs = np.nonzero(seen)
    n = int(((xs - xs.mean()) ** 2 + (ys - ys.mean()) ** 2).argmin())
    return int(xs[n]), int(ys[n])


def _place(
    cover: Array, box: tuple[Point, Point], size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """The rectangle of a size (width, height) around a box that covers least, near before far."""
    (left, top), (right, bottom) = box
    width, height = size
    best = (math.inf, (0, 0, width, height))
    for gap in (2, 2 + height // 2, 2 + height):
        for turn in range(16):
            angle = turn * math.pi / 8 - math.pi / 2  # straight above comes first
            x = (left + right) / 2 + math.cos(angle) * ((right - left + width) / 2 + gap)
            y = (top + bottom) / 2 + math.sin(angle) * ((bottom - top + height) / 2 + gap)
            x1 = min(max(0, round(x - width / 2)), cover.shape[1] - width)
            y1 = min(max(0, round(y - height / 2)), cover.shape[0] - height)
            cost = int(cover[y1 : y1 + height, x1 : x1 + width].sum()) + gap / 4
            if cost < best[0]:
                best = (cost, (x1, y1, x1 + width, y1 + height))
    return best[1]
