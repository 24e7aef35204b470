"""Exports as the trainers read them: parts, their rows, and what is refused of them.

Guarantees: what the pipeline would not have written is refused by its file and its name, before
anything is trained on; nothing of a row is executed.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import rows
from pipeline.images import MAX_SIDE, decode
from pipeline.manifest import MANIFEST
from pipeline.protocol import FAMILIES
from pipeline.rollout import retrace
from pipeline.store import Store, StoreError
from pipeline.types import Answer, Problem, State, Step, Trajectory

TABLE = "train"
FACTS = [*rows.FACTS.names, "family", "max_turns"]
TOLD = [*rows.TRAJECTORY.names, *FACTS]
WEIGHT = "weight"  # the column of an export whose version weighs its rows
REBUILD = "delete its folder and build it again"

Row = dict[str, Any]
T = TypeVar("T")


class WrongData(ValueError):
    """A set that cannot be trained on; the message names it and the remedy."""


# Parts -------------------------------------------------------------------------------------------


def parts_of(folder: str) -> list[str]:
    """The parquet parts of an export, by its folder (``…/cold_export/<address>``).

    Raises:
        WrongData: if it is not there, of another schema version, or has no rows.
    """
    path = Path(folder).absolute()
    try:
        manifest = Store.at(path.parent.parent).manifest(path.parent.name, path.name)
    except StoreError as error:
        raise WrongData(str(error)) from None
    if manifest is None:
        raise WrongData(f"{path} has no {MANIFEST}: name the folder of a finished export")
    if TABLE not in manifest.tables:
        raise WrongData(f"{path} holds {', '.join(manifest.tables)}: name the folder of an export")
    if not manifest.tables[TABLE]:
        raise WrongData(
            f"{path} has no rows to train on: loosen the filters of its version or ask for more samples"
        )
    return sorted(str(path / name) for name in manifest.parts if name.startswith(f"{TABLE}-"))


class Part(pq.ParquetFile):  # type: ignore[misc]  # pyarrow has no types
    """A parquet file that is named when it cannot be read."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(path, page_checksum_verification=True)

    def read_row_group(self, group: int, columns: Sequence[str] | None = None) -> pa.Table:
        try:
            return super().read_row_group(group, columns=columns)
        except (OSError, pa.ArrowException) as error:
            raise _damaged(self.path, error) from None


def open_part(path: str, columns: Sequence[str] = FACTS) -> Part:
    """A part of an export, opened.

    Raises:
        WrongData: if it is cut, or lacks one of the columns; later, when a damaged page is read.
    """
    try:
        part = Part(path)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from None
    if missing := [name for name in columns if name not in part.schema_arrow.names]:
        raise WrongData(f"{path} has no column {missing[0]!r}: it is no export for this trainer")
    return part


def _damaged(path: str, error: Exception) -> WrongData:
    said = str(error).split(" Detail:")[0].rstrip(". ")
    return WrongData(f"{path}: {said}; {REBUILD}")


# Rows --------------------------------------------------------------------------------------------


def read_row(row: Row, read: Callable[[Row], T], path: str) -> T:
    """What a row holds.

    Raises:
        WrongData: if it is none that the pipeline writes.
    """
    try:
        return read(row)
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        raise WrongData(f"{_name(row, path)} cannot be read ({error!r}); {REBUILD}") from error


def _name(row: Row, path: str) -> str:
    return f"{path}: {row.get('id') or row.get('problem_id')}"


def check_row(row: Row, family: str, path: str) -> None:
    """Refuses a row that is not for models of the family, or weighs no number.

    Raises:
        WrongData: naming it.
    """
    if row["family"] != family:
        raise WrongData(
            f"{_name(row, path)} was written for {row['family']}, the model is of {family}: build the "
            f"set for the model's own family"
        )
    check_sizes(row, family, path)
    weight = row.get(WEIGHT, 1.0)
    if weight is None or not 0 <= weight < math.inf:
        raise WrongData(f"{_name(row, path)} weighs {weight}; {REBUILD}")


def check_sizes(row: Row, family: str, path: str) -> None:
    """Refuses pictures that do not lie on the family's pixel grid.

    Raises:
        WrongData: naming the row.
    """
    unit = FAMILIES[family].unit
    sides = read_row(
        row, lambda row: [(int(s["width"]), int(s["height"])) for s in row["sizes"]], path
    )
    for width, height in sides:
        if any(not 0 < side <= MAX_SIDE or side % unit for side in (width, height)):
            raise WrongData(
                f"{_name(row, path)} has a picture of {width} × {height} px, and models of {family} see "
                f"patches of {unit} px: build the set for the model's own family"
            )


def stated(row: Row) -> tuple[State, int]:
    """The state that a row's trajectory came to, and how many turns it might have had.

    Raises:
        LookupError, ValueError, TypeError, AttributeError: if the pipeline writes no such row.
    """
    problem, trajectory = rows.problem(row), rows.trajectory(row)
    _refuse_unsound(problem, trajectory)
    return retrace(problem, trajectory), int(row["max_turns"])


def _refuse_unsound(problem: Problem, trajectory: Trajectory) -> None:
    """Raises `ValueError` for what would be learnt from in silence."""
    if not trajectory.turns:
        raise ValueError("it has no turn to learn from")
    texts: list[Any] = [problem.question, *(turn.text for turn in trajectory.turns)]
    for turn in trajectory.turns:
        if isinstance(turn.parsed, Step):
            texts += [turn.parsed.thought, *(op.label for op in turn.parsed.ops)]
            if any(op.k < 1 for op in turn.parsed.ops):
                raise ValueError("a mark on a picture before the first")
        elif isinstance(turn.parsed, Answer):
            texts += [turn.parsed.thought, turn.parsed.text]
    _refuse_no_text(texts)
    if any(not isinstance(image.png, bytes) for image in problem.images):
        raise ValueError("a picture without bytes")


def _refuse_no_text(texts: Sequence[Any]) -> None:
    if any(not isinstance(text, str) for text in texts):
        raise ValueError("a text that is none")


def problem_of(row: Row) -> Problem:
    """A problem whose pictures are what they say: one that is not would end a run in the middle.

    Raises:
        LookupError, ValueError, TypeError, AttributeError: if the pipeline writes no such row.
    """
    problem = rows.problem(row)
    _refuse_no_text([problem.id, problem.task, problem.question, problem.answer, *problem.options])
    for image in problem.images:
        decode(image)
    return problem


def trajectories(folder: str) -> Iterator[tuple[State, str, int]]:
    """(state without pictures, family, turns it might have had) of every row of an export."""
    for path in parts_of(folder):
        part = open_part(path, TOLD)
        for group in range(part.num_row_groups):
            table = part.read_row_group(group, columns=TOLD)
            for row in table.to_pylist():
                state, max_turns = read_row(row, stated, path)
                yield state, row["family"], max_turns
