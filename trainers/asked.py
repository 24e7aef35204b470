"""Problems to roll out on, from an export of RL problems: any of them, at any time."""

from collections import OrderedDict
from collections.abc import Sequence
from random import Random

import pyarrow as pa

from pipeline import rows
from pipeline.types import Problem
from trainers.feed import WrongData, open_part, parts_of

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
                table = part.read_row_group(
                    g, columns=["task", "family", "max_turns", "max_images"]
                )
                for n, row in enumerate(table.to_pylist()):
                    if row["family"] != family:
                        raise WrongData(
                            f"problems for {row['family']}, and a model of {family}: build the set "
                            f"for the model's own family"
                        )
                    self._places.append((p, g, n))
                    self.turns[row["task"]] = row["max_turns"]
                    self.max_images = max(self.max_images, row["max_images"])

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
        table = self._groups[part, group]
        return rows.problem(table.slice(row, 1).to_pylist()[0])
