"""Photos: questions about real pictures whose truth is known, from what scikit-image ships.

- `coins`: 24 ancient coins, each with a box, counted and compared by size;
- `stereo`: two views of a motorcycle in a garage, with measured disparity, compared by distance.

Boxes and lines make sizes comparable; lines from where a point is in one view to where it is in the
other show how near it is.

Both photographs are divided into five regions, one for each split, that share no coin and no part
of the scene: see ``REGIONS`` there. Of the coins evaluation gets the two columns at the right; of
the stereo pair, cut into 3 × 2 tiles, it gets two tiles.

Pictures keep the aspect of their window, give or take 15 %; their sides are multiples of ``unit``
px, none is longer than the canvas's longer side, none has more px than the canvas.
"""

from dataclasses import dataclass
from random import Random
from typing import ClassVar

from pipeline.sources import coins, stereo
from pipeline.tasks import Wording
from pipeline.types import SPLITS, Problem


@dataclass(frozen=True)
class Photos:
    VERSION: ClassVar[str] = "1"
    width: int = 224
    height: int = 224
    unit: int = 28
    difficulty: float = 0.5
    wording: Wording = "varied"

    def sample(self, rng: Random, split: str) -> Problem:
        if split not in SPLITS:
            raise ValueError(f"{split!r} is no split; there are {', '.join(SPLITS)}")
        problem = rng.choice((coins.problem, stereo.problem))
        return problem(rng, self, split)
