"""Drawing: which marks a step leaves visible, and their pixels. The only code that draws ops.

Guarantees: an observation is a pure function of its input picture and its visible marks, redrawn
from the pristine input, the same bytes for the same libraries; `supersede` alone decides what
takes the place of what, for drawing and for reflection.
Does not: check that ops make sense (`rollout.advance` does), or keep any picture.
"""

import hashlib
import json
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from pipeline import geometry
from pipeline.images import Pixels, decode, encode, size_of
from pipeline.types import (
    Box,
    Image,
    Line,
    Mark,
    Op,
    Point,
    Problem,
    Size,
    State,
    Step,
    Succession,
    Turn,
    View,
)

RENDERER = "1"  # part of every observation's identity: raise it when a pixel changes

LINE_REACH = (
    0.15  # of the diagonal: mean end distance under which two lines are about the same thing
)
CONTINUES = 0.02  # of the diagonal: a line that starts this near another's end goes on from it

# Apart in hue and in lightness, so that neighbours can be told apart on any background.
PALETTE = (
    (230, 25, 75),
    (0, 130, 200),
    (245, 130, 48),
    (60, 180, 75),
    (145, 30, 180),
    (0, 160, 160),
    (240, 50, 230),
    (128, 90, 0),
    (0, 0, 160),
    (200, 0, 0),
)
FONT = cv2.FontFace("sans")
WEIGHT = 600  # semi-bold: legible at 9 px

Heirs = dict[int, Mark]  # the place of an op among its step's → the mark that it replaces


@lru_cache(maxsize=4096)  # the labels of a trajectory are compared over and over
def normalise_label(label: str) -> str:
    """Labels that differ in case, width or spacing name the same thing."""
    return " ".join(unicodedata.normalize("NFKC", label).casefold().split())


def opened(problem: Problem, sample: int = 0) -> State:
    """The state before the first turn: the inputs, nothing drawn."""
    return State(problem=problem, sample=sample, views=_inputs(len(problem.images)))


@lru_cache(maxsize=64)  # numbers of pictures are few
def _inputs(count: int) -> tuple[View, ...]:
    return tuple(View(base=n) for n in range(1, count + 1))


def overlap(later: Op, earlier: Op, size: Size) -> float:
    """How much two same-label ops on one picture are about the same thing: 0 not at all, up to 1."""
    if isinstance(later, Box) and isinstance(earlier, Box):
        return geometry.iou(later.p, earlier.p)
    if isinstance(later, Line) and isinstance(earlier, Line):
        if continues(later, earlier, size):
            return 0.0
        reach = LINE_REACH * geometry.diagonal(size)
        return max(0.0, 1 - geometry.mean_end_distance(later.p, earlier.p) / reach)
    return geometry.iou(_with_area(later), _with_area(earlier))


def continues(later: Line, earlier: Line, size: Size) -> bool:
    """Whether a line goes on from another: it starts where that ends, and does not lead back."""
    reach = CONTINUES * geometry.diagonal(size)
    joint = geometry.distance(later.p[0], earlier.p[1])
    return (
        joint <= reach
        and joint < geometry.distance(later.p[0], earlier.p[0])
        and geometry.distance(later.p[1], earlier.p[0]) > reach
    )


def _with_area(op: Op) -> geometry.Corners:
    """A box, or the box around a line, grown by a pixel so that a level line has an area too."""
    first, last = geometry.bounds(op.p)
    if isinstance(op, Box):
        return first, last
    return Point(first.x - 1, first.y - 1), Point(last.x + 1, last.y + 1)


def supersede(live: Sequence[Mark], new: Sequence[tuple[Op, int]], problem: Problem) -> Heirs:
    """Which live marks of earlier steps the ops of one new step, each with its base, replace.

    Same normalised label, same input picture and some `overlap`; matched one to one, greedily by
    overlap, then by op order (later, then earlier).
    """
    if not live:
        return {}
    alike: dict[tuple[int, str], list[int]] = {}
    for e, earlier in enumerate(live):
        alike.setdefault((earlier.base, normalise_label(earlier.op.label)), []).append(e)
    pairs = []
    for n, (later, base) in enumerate(new):
        for e in alike.get((base, normalise_label(later.label)), ()):
            shared = overlap(later, live[e].op, problem.images[base - 1].size)
            if shared > 0:
                pairs.append((-shared, n, e))
    heirs: Heirs = {}
    taken: set[int] = set()
    for _, n, e in sorted(pairs):
        if n not in heirs and e not in taken:
            heirs[n] = live[e]
            taken.add(e)
    return heirs


