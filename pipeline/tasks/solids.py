"""Coloured solids on a floor, seen by cameras: a small ray caster.

Space is in units: x and y along the floor, z up; a solid is about one unit tall. Pictures: in px.
A `Shot` knows for every sample which solid it shows, so boxes and visibility are exact.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.types import Point, Size

Array = npt.NDArray[Any]
Vector = tuple[float, float, float]

FORMS = {"sphere": (1.0, 2.0), "cube": (0.8, 1.6), "cylinder": (0.8, 1.8), "cone": (1.0, 2.1)}
SIZES = {"small": 0.4, "large": 0.62}  # units; times a form's base radius and height
AMBIENT = 0.55  # brightness of a face that the light does not reach


@dataclass(frozen=True)
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

    @cached_property
    def hull(self) -> Array:
        """Points (n, 3) whose convex hull is the solid, near enough for windows and shadows."""
        c, s = math.cos(self.turn), math.sin(self.turn)
        turned = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) * self.radius
        turned[2, 2] = self.height
        return np.asarray(_unit_hull(self.form) @ turned + self.foot)


@cache
def _unit_hull(form: str) -> Array:
    """`Solid.hull` of a solid of radius 1 and height 1."""
    sides = 4 if form == "cube" else 16
    angles = math.pi / 4 + np.arange(sides) * (math.tau / sides)
    around = np.stack([np.cos(angles), np.sin(angles), np.zeros(sides)], axis=1)
    rings = {  # reach and level of each
        "cube": [(math.sqrt(2), 0.0), (math.sqrt(2), 1.0)],
        "cylinder": [(1.0, 0.0), (1.0, 1.0)],
        "cone": [(1.0, 0.0), (0.0, 1.0)],
        "sphere": [(math.sin(a), (1 - math.cos(a)) / 2) for a in np.arange(9) * math.pi / 8],
    }[form]
    return np.concatenate([around * reach + (0, 0, level) for reach, level in rings])


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
        away = math.dist(self.target, self.eye)
        fx, fy, fz = ((t - e) / away for t, e in zip(self.target, self.eye, strict=True))
        flat = math.hypot(fx, fy)
        right = np.array([fy / flat, -fx / flat, 0.0])
        down = np.array([fx * fz / flat, fy * fz / flat, -flat])
        c, s = math.cos(self.roll), math.sin(self.roll)
        return np.stack([c * right + s * down, c * down - s * right, (fx, fy, fz)])

    def project(self, points: Array | Sequence[Vector]) -> Array:
        """Pixel coordinates (n, 2) of points (n, 3)."""
        local = (np.asarray(points) - self.eye) @ self.axes.T
        return np.asarray(local[:, :2] / local[:, 2:] * self.focal + self.centre)

    def fitted(self, solids: Sequence[Solid], size: Size) -> "Camera":
        """Zoomed and shifted so that all solids just fill the picture, but for a margin."""
        spots = self.project(np.concatenate([solid.hull for solid in solids]))
        low, high = spots.min(axis=0), spots.max(axis=0)
        room = np.array(size) - 2 * 0.09 * min(size)
        focal = self.focal * float((room / (high - low)).min())
        middle = ((low + high) / 2 - self.centre) / self.focal
        x, y = (np.array(size) / 2 - middle * focal).tolist()
        return replace(self, focal=round(focal, 2), centre=(round(x, 2), round(y, 2)))


@dataclass(frozen=True, eq=False)
class Shot:
    """What a camera sees, ``detail`` samples to a pixel's side."""

    owner: Array  # (rows, columns): 0 where no solid is, else its index + 1
    bright: Array  # (rows, columns), 0..255
    windows: tuple[tuple[slice, slice], ...]  # rows and columns outside which a solid cannot be
    whole: tuple[int, ...]  # samples that each solid would cover if it stood alone
    detail: int

    def seen(self, solid: int) -> Array:
        """Which samples of its window show a solid."""
        return np.asarray(self.owner[self.windows[solid]] == solid + 1)

    def visible(self, solid: int) -> float:
        """The share of a solid that nothing hides, 0..1."""
        return np.count_nonzero(self.seen(solid)) / max(1, self.whole[solid])

    def box(self, solid: int) -> tuple[Point, Point]:
        """The smallest box of whole pixels around what can be seen of a solid."""
        seen, (rows, columns) = self.seen(solid), self.windows[solid]
        xs = np.flatnonzero(seen.any(axis=0)) + columns.start
        ys = np.flatnonzero(seen.any(axis=1)) + rows.start
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
    owner, bright = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    windows: list[tuple[slice, slice]] = []
    whole: list[int] = []
    for n, solid in enumerate(solids, start=1):
        window = _window(solid, camera, shape, detail)
        reach, facing = _meet(solid, camera, light, window, detail)
        front = reach < depth[window]
        np.copyto(depth[window], reach, where=front)
        np.copyto(owner[window], n, where=front)
        glow = 255 * (AMBIENT + (1 - AMBIENT) * np.maximum(facing, 0))
        np.copyto(bright[window], glow, where=front, casting="unsafe")
        windows.append(window)
        whole.append(int(np.count_nonzero(reach < np.inf)))
    return Shot(owner, bright, tuple(windows), tuple(whole), detail)


