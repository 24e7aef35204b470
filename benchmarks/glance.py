"""What a single look is worth: a crude cue for each task, read off the plain pictures.

Each function gets pixels, the question and its options, nothing of the scene, and answers at once:
no drawing, no following of lines, no counting of what must be told apart. `HEURISTICS` holds one
for each task that has one. What all of them see by (blobs of a colour, letters) is in ``sight.py``.
"""

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from math import dist

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.several import appearance, motion, turn, views
from benchmarks.sight import (
    MIDDLE,
    Blob,
    Mask,
    Spot,
    best_option,
    blobs,
    coloured,
    largest,
    like,
    named,
    nearest_option,
    read,
)
from pipeline.images import Pixels
from pipeline.reward import LETTERS
from pipeline.tasks.shapes import COLOURS, caption
from pipeline.types import Point

Small = npt.NDArray[np.float32]
Look = Callable[[Sequence[Pixels], str, Sequence[str]], str]

GREEN_INK, BLUE_INK, DARK_INK = (30, 140, 60), (40, 60, 160), (60, 60, 70)  # of letters
ARROW, EDGE = (200, 60, 40), (150, 150, 160)
HEADINGS = {"right": (1, 0), "left": (-1, 0), "down": (0, 1), "up": (0, -1)}


def counting(pictures: Sequence[Pixels], question: str, options: Sequence[str]) -> str:
    """As many as there are patches of the colour, whatever their form."""
    colour = named(question)[0].split()[0]
    return nearest_option(len(blobs(like(pictures[0], COLOURS[colour]), 25)), options)


def maze(pictures: Sequence[Pixels], question: str, options: Sequence[str]) -> str:
    """Straight over the walls: to the letter in the direction of all moves, or as the crow flies."""
    start = blobs(like(pictures[0], GREEN_INK), 6)[0]
    letters = read(pictures[0], BLUE_INK, "ABCD")
    moves = re.findall(r"(right|left|down|up) (\d+)", question)
    if moves:
        x, y = (sum(int(n) * HEADINGS[way][axis] for way, n in moves) for axis in (0, 1))
        pace = 2.3 * start.tall  # letters are that much smaller than cells
        goal = (start.x + x * pace, start.y + y * pace)
        return min("ABCD", key=lambda one: dist(letters.get(one, (999, 999)), goal))
    goal = letters.get(re.findall(r"\b[A-D]\b", question)[-1], (start.x, start.y))
    across, down = (
        round(abs(a - b) / (2.3 * start.tall)) for a, b in zip(start.at, goal, strict=True)
    )
    turns = min(across, 1) * min(down, 1)
    measured = re.search("turn|corner|change", question) is None
    return nearest_option(across + down if measured else turns, options)


def relation(pictures: Sequence[Pixels], question: str, options: Sequence[str]) -> str:
    """The largest patch of a colour stands for the figure named."""
    names = named(question)
    spots = {name: largest(pictures[0], name) for name in names}
    if "above" in options:
        second, first = _seen_from(question, names)
        x, y = (a - b for a, b in zip(spots[first], spots[second], strict=True))
        across, down = (
            "to the right of" if x > 0 else "to the left of",
            "below" if y > 0 else "above",
        )
        return LETTERS[options.index(across if abs(x) > abs(y) else down)]
    if options and (edge := re.search(r"\b(left|right|top|bottom)\b", question)):
        x, y = {"left": (-1, 0), "right": (1, 0), "top": (0, -1), "bottom": (0, 1)}[edge[1]]
        return best_option(options, lambda name: x * spots[name][0] + y * spots[name][1])
    if options:
        first = next(name for name in names if name not in options)
        return best_option(options, lambda name: -dist(spots[name], spots[first]))
    there = re.search(r"to the left of|to the right of|above|below", question)
    assert there, question
    x, y = {
        "to the left of": (-1, 0),
        "to the right of": (1, 0),
        "above": (0, -1),
        "below": (0, 1),
    }[there[0]]
    own = spots[names[0]]
    others = blobs(coloured(pictures[0]), 25)
    return str(sum(x * (b.x - own[0]) + y * (b.y - own[1]) > 8 for b in others))


def _seen_from(question: str, names: Sequence[str]) -> tuple[str, str]:
    """The figure one looks from, and the one looked for."""
    first, second = names[:2]
    from_first = re.match(r"On which side|Seen from", question)
    return (first, second) if from_first else (second, first)