def execute(state: State, step: Step, *said: Turn) -> State:
    """Draws a step whose ops are known to be good: new views, live marks and successions.

    One observation for each distinct target, in first-appearance order. It shows what its target
    showed plus the step's ops on it, less what they supersede; an op keeps its lineage (and
    colour) from the mark it supersedes. ``said`` is the turn of the step, where turns are kept.
    """
    number = len(state.turns)
    views, live, successions = _drawn(state.problem, state.views, state.live, number, step)
    return State(  # spelled out: `replace` takes twice as long, and this runs for every turn
        problem=state.problem,
        sample=state.sample,
        turns=state.turns + said,
        views=state.views + views,
        observed=(*state.observed, len(views)),
        live=live,
        successions=(*state.successions, *successions),
    )


def executed(problem: Problem, sample: int, turns: tuple[Turn, ...]) -> State:
    """What turns come to: the same as executing their steps in turn, without the states between."""
    views, live = _inputs(len(problem.images)), tuple[Mark, ...]()
    observed, successions = list[int](), list[Succession]()
    for number, turn in enumerate(turns):
        added: tuple[View, ...] = ()
        if isinstance(turn.parsed, Step):
            added, live, more = _drawn(problem, views, live, number, turn.parsed)
            views += added
            successions += more
        observed.append(len(added))
    return State(
        problem=problem,
        sample=sample,
        turns=turns,
        views=views,
        observed=tuple(observed),
        live=live,
        successions=tuple(successions),
    )


def _drawn(
    problem: Problem,
    views: tuple[View, ...],
    before: tuple[Mark, ...],
    number: int,
    step: Step,
) -> tuple[tuple[View, ...], tuple[Mark, ...], list[Succession]]:
    """The step of the turn of that number, drawn: its observations, what is live then, successions."""
    placed = [(op, views[op.k - 1].base) for op in step.ops]
    heirs = supersede(before, placed, problem)
    unused = len(before)  # each lineage so far has one live mark
    on: dict[int, list[Mark]] = {}  # each target's new marks
    marks, successions = [], []
    for n, (op, base) in enumerate(placed):
        earlier = heirs.get(n)
        mark = Mark(op, base, number, unused if earlier is None else earlier.lineage)
        if earlier is None:
            unused += 1
        else:
            successions.append(Succession(earlier, mark))
        on.setdefault(op.k, []).append(mark)
        marks.append(mark)
    replaced = {earlier.lineage for earlier in heirs.values()}
    added = tuple([_observation(views[k - 1], replaced, fresh) for k, fresh in on.items()])
    return added, (*_without(before, replaced), *marks), successions


def _observation(target: View, replaced: set[int], marks: Sequence[Mark]) -> View:
    """What the target showed, less what the whole step replaced, plus the step's marks on it."""
    return View(target.base, (*_without(target.marks, replaced), *marks))


def _without(marks: Sequence[Mark], lineages: set[int]) -> Sequence[Mark]:
    if not lineages:
        return marks
    return [mark for mark in marks if mark.lineage not in lineages]


def identity(problem: Problem, view: View) -> str:
    """Names the picture of a view without drawing it: base, visible marks, renderer version."""
    base = problem.images[view.base - 1]
    if not view.marks:
        return base.sha256
    marks = [[type(m.op).__name__, m.op.p, m.op.label, m.lineage] for m in view.marks]
    facts = json.dumps([RENDERER, base.sha256, marks])
    return hashlib.sha256(facts.encode()).hexdigest()


def picture(problem: Problem, view: View) -> Image:
    """The picture of a view, encoded: an input as it is, an observation drawn now."""
    return encode(pixels(problem, view)) if view.marks else problem.images[view.base - 1]


def pixels(problem: Problem, view: View) -> Pixels:
    """The pixels (h, w, 3) of a view, drawn now."""
    base = decode(problem.images[view.base - 1])
    return draw(base, view.marks) if view.marks else base


def draw(pixels: Pixels, marks: Sequence[Mark]) -> Pixels:
    """Draws marks, in order, onto the given pixels (h, w, 3), in place, and returns them."""
    size = size_of(pixels)
    pen = min(4, max(1, round(min(size) / 112)))  # 4 px from 392 px on, thinner on small pictures
    for mark in marks:
        colour = PALETTE[mark.lineage % len(PALETTE)]
        if isinstance(mark.op, Box):
            _draw_box(pixels, mark.op, colour, pen)
        else:
            _draw_line(pixels, mark.op, colour, pen)
    taken = np.array([spot for mark in marks for spot in _footprints(mark.op)])
    for mark in marks:  # over every outline, so that labels stay readable
        colour = PALETTE[mark.lineage % len(PALETTE)]
        taken = np.vstack([taken, _draw_label(pixels, mark.op, colour, taken)])
    return pixels


