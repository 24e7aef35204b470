"""Places, where cameras in them look, and in which direction from there a solid is."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from pipeline.tasks.stage import Stage


def wrapped(angle: float) -> float:
    """The same angle between −180° and 180°."""
    return (angle + 180) % 360 - 180


class Stance(NamedTuple):
    """Where one stands and what is straight ahead: a view's middle, or a solid."""

    text: str
    view: int | None  # whose middle is straight ahead
    start: int | None  # the solid one stands at; None for the camera's spot
    ahead: int | None
    bearings: dict[int, float]  # of the other solids, degrees to the right of straight ahead


@dataclass(frozen=True, slots=True)
class Place:
    """A scene; from within, also where its views look."""

    stage: Stage
    headings: tuple[int, ...] = ()  # of each view, degrees to the left of the x axis
    told: bool = False  # whether the question tells the turns between pictures

    @property
    def chain(self) -> list[int]:
        """Views as one comes past them turning right."""
        return sorted(range(len(self.headings)), key=lambda v: -self.headings[v])

    @property
    def ordered(self) -> list[int]:
        """Solids seen from within, as one comes past them turning right through what is shown."""
        middle = (max(self.headings) + min(self.headings)) / 2
        solids = range(len(self.stage.solids))
        return sorted(solids, key=lambda n: wrapped(middle - self.angle(n)))

    def angle(self, solid: int, start: int | None = None) -> float:
        """Degrees to the left of the x axis, from another solid or from the middle."""
        it = self.stage.solids[solid]
        x, y = (0.0, 0.0) if start is None else self.stage.solids[start].foot[:2]
        return math.degrees(math.atan2(it.y - y, it.x - x))

    def off(self, view: int, solid: int) -> float:
        """Degrees from the middle of a view to a solid, to the right."""
        return wrapped(self.headings[view] - self.angle(solid))

    def best(self, solid: int) -> int:
        """The view that has a solid nearest to its middle; from outside all show it: the first."""
        if not self.headings:
            return 0
        return min(self.chain, key=lambda view: abs(self.off(view, solid)))

    def link(self, one: int, other: int) -> int:
        """The solid that two neighbouring views show best."""
        return min(
            range(len(self.stage.solids)),
            key=lambda n: max(abs(self.off(one, n)), abs(self.off(other, n))),
        )

    def links(self, one: int, other: int) -> list[tuple[int, int, int]]:
        """From one view to another, for each step of the chain: its views and what they share."""
        a, b = self.chain.index(one), self.chain.index(other)
        way = self.chain[a : b + 1] if a < b else self.chain[b : a + 1][::-1]
        return [(v, w, self.link(v, w)) for v, w in pairwise(way)]