def wires(pictures: Sequence[Pixels], question: str, options: Sequence[str]) -> str:
    """Straight across, among the ends of the same colour; about as many crossings as wires."""
    width = pictures[0].shape[1]
    side = max(16, width // 9)
    left, right = (
        [
            blob.y
            for blob in sorted(blobs(like(pictures[0][:, part], BLUE_INK), 4), key=lambda b: b.y)
        ]
        for part in (slice(0, side - 3), slice(width - side + 3, width))
    )
    if not re.search(r"[Ss]ocket|letter|Where", question) or "cross" in question:
        return nearest_option(max(0, len(left) - 1), options)
    back = re.search(r"(?:[Ss]ocket|from) ([A-G])\b", question)
    plug = re.search(r"\b([1-7])\b", question)
    start = LETTERS.index(back[1]) if back else int(plug[1]) - 1 if plug else 0
    near, far = (right, left) if back else (left, right)
    edges = (width - side - 4, side + 3) if back else (side + 3, width - side - 4)
    own, *_ = (_tone(pictures[0], edges[0], y) for y in near[start : start + 1])
    tones = [_tone(pictures[0], edges[1], y) for y in far]
    unlike = [dist(own, tone) > 60 for tone in tones]
    best = min(range(len(far)), key=lambda n: (unlike[n], abs(far[n] - near[start])))
    return LETTERS[min(best, len(options) - 1)]


def _tone(picture: Pixels, x: int, y: float) -> tuple[float, ...]:
    """The strongest colour close to a place."""
    part = picture[max(0, round(y) - 3) : round(y) + 4, x - 2 : x + 3].reshape(-1, 3).astype(int)
    return tuple(part[int(np.ptp(part, axis=1).argmax())].tolist())


def alignment(pictures: Sequence[Pixels], question: str, options: Sequence[str]) -> str:
    """The point nearest to the arrow, or to the middle between two; what is higher than both."""
    spots = read(pictures[0], BLUE_INK, "123456789")
    asked = re.findall(r"\b[1-9]\b", question)
    if asked:
        (x1, y1), (x2, y2) = (spots.get(name, MIDDLE) for name in asked[:2])
        by: list[Spot] = [((x1 + x2) / 2, (y1 + y2) / 2)]
    else:
        by = np.argwhere(like(pictures[0], ARROW))[:, ::-1].tolist()
    if not options:
        return str(sum(y < by[0][1] for name, (_, y) in spots.items() if name not in asked[:2]))
    away = {name: min(dist(spot, other) for other in by) for name, spot in spots.items()}
    return best_option(options, lambda name: -away.get(name, 999.0))


def chart(pictures: Sequence[Pixels], question: str, options: Sequence[str]) -> str:
    """Heights by eye, to a tenth of the axis, whose uppermost number is taken at a glance."""
    picture = pictures[0]
    height = picture.shape[0]
    labels = sorted(blobs(like(picture[height - 13 :, 26:], DARK_INK, 60), 5), key=lambda b: b.x)
    strips = [picture[12 : height - 17, round(b.x) + 25 : round(b.x) + 28] for b in labels]
    tall = [round(10 * _reach(strip)) / 10 for strip in strips]
    heights = dict(zip("PQRSTUV", tall, strict=False))
    names = [heights.get(name, 0.5) for name in re.findall(r"\b[P-V]\b", question)]
    full = _full(picture)
    if names:
        return f"{full * (abs(names[0] - names[1]) if len(names) > 1 else names[0]):g}"
    level = float(re.findall(r"[\d.]*\d", question)[-1]) / full
    if options and options[0] in "PQRSTUV":
        return best_option(options, lambda name: -abs(heights.get(name, 9.0) - level))
    return nearest_option(sum(reach > level for reach in tall), options)


def _reach(strip: Pixels) -> float:
    """How high something dark or coloured reaches in a strip, 0..1."""
    rows = np.flatnonzero((coloured(strip) | like(strip, DARK_INK)).any(axis=1))
    return 1 - float(rows[0]) / len(strip) if len(rows) else 0.0


def _full(picture: Pixels) -> int:
    """The number at the upper end of the axis: of those that there may be, the most alike."""
    dark = (255 - picture[4:21, :24].min(axis=2)).astype(np.float32)
    dark -= dark.min()

    def alike(value: int) -> float:
        sheet, text = np.full((17, 24, 3), 255, np.uint8), str(value)
        caption(sheet, text, Point(22 - 3 * len(text), 8), 10, DARK_INK)
        drawn = (255 - sheet.min(axis=2)).astype(np.float32)
        return float(cv2.matchTemplate(dark, drawn[2:-2, 2:-2], cv2.TM_CCOEFF_NORMED).max())

    tops = {unit * ticks for unit in (1, 2, 5, 10, 20, 50, 100) for ticks in (4, 5, 6)}
    return max(sorted(tops), key=alike)


def mirror(pictures: Sequence[Pixels], question: str, options: Sequence[str]) -> str:
    """Patterns shrunk to thumbnails, flipped or turned, and laid over each other."""
    lines, filled = like(pictures[0], EDGE, 25), coloured(pictures[0])
    frames = [b for b in blobs(lines, 30) if b.wide > 15 and b.tall > 15]
    small = [_thumbnail(filled, frame) for frame in frames]
    if len(frames) > 1:
        first, *others = sorted(zip(frames, small, strict=True), key=lambda pair: pair[0].y)
        turned = _changed(first[1], question)
        others.sort(key=lambda pair: pair[0].x)
        return LETTERS[min(range(len(others)), key=lambda n: _unlike(turned, others[n][1]))]
    upright, level = (_unlike(small[0], np.flip(small[0], axis)) for axis in (1, 0))
    if "both" in options:
        held = {(True, False): "only the vertical one", (False, True): "only the horizontal one"}
        fits = upright < 0.1, level < 0.1
        return LETTERS[options.index(held.get(fits, "both" if all(fits) else "neither"))]
    cells = max(1, len(blobs(lines[frames[0].top + 4 : frames[0].top + 6], 1)) - 1)
    off = upright if "vertical" in question else level
    return nearest_option(round(off * cells * cells / 2), options)


def _thumbnail(filled: Mask, frame: Blob) -> Small:
    cut = filled[frame.top : frame.top + frame.tall, frame.left : frame.left + frame.wide]
    small = cv2.resize(cut.astype(np.float32), (8, 8), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def _changed(pattern: Small, question: str) -> Small:
    if "left to right" in question or "top to bottom" in question:
        return pattern[:, ::-1] if "left to right" in question else pattern[::-1]
    turns = 2 if "upside down" in question else 1 if "counterclockwise" in question else 3
    for _ in range(turns):
        pattern = pattern.T[::-1]  # a quarter counterclockwise
    return pattern


def _unlike(a: Small, b: Small) -> float:
    return float(np.abs(a - b).mean())


def distance(pictures: Sequence[Pixels], question: str, options: Sequence[str]) -> str:
    """Extents of colours, fins and all; what is written at the scale bar is not read."""
    picture, tones = pictures[0], re.findall(rf"\b({'|'.join(COLOURS)})\b", question)
    if options and options[0].split()[0] in COLOURS:
        boxes = [_extent(like(picture, COLOURS[option.split()[0]])) for option in options]
        upright, level = "top to bottom" in question or "topmost" in question, " " in options[0]
        sizes = [box[upright] if level else dist((0, 0), box) for box in boxes]
        most = re.search(
            r"longest|furthest apart|the most|extends? (the )?(most|furthest)", question
        )
        return best_option(options, lambda name: sizes[options.index(name)] * (1 if most else -1))
    lengths = [max(1.0, dist((0, 0), _extent(like(picture, COLOURS[tone])))) for tone in tones]
    if len(lengths) > 1:
        return nearest_option(int(max(lengths) / min(lengths)), options)
    bar = max((b.wide for b in blobs(like(picture[-16:], DARK_INK), 8)), default=1)
    return nearest_option(round(2 * lengths[0] / bar) * 5, options)


def _extent(mask: Mask) -> Spot:
    """How far a mask reaches, across and down, px."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return (float(np.ptp(columns)), float(np.ptp(rows))) if len(rows) else (0.0, 0.0)


def occlusion(pictures: Sequence[Pixels], question: str, options: Sequence[str]) -> str:
    """What shows more of itself lies in front; what is near is under or over; pieces are figures."""
    area = {name: int(like(pictures[0], tone).sum()) for name, tone in COLOURS.items()}
    own = re.findall(rf"\b({'|'.join(COLOURS)}) \w+", question)
    pieces = [blob for tone in COLOURS.values() for blob in blobs(like(pictures[0], tone), 25)]
    if options and ", " in options[0]:
        from_front = re.search(r"from (the )?front|at the front", question)
        by_area = sorted(own, key=lambda colour: area[colour] * (-1 if from_front else 1))
        return best_option(options, lambda order: _agreed(order.split(), by_area))
    if any("neither" in option for option in options):
        return best_option(options, lambda option: area.get(option.split()[0], -1))
    if options and not options[0].isdigit():
        first = largest(pictures[0], own[0])
        return best_option(options, lambda name: -dist(largest(pictures[0], name), first))
    if own:
        spot = largest(pictures[0], own[0])
        near = sum(dist(spot, blob.at) < 45 for blob in pieces) - 1
        return nearest_option(near // 2, options)
    all_of_them = re.search("in all|all figures|in the picture|altogether|side by side", question)
    return nearest_option(len(pieces) if all_of_them else len(pieces) // 2, options)


def _agreed(words: Sequence[str], order: Sequence[str]) -> int:
    """In how many pairs of neighbours words keep to an order."""
    places = [words.index(colour) for colour in order]
    return sum(a < b for a, b in pairwise(places))


HEURISTICS: dict[str, Look] = {
    "maze": maze,
    "counting": counting,
    "views": views,
    "motion": motion,
    "relation": relation,
    "wires": wires,
    "alignment": alignment,
    "chart": chart,
    "mirror": mirror,
    "distance": distance,
    "occlusion": occlusion,
    "turn": turn,
    "appearance": appearance,
}
