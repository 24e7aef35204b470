"""Stereo: which of some marked points is nearest or farthest, and how many times as far.

The pair is "Motorcycle" of the Middlebury 2014 stereo data at a quarter of its size, 741 × 500 px,
as scikit-image ships it: D. Scharstein et al., "High-resolution stereo datasets with
subpixel-accurate ground truth", GCPR 2014. The disparity map belongs to the *left* picture: what is
at (x, y) there is at (x − disparity, y) in the right one. (The docstring of scikit-image also says
it the other way round; matching patches settles it.) Depth is baseline · focal / (disparity + dx).

Both pictures of a problem show the same window, so that the shift seen is the disparity. The
right picture's window [x1, x2) shows what lies in the left picture's columns [x1 + least,
x2 + most disparity), some of it behind other things. Windows therefore end ``MOST`` px before
their region does: then the content of the regions is disjoint in both pictures.
"""

import io
import json
import math
from dataclasses import dataclass
from functools import cache, partial
from random import Random
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.geometry import Corners, clip_box
from pipeline.images import Pixels, encode, read
from pipeline.sources.crops import Crop, badge, fitted, some_tone, wheel_file
from pipeline.tasks.phrasing import LETTERS, listed, say
from pipeline.types import Box, Image, Kind, Line, Modality, Point, Problem, Scene, Size, Step

if TYPE_CHECKING:
    from pipeline.sources.photos import Photos

FILES = {  # name: sha256
    "motorcycle_left.png": "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
    "motorcycle_right.png": "5fc913ae870e42a4b662314bc904d1786bcad8e2f0b9b67dba5a229406357797",
    "motorcycle_disp.npz": "2e49c8cebff3fa20359a0cc6880c82e1c03bbb106da81a177218281bc2f113d7",
}
FOCAL = 994.978  # px
DX = 31.086  # px between the principal points
BASELINE = 193.001  # mm
MOST = 60  # px; no disparity is larger

REGIONS: dict[str, Corners] = {  # left, top and right, bottom, px; 3 × 2 tiles
    "skills": (Point(0, 0), Point(230, 250)),
    "rl": (Point(230, 0), Point(460, 250)),
    "cold": (Point(460, 0), Point(741, 250)),
    "reflective": (Point(0, 250), Point(230, 500)),
    "evaluation": (Point(230, 250), Point(741, 500)),
}
SIDES = 120, 250  # px of the photograph: least and most of a window
RING = 6  # px of the photograph: half the side of the patch a ring covers
SMOOTH = 0.05  # by how much depth may change within the ring
ALIKE = 10.0  # levels: mean difference between a patch and its match in the other picture
EDGE = 8  # px of the photograph between a point and the window's border
CLEAR = 1.15  # the least ratio of depths that is asked about
YELLOW, BLACK = (255, 225, 0), (0, 0, 0)

Depths = npt.NDArray[np.float32]  # (height, width): disparity in px, or metres; inf where unknown

VIEWS = (
    "The two pictures show one scene from two cameras side by side; the second picture is from "
    "the right one. ",
    "A left and a right camera took these two pictures at the same moment. ",
    "These are the left and the right view of one scene. ",
)
EXTREMES = (
    "Which of the points marked {letters} is {most} the camera?",
    "Look at the ringed points {letters}. Which one is {most} the camera?",
    "Of the points {letters}, which lies {most} the camera?",
)
RATIOS = (
    "How many times as far from the camera is point {far} as point {near}?",
    "Divide the distance of point {far} from the camera by that of point {near}.",
)
RATIO_HINT = (
    " The cameras look the same way; something endlessly far away would be {offset} px further "
    "right in the second picture than in the first. Answer with two decimals."
)
PLANS = (
    "I box each marked point in the first picture and the same place in the second.",
    "First I find the marked points again in the other picture.",
)
LINES = (
    "Now a line for each point, from where it is here to where it was in the first picture.",
    "The same places are found. I draw how far each one has moved.",
)
CLOSINGS = (
    "From the first picture to the second the points move left, about so far: {moves}. What is nearer "
    "moves more, so point {right} is {most} the camera.",
    "The lines show the shifts, roughly: {moves}. Near things shift more: {right} is {most} the camera.",
)
RATIO_CLOSINGS = (
    "Point {far} moves about {less} px to the left, point {near} {more} px. With the offset that is "
    "{less_all} and {more_all} px, and twice the shift is half the distance: point {far} is "
    "{ratio} times as far away.",
)
SINGLE_PLANS = (
    "I box the marked points, to see what each of them lies on.",
    "Let me mark the points {letters} and compare what they lie on.",
)
SINGLE_CLOSINGS = (
    "What point {right} lies on is {place} what the other points lie on: it is {most} the camera.",
    "Of the places boxed, that of point {right} is {place} the others, so it is {most} the camera.",
)


