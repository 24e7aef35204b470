"""Problems to roll out on, from an export of RL problems: any of them, at any time."""

from collections import OrderedDict
from collections.abc import Sequence
from random import Random

import pyarrow as pa

from pipeline.types import Problem
from trainers.exported import Row, check_row, open_part, parts_of, problem_of, read_row

FACTS = ["problem_id", "task", "sizes", "family", "max_turns", "max_images"]
GROUPS = 8  # row groups in memory


class Asked:
    """The problems of some exports.

    ``turns`` says for each task how many turns a rollout may have, ``max_images`` how many pictures.

    Raises:
        WrongData: if a set cannot be used, or is for another family.
    """

    def __init__(self, folders: Sequence[str], family: str) -> None:
        self._parts = [open_part(path) for folder in folders for path in parts_of(folder)]
        self._groups: OrderedDict[tuple[int, int], pa.Table] = OrderedDict()
        self._places: list[tuple[int, int, int]] = []
        self.turns: dict[str, int] = {}
        self.max_images = 0
        for p, part in enumerate(self._parts):
            for g in range(part.num_row_groups):
                for n, row in enumerate(part.read_row_group(g, columns=FACTS).to_pylist()):
                    check_row(row, family, part.path)
                    self._places.append((p, g, n))
                    task, turns, images = read_row(row, _limits, part.path)
                    self.turns[task], self.max_images = turns, max(self.max_images, images)

    def __len__(self) -> int:
        return len(self._places)

    def step(self, number: int, count: int, seed: int) -> list[Problem]:
        """The ``count`` problems of a step: each problem once an epoch, in random order.

        The order is a pure function of seed and data.
        """
        places = [divmod(n, len(self)) for n in range(number * count, (number + 1) * count)]
        orders = {epoch: self._order(epoch, seed) for epoch, _ in places}
        return [self.read(orders[epoch][at]) for epoch, at in places]

    def _order(self, epoch: int, seed: int) -> list[int]:
        order = list(range(len(self._places)))
        Random(f"{seed}/problems/{epoch}").shuffle(order)
        return order

    def read(self, index: int) -> Problem:
        part, group, row = self._places[index]
        if (part, group) not in self._groups:
            self._groups[part, group] = self._parts[part].read_row_group(group)
            while len(self._groups) > GROUPS:
                self._groups.popitem(last=False)
        (made,) = self._groups[part, group].slice(row, 1).to_pylist()
        return read_row(made, problem_of, self._parts[part].path)


def _limits(row: Row) -> tuple[str, int, int]:
    return str(row["task"]), int(row["max_turns"]), int(row["max_images"])
