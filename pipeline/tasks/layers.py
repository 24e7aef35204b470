"""A pile of flat figures that cover one another, laid from front to back, and what is seen of each.

Whatever is in a pile can be told from its pixels: of each figure enough is seen, two figures of one
colour never touch, and where one covers another both are seen along a border between them.
"""

from collections.abc import Collection
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.images import Pixels
from pipeline.tasks.shapes import COLOURS, SHIFT, Figure, bounding_box, fill
from pipeline.types import Point

SEEN = 40  # px² that are seen of a figure, at the least
CORE = 12  # px² of them with none but its own pixels around
SLIVER = 5  # px that any other is away from those, at the most
COVERED = 30  # px² of a figure that another covers, if it covers any
DEPTH = 4  # px² of those with none but their own pixels around
SHOWN = 0.6  # of what one figure covers of another: the share where it is the one that is seen
BORDER = 6  # px along which a figure is seen beside what covers it
GAP = 2  # px between figures that do not cover one another
EDGE = GAP + 2  # px between figures and the picture's edge

Mask = npt.NDArray[np.bool_]
ROUND, WIDE, NEAR, FAR = (np.ones((2 * n + 1, 2 * n + 1), np.uint8) for n in (1, GAP, 3, SLIVER))


@dataclass(frozen=True, slots=True, eq=False)
class Pile:
    """Figures, front to back; ``over[n]``: those that cover a part of figure n."""

    top: npt.NDArray[np.uint8]  # (height, width): 1 + the figure seen there, 0 for the paper
    figures: tuple[Figure, ...] = ()
    whole: tuple[Mask, ...] = ()  # (height, width) each: a figure with what is covered of it
    over: tuple[frozenset[int], ...] = ()

    def under(self, n: int) -> frozenset[int]:
        """The figures of which figure n covers a part."""
        return frozenset(m for m, others in enumerate(self.over) if n in others)

    def box(self, n: int) -> tuple[Point, Point]:
        """The smallest box around what is seen of a figure."""
        seen = self.top == n + 1
        rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        first = Point(int(columns[0]), int(rows[0]))
        return first, Point(int(columns[-1]) + 1, int(rows[-1]) + 1)


def empty(width: int, height: int) -> Pile:
    return Pile(np.zeros((height, width), np.uint8))


def laid(
    pile: Pile, figure: Figure, share: float, must: Collection[int], may: Collection[int]
) -> Pile | None:
    """The pile with a figure under all others, or None where the figure cannot lie there.

    Args:
        share: of the figure's area that must be seen.
        must: the figures that have to cover a part of it.
        may: those that are free to; no others do.
    """
    height, width = pile.top.shape
    (x1, y1), (x2, y2) = bounding_box(figure.points)
    x1, y1, x2, y2 = x1 - EDGE, y1 - EDGE, x2 + EDGE, y2 + EDGE
    if min(x1, y1) < 0 or x2 > width or y2 > height:
        return None
    part = (slice(y1, y2), slice(x1, x2))
    mine = _filled(figure, x1, y1, (y2 - y1, x2 - x1))
    top = pile.top[part]
    seen = mine & (top == 0)
    if not _enough(seen, share * np.count_nonzero(mine)):
        return None
    near = cv2.dilate(mine.view(np.uint8), WIDE).view(np.bool_)
    touched = [n for n, whole in enumerate(pile.whole) if (whole[part] & near).any()]
    if not {*must} <= {*touched} <= {*must, *may}:
        return None
    for n in touched:
        alike = pile.figures[n].colour == figure.colour
        if alike or not _clearly_over(pile.whole[n][part], top == n + 1, mine, seen):
            return None
    after, whole = pile.top.copy(), np.zeros(pile.top.shape, np.bool_)
    after[part][seen] = len(pile.figures) + 1
    whole[part] = mine
    over = (*pile.over, frozenset(touched))
    return Pile(after, (*pile.figures, figure), (*pile.whole, whole), over)


def _filled(figure: Figure, x: int, y: int, shape: tuple[int, int]) -> Mask:
    """A figure's pixels in a window whose top left corner is (x, y)."""
    pixels = np.zeros(shape, np.uint8)
    corners = np.round((np.array(figure.points) - (x, y)) * (1 << SHIFT)).astype(np.int32)
    cv2.fillPoly(pixels, [corners], 1, cv2.LINE_8, SHIFT)
    return pixels.view(np.bool_)


def _enough(seen: Mask, least: float) -> bool:
    """Whether what is seen of a figure has an area of ``least`` px², and no slivers."""
    core = cv2.erode(seen.view(np.uint8), ROUND)
    if np.count_nonzero(seen) < max(SEEN, least) or np.count_nonzero(core) < CORE:
        return False
    return not (seen & ~cv2.dilate(core, FAR).view(np.bool_)).any()


def _clearly_over(other: Mask, shown: Mask, mine: Mask, seen: Mask) -> bool:
    """Whether it can be told that another figure covers a part of mine.

    Args:
        other: the other figure, and ``shown`` what is seen of it.
        mine: my figure, and ``seen`` what is seen of it.
    """
    shared = other & mine
    covered = np.count_nonzero(shared)
    small = min(np.count_nonzero(other), np.count_nonzero(mine))
    if covered < max(COVERED, 0.08 * small):
        return False
    deep = cv2.erode((shared & shown).view(np.uint8), ROUND)
    if np.count_nonzero(deep) < DEPTH or np.count_nonzero(shared & shown) < SHOWN * covered:
        return False
    # Their cores are 3 px from each other where they meet: a border that hangs by a pixel is none.
    beside = cv2.dilate(cv2.erode(shown.view(np.uint8), ROUND), NEAR).view(np.bool_)
    core = cv2.erode(seen.view(np.uint8), ROUND).view(np.bool_)
    return int(np.count_nonzero(beside & core)) >= BORDER


def draw(pixels: Pixels, pile: Pile) -> Pixels:
    for figure in reversed(pile.figures):
        fill(pixels, figure.points, COLOURS[figure.colour])
    return pixels