@cache
def pair() -> tuple[Pixels, Pixels, Depths]:
    """The left picture, the right picture, and the disparity of the left one, px."""
    left, right, disparity = (wheel_file(name, sha256) for name, sha256 in FILES.items())
    with np.load(io.BytesIO(disparity), allow_pickle=False) as arrays:
        return read(left), read(right), arrays["arr_0"].astype(np.float32)


def depth(disparity: float) -> float:
    """Distance from the cameras, metres, along where they look."""
    return BASELINE * FOCAL / (disparity + DX) / 1000


@cache
def markable() -> npt.NDArray[np.bool_]:
    """Where in the left picture a point can be marked, (height, width): all disparities around are
    known and close to one another, and the right picture shows the same there."""
    left, right, disparity = pair()
    known = np.isfinite(disparity)
    side = 2 * RING + 1
    patch = np.ones((side, side), np.uint8)
    shift = np.where(known, disparity, 0)
    spread = cv2.dilate(shift, patch) - cv2.erode(shift, patch)
    smooth = (spread <= SMOOTH * (shift + DX)) & (cv2.erode(known.astype(np.uint8), patch) > 0)
    y, x = np.indices(disparity.shape, np.float32)
    there = cv2.remap(right, x - shift, y, cv2.INTER_LINEAR)
    difference = np.abs(there.astype(np.float32) - left).mean(axis=2)
    return np.asarray(smooth & (cv2.blur(difference, (side, side)) <= ALIKE), dtype=np.bool_)


@dataclass(frozen=True, slots=True)
class Mark:
    """A point of the left picture, px of the photograph, and its disparity."""

    x: int
    y: int
    disparity: float


def problem(rng: Random, photos: "Photos", split: str) -> Problem:
    """One problem on a window of the split's region."""
    two, one = partial(_extreme, both=True), partial(_extreme, both=False)
    ask = rng.choice((two, two, one, _ratio))
    for attempt in range(2000):  # not every window holds points that are far enough apart
        margin = CLEAR + (1 - photos.difficulty) * 0.25 * 0.9**attempt
        crop = _crop(rng, photos, split)
        made = ask(rng, photos, crop, margin) if crop else None
        if made is not None:
            return made
    raise ValueError(f"no points of {split} fit on {photos.width}×{photos.height} px")


def _crop(rng: Random, photos: "Photos", split: str) -> Crop | None:
    """A window anywhere in the region; None if it does not fit. Never mirrored: left to right,
    things would seem to shift the other way."""
    (left, top), (right, bottom) = REGIONS[split]
    right -= MOST  # what the right picture shows lies up to this much further right in the left one
    canvas = Size(photos.width, photos.height)
    most = min(SIDES[1], round(1.25 * max(canvas)))  # larger windows would lose detail
    width = rng.randint(SIDES[0], min(most, right - left))
    height = rng.randint(SIDES[0], min(most, bottom - top))
    x, y = rng.randint(left, right - width), rng.randint(top, bottom - height)
    window = Point(x, y), Point(x + width, y + height)
    size = fitted(window, canvas, photos.unit)
    return Crop(window, size, (False, False), some_tone(rng)) if size else None