def _window(
    solid: Solid, camera: Camera, shape: tuple[int, int], detail: int
) -> tuple[slice, slice]:
    """Rows and columns outside which a solid cannot be; none if it is not in front of a camera."""
    if float(((solid.hull - camera.eye) @ camera.axes[2]).min()) <= 0:
        return slice(0, 0), slice(0, 0)
    spots = camera.project(solid.hull) * detail
    pad = 2 + 0.03 * float(np.ptp(spots[:, 0]))  # the hull of a round solid cuts corners
    x1, y1 = (max(0, int(low - pad)) for low in spots.min(axis=0))
    x2, y2 = (max(0, int(high + pad)) for high in spots.max(axis=0))
    return slice(min(y1, shape[0]), min(y2, shape[0])), slice(min(x1, shape[1]), min(x2, shape[1]))


def _meet(
    solid: Solid, camera: Camera, light: Vector, window: tuple[slice, slice], detail: int
) -> tuple[Array, Array]:
    """For every sample of a window: how far a ray goes until it meets a solid (∞: it does not),
    and how much that place faces the light, −1..1."""
    c, s = math.cos(solid.turn), math.sin(solid.turn)
    frame = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])  # columns: the solid's own axes
    right, down, forward = (camera.axes @ frame).astype(np.float32)[:, :, None, None]
    rows, columns = (np.arange(w.start, w.stop, dtype=np.float32) for w in window)
    across = ((columns + 0.5) / detail - camera.centre[0]) / camera.focal
    along = ((rows + 0.5) / detail - camera.centre[1]) / camera.focal
    rays = right * across + (down * along[:, None] + forward)  # (3, rows, columns)
    eye = (np.subtract(camera.eye, solid.foot) @ frame).astype(np.float32)
    meet = _meet_cube if solid.form == "cube" else _meet_round
    return meet(solid, eye, rays, (light @ frame).astype(np.float32))


def _meet_round(solid: Solid, eye: Array, rays: Array, light: Array) -> tuple[Array, Array]:
    """`_meet` for a sphere, cylinder or cone, in its own axes: all three are the points with
    x² + y² ≤ a + b·z + c·z² between the floor and their height."""
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
    """`_meet` for a cube, in its own axes: a ray is inside while between all pairs of faces."""
    low = np.array([-solid.radius, -solid.radius, 0.0], np.float32)[:, None, None]
    high = np.array([solid.radius, solid.radius, solid.height], np.float32)[:, None, None]
    start = eye[:, None, None]
    safe = np.where(np.abs(rays) < 1e-6, np.float32(1e-6), rays)
    one, other = (low - start) / safe, (high - start) / safe
    enters, leaves = np.minimum(one, other), np.maximum(one, other).min(axis=0)
    reach = enters.max(axis=0)
    reach = np.where((reach < leaves) & (reach > 0), reach, np.inf)
    through = enters.argmax(axis=0)[None]  # the axis of the face that the ray comes in by
    toward = np.take_along_axis(-np.sign(safe), through, axis=0)[0]
    return reach, toward * light[through[0]]