def _footprints(op: Op) -> list[tuple[int, int, int, int]]:
    """Rectangles (x1, y1, x2, y2) that a mark covers and labels had better not: a line is a chain."""
    (x1, y1), (x2, y2) = op.p
    if isinstance(op, Box):
        return [(x1, y1, x2, y2)]
    along = [(x1 + (x2 - x1) * n // 6, y1 + (y2 - y1) * n // 6) for n in range(7)]
    return [(x - 4, y - 4, x + 5, y + 5) for x, y in along]


def _draw_box(pixels: Pixels, op: Box, colour: tuple[int, int, int], pen: int) -> None:
    """The outline lies inside the box, so that none of it falls off the picture."""
    (x1, y1), (x2, y2) = op.p
    for inset in range(pen):
        if x2 - x1 > 2 * inset and y2 - y1 > 2 * inset:
            corner, opposite = (x1 + inset, y1 + inset), (x2 - 1 - inset, y2 - 1 - inset)
            cv2.rectangle(pixels, corner, opposite, colour, 1)


def _draw_line(pixels: Pixels, op: Line, colour: tuple[int, int, int], pen: int) -> None:
    """A ring where the line starts, a disc where it ends."""
    start, end = op.p
    cv2.line(pixels, start, end, colour, pen, cv2.LINE_AA)
    cv2.circle(pixels, start, 2 * pen, (255, 255, 255), -1, cv2.LINE_AA)
    cv2.circle(pixels, start, 2 * pen, colour, max(1, pen // 2), cv2.LINE_AA)
    cv2.circle(pixels, end, 2 * pen, colour, -1, cv2.LINE_AA)


def _draw_label(
    pixels: Pixels, op: Op, colour: tuple[int, int, int], taken: npt.NDArray[np.int64]
) -> tuple[int, int, int, int]:
    """White text on the mark's colour, inside the picture, where it covers least of what is taken.

    Returns:
        the rectangle (x1, y1, x2, y2) that the label covers now.
    """
    size = size_of(pixels)
    height = min(16, max(9, min(size) // 24))
    text, width = _shown(op.label, size, height)
    wide, tall = width + 4, height + 2
    spots = np.array(_spots(op, wide, tall))
    spots = np.clip(spots, 0, (max(0, size.width - wide), max(0, size.height - tall)))
    low = np.maximum(spots[:, None], taken[None, :, :2])  # (spots, taken, x and y)
    high = np.minimum(spots[:, None] + (wide, tall), taken[None, :, 2:])
    covered = np.clip(high - low, 0, None).prod(axis=2).sum(axis=1)
    x, y = (int(place) for place in spots[covered.argmin()])  # the first of the best
    cv2.rectangle(pixels, (x, y), (x + wide - 1, y + tall - 1), colour, -1)
    cv2.putText(pixels, text, (x + 2, y + height - 2), (255, 255, 255), FONT, height, WEIGHT)
    return x, y, x + wide, y + tall


def _spots(op: Op, wide: int, tall: int) -> list[tuple[int, int]]:
    """Top left corners for a label, the best first: around a box, or around the end of a line."""
    if isinstance(op, Box):
        (x1, y1), (x2, y2) = op.p
        above, below = y1 - tall, y2
        return [
            (x1, above),
            (x2 - wide, above),
            (x1, below),
            (x2 - wide, below),
            (x2, y1),
            (x1 - wide, y1),
        ]
    x, y = op.p[1]
    return [
        (x + 6, y - tall // 2),
        (x - 6 - wide, y - tall // 2),
        (x - wide // 2, y - 6 - tall),
        (x - wide // 2, y + 6),
    ]


def _shown(label: str, size: Size, height: int) -> tuple[str, int]:
    """A label as one printable line that fits into the picture, and its width in px."""
    text = " ".join("".join(c if c.isprintable() else " " for c in label).split()) or "?"
    text = text[: size.width]  # no letter is narrower than a pixel: bounds the work on long labels
    while True:
        left, _, width, _ = cv2.getTextSize(size, text, (0, 0), FONT, height, WEIGHT)
        room = size.width - 4
        if left + width <= room or len(text) == 1:
            return text, left + width
        text = (
            text[: max(1, min(len(text) - 2, len(text) * room // (left + width) - 1))].rstrip("…")
            + "…"
        )