def _points(
    rng: Random, crop: Crop, count: int, nearest: bool, margin: float, both: bool
) -> list[Mark] | None:
    """Points in view (of both cameras, if asked), the first nearest or farthest by ``margin``."""
    (left, top), (right, bottom) = crop.window
    _, _, disparity = pair()
    _, height, away = _ring(crop)
    beside = math.ceil((away + height) / min(crop.scale))  # room for the letter
    apart = (2 * away + height) / min(crop.scale)  # so that no letter lies on another ring
    y, x = np.nonzero(markable()[top + beside : bottom - EDGE, left + EDGE : right - beside])
    y, x = y + top + beside, x + left + EDGE
    shift = disparity[y, x]
    free = x - shift >= left + EDGE if both else np.ones(len(x), np.bool_)
    marks: list[Mark] = []
    while free.any():
        n = int(np.flatnonzero(free)[rng.randrange(int(free.sum()))])
        marks.append(Mark(int(x[n]), int(y[n]), float(shift[n])))
        if len(marks) == count:
            return marks
        free &= np.hypot(x - x[n], y - y[n]) >= apart
        if len(marks) == 1:
            farther = (shift[n] + DX) / (shift + DX)  # ratio of depths
            free &= (farther if nearest else 1 / farther) >= margin
    return None


def _extreme(
    rng: Random, photos: "Photos", crop: Crop, margin: float, both: bool
) -> Problem | None:
    nearest = rng.random() < 0.5
    count = rng.randint(3, 3 + round(photos.difficulty))
    right = rng.randrange(count)  # first, so that every letter is equally likely
    margin = margin if both else max(margin, 1.25)  # one picture alone shows depth less well
    points = _points(rng, crop, count, nearest, margin, both)
    if points is None:
        return None
    odd, *others = points
    marks = dict(zip(LETTERS, [*others[:right], odd, *others[right:]], strict=False))
    facts = {
        "letters": listed(list(marks)),
        "most": "nearest to" if nearest else "farthest from",
        "right": LETTERS[right],
        "place": "in front of" if nearest else "behind",
        "moves": listed(
            [f"{line.label[-1]} by {_length(line)} px" for line in _lines(crop, marks)]
        ),
    }
    question = say(rng, photos.wording, EXTREMES, **facts)
    if both:
        question = say(rng, photos.wording, VIEWS) + question
    closings = CLOSINGS if both else SINGLE_CLOSINGS
    return Problem(
        id="",
        task="photos",
        modality=Modality.VIEWS if both else Modality.IMAGE,
        images=_pictures(crop, marks, both),
        question=question,
        options=tuple(f"point {letter}" for letter in marks),
        answer=LETTERS[right],
        kind=Kind.CHOICE,
        difficulty=photos.difficulty,
        gold=_gold(rng, photos, crop, marks, both),
        conclusion=say(rng, photos.wording, closings, **facts),
        scene=_scene(crop, marks, both),
    )


def _ratio(rng: Random, photos: "Photos", crop: Crop, margin: float) -> Problem | None:
    points = _points(rng, crop, 2, False, margin, both=True)
    if points is None:
        return None
    far, near = rng.sample("AB", 2)
    marks = dict(sorted(zip((far, near), points, strict=True)))
    offset = DX * crop.scale[0]
    less, more = (point.disparity * crop.scale[0] for point in points)
    ratio = f"{depth(points[0].disparity) / depth(points[1].disparity):.2f}"
    facts = {
        "far": far,
        "near": near,
        "offset": f"{offset:.1f}",
        "less": f"{less:.1f}",
        "more": f"{more:.1f}",
        "less_all": f"{less + offset:.1f}",
        "more_all": f"{more + offset:.1f}",
        "ratio": ratio,
    }
    question = say(rng, photos.wording, VIEWS) + say(rng, photos.wording, RATIOS, **facts)
    return Problem(
        id="",
        task="photos",
        modality=Modality.VIEWS,
        images=_pictures(crop, marks, both=True),
        question=question + RATIO_HINT.format(**facts),
        options=(),
        answer=ratio,
        kind=Kind.NUMBER,
        difficulty=photos.difficulty,
        gold=_gold(rng, photos, crop, marks, both=True),
        conclusion=say(rng, photos.wording, RATIO_CLOSINGS, **facts),
        scene=_scene(crop, marks, both=True),
    )


