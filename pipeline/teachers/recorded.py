"""A teacher that says what is written: the turns of imported conversations, one after another.

Guarantees: recorded turns take the way of any other: parsed, executed, redrawn, scored, filtered. A
turn is kept to the letter where its coordinates hold here; where the pictures came in at another
size, or the family speaks other coordinates, its ops are written anew and its faults of form stay.
Does not: hold a file in memory: problems are asked about in the order of rows, and a few hundred
rows are kept for those that are under way.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from pipeline.grammar import clean, parse, write
from pipeline.imports import SharegptImport, VilasrImport
from pipeline.protocol import FAMILIES, Family, from_wire, to_wire
from pipeline.rollout import read_turn
from pipeline.sources import IMPORTS
from pipeline.sources.ingest import Given, drawn_at
from pipeline.sources.tables import Bad
from pipeline.types import Fault, Op, PolicyError, Problem, Size, State, Step, Stop, Turn

KEPT_ROWS = 4096  # of an import: more than a rollout has under way
PIXELS = FAMILIES["qwen2.5-vl"]
THOUSANDTHS = FAMILIES["qwen2-vl"]

Talk = VilasrImport | SharegptImport


@dataclass(slots=True)
class _Tape:
    """The turns of an import's rows, as far as they have been read."""

    rows: Iterator[Given | Bad]
    spoken: "OrderedDict[int, tuple[str, ...]]" = field(default_factory=OrderedDict)

    def turns(self, number: int) -> tuple[str, ...]:
        """The turns of a row; none if it has none, or was asked for too late."""
        while number not in self.spoken and (row := next(self.rows, None)) is not None:
            self.spoken[row.number] = row.turns if isinstance(row, Given) else ()
            if len(self.spoken) > KEPT_ROWS:
                self.spoken.popitem(last=False)
        return self.spoken.get(number, ())


class Recorded:
    """A `Policy` for problems that were imported with their trajectories."""

    def __init__(self, imports: dict[str, Talk], family: Family) -> None:
        self._imports, self._family = imports, family
        self._tapes = {name: _Tape(IMPORTS[one.kind]()(one)) for name, one in imports.items()}

    async def act(self, state: State) -> Turn:
        """The next turn of what is recorded.

        Raises:
            PolicyError: for a problem without a recording, or after its end.
        """
        problem = state.problem
        tape = self._tapes.get(problem.task)
        turns = tape.turns(int(problem.id.rpartition("-")[2])) if tape else ()
        if len(state.turns) >= len(turns):
            raise PolicyError("the recording has no more turns" if turns else "nothing is recorded")
        spoken = THOUSANDTHS if self._imports[problem.task].coordinates == "thousandths" else PIXELS
        return told(state, turns[len(state.turns)], spoken, self._family)


def told(state: State, text: str, spoken: Family, family: Family) -> Turn:
    """A recorded text as a turn here; ``spoken`` are the coordinates that it was written in."""
    parsed = parse(text)
    if not isinstance(parsed, Step):
        return read_turn(state, text, family)
    ops = tuple(_here(op, state, spoken, family) for op in parsed.ops)
    if ops == parsed.ops:
        return read_turn(state, text, family)
    try:
        turn = read_turn(state, write(replace(parsed, ops=ops, lenient=())), family)
    except ValueError as error:
        return Turn(clean(text), Fault(Stop.MALFORMED, clean(str(error))[:200]))
    assert isinstance(turn.parsed, Step), "what is written is a step"
    return replace(turn, parsed=replace(turn.parsed, lenient=parsed.lenient))


def _here(op: Op, state: State, spoken: Family, family: Family) -> Op:
    """An op of a recording in the coordinates that the family speaks of our pictures."""
    if not 1 <= op.k <= len(state.views):
        return op
    problem: Problem = state.problem
    base = state.views[op.k - 1].base - 1
    was, size = drawn_at(problem)[base], problem.images[base].size
    if spoken.coordinates == family.coordinates != "pixels":
        return op
    if spoken.coordinates == "pixels":
        op = _scaled(op, was, size)
    return to_wire(from_wire(op, size, spoken), size, family)


def _scaled(op: Op, was: Size, size: Size) -> Op:
    if was == size:
        return op
    across, down = size.width / was.width, size.height / was.height
    first, last = (type(p)(round(p.x * across), round(p.y * down)) for p in op.p)
    return replace(op, p=(first, last))