def _ring(crop: Crop) -> tuple[int, int, int]:
    """A ring's radius, its letter's height, and how far right and up the letter is, px shown."""
    radius = max(4, min(round(RING * min(crop.scale)), min(crop.size) // 24))
    height = max(9, min(14, min(crop.size) // 20))
    return radius, height, radius + height // 2 + 2


def _shown(crop: Crop, mark: Mark, k: int) -> Point:
    """The pixel of picture k that shows a marked point."""
    x, y = crop.place(mark.x + 0.5 - (mark.disparity if k == 2 else 0), mark.y + 0.5)
    return Point(math.floor(x), math.floor(y))


def _boxes(crop: Crop, marks: dict[str, Mark], k: int) -> tuple[Box, ...]:
    """Around the ring of each point, and around the same place in the right picture."""
    boxes, (radius, _, _) = [], _ring(crop)
    for letter, mark in marks.items():
        x, y = _shown(crop, mark, k)
        corners = Point(x - radius, y - radius), Point(x + radius + 1, y + radius + 1)
        boxes.append(Box(k, clip_box(corners, crop.size), f"point {letter}"))
    return tuple(boxes)


def _lines(crop: Crop, marks: dict[str, Mark]) -> tuple[Line, ...]:
    """On the right picture, from where a point is there to where it is in the left one: that end
    is the free one, so that the label does not lie on the line."""
    return tuple(
        Line(2, (_shown(crop, mark, 2), _shown(crop, mark, 1)), f"shift {letter}")
        for letter, mark in marks.items()
    )


def _length(line: Line) -> int:
    return line.p[1].x - line.p[0].x


def _gold(
    rng: Random, photos: "Photos", crop: Crop, marks: dict[str, Mark], both: bool
) -> tuple[Step, ...]:
    facts = {"letters": listed(list(marks))}
    if not both:
        return (Step(say(rng, photos.wording, SINGLE_PLANS, **facts), _boxes(crop, marks, 1)),)
    boxes = _boxes(crop, marks, 1) + _boxes(crop, marks, 2)
    return (
        Step(say(rng, photos.wording, PLANS), boxes),
        Step(say(rng, photos.wording, LINES), _lines(crop, marks)),
    )


def _scene(crop: Crop, marks: dict[str, Mark], both: bool) -> Scene:
    objects: tuple[Box | Line, ...] = _boxes(crop, marks, 1)
    if both:
        objects = (*objects, *_boxes(crop, marks, 2), *_lines(crop, marks))
    places = {letter: [mark.x, mark.y] for letter, mark in marks.items()}
    facts = {"photograph": "motorcycle", "views": 1 + both, **crop.facts(), "marks": places}
    return Scene(objects=objects, geometry=json.dumps(facts, separators=(",", ":")))


def _pictures(crop: Crop, marks: dict[str, Mark], both: bool) -> tuple[Image, ...]:
    """The left picture with the points marked and, if asked, the right one as it is."""
    left, right, _ = pair()
    pixels = crop.cut(left)
    radius, height, away = _ring(crop)
    pen = max(1, radius // 5)
    for letter, mark in marks.items():
        x, y = _shown(crop, mark, 1)
        cv2.circle(pixels, (x, y), radius, BLACK, pen + 2, cv2.LINE_AA)
        cv2.circle(pixels, (x, y), radius, YELLOW, pen, cv2.LINE_AA)
        badge(pixels, letter, x + away, y - away, height)
    return (encode(pixels), encode(crop.cut(right))) if both else (encode(pixels),)
