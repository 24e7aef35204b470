"""What a version asks: tasks, sources and imports in a mix, on pictures of some sides, by split.

``unseen_task`` and ``unseen_size`` are splits that are unlike all training.
"""

from math import isqrt
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from pipeline import version_files
from pipeline.external import Columns, digest
from pipeline.fields import Count, Flag, Real, Section, Share, Whole, among
from pipeline.imports import Import, SharegptImport, VilasrImport
from pipeline.protocol import Family
from pipeline.sources import SOURCES
from pipeline.tasks import TASKS
from pipeline.types import SPLITS

TRAINING_UNITS = 256  # patches of unit × unit px: the pixel cap for training
EVALUATION_UNITS = 448  # and for problems that are only evaluated on
UNSEEN = ("unseen_task", "unseen_size")  # splits that are unlike all training
EVALUATED = ("evaluation", *UNSEEN)
EVERY_SPLIT = (*SPLITS, *UNSEEN)


class Canvas(Section):
    """Sides of pictures, px. Each side is drawn between the two, in multiples of the patch unit."""

    smallest: Annotated[Whole, Field(ge=112, le=1000)] = 112
    largest: Annotated[Whole, Field(ge=112, le=1000)] = 224

    @model_validator(mode="after")
    def _ordered(self) -> "Canvas":
        if self.smallest > self.largest:
            raise ValueError(f"smallest {self.smallest} is above largest {self.largest}")
        return self


class Ingredient(Section):
    """One task or source: its weight in the mix and the range of its difficulty."""

    share: Annotated[Real, Field(gt=0, le=1000)] = 1.0
    difficulty: tuple[Share, Share] = (0.0, 1.0)

    @field_validator("difficulty")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] > value[1]:
            raise ValueError(f"the lower end {value[0]} is above the upper {value[1]}")
        return value


class Unseen(Section):
    """What no training mix has: other tasks, and other sizes of pictures."""

    tasks: dict[str, Ingredient] = {}
    canvas: Canvas | None = None

    @field_validator("tasks")
    @classmethod
    def _known_tasks(cls, value: dict[str, Ingredient]) -> dict[str, Ingredient]:
        return among(value, "task", TASKS)


class External(Section):
    """A set that models are evaluated on elsewhere: no problem may be near one of its rows."""

    path: Annotated[str, Field(min_length=1)]  # .jsonl or .parquet, or a folder of them
    question: Annotated[str, Field(min_length=1)] = "question"
    pictures: Annotated[tuple[str, ...], Field(min_length=1)] = ("image",)  # paths, or bytes
    id: str | None = None
    same_question: Flag = False  # near only if the question is, too

    @property
    def found(self) -> Path:
        """Where it lies: a relative path is one from the folder of version files."""
        return version_files.folder() / self.path

    @property
    def columns(self) -> Columns:
        return Columns(self.question, self.pictures, self.id)

    def recipe(self) -> dict[str, Any]:
        """What decides what it holds: its files' bytes, short of pictures that lie beside them."""
        return {**self.model_dump(exclude={"path"}), "sha256": digest(self.found)}


class Problems(Section):
    """What is asked: the mix, and how many problems each split gets.

    ``unseen_task`` and ``unseen_size`` are splits to evaluate on and may be left out: problems of the
    tasks under ``unseen``, and the usual mix on pictures of the sizes there.
    """

    tasks: dict[str, Ingredient] = {}
    sources: dict[str, Ingredient] = {}
    imports: dict[str, Import] = {}  # rows that people have already, by the name they go by here
    unseen: Unseen = Unseen()
    splits: dict[str, Count]
    near_duplicates: Literal["keep", "drop"] = (
        "keep"  # of problems that look alike and ask the same
    )
    clear_of: tuple[External, ...] = ()

    def recipe(self) -> dict[str, Any]:
        """What decides the problems. What is not asked for is left out: then it decides nothing."""
        asked = self.model_dump(include={"near_duplicates"}, exclude_defaults=True)
        if self.clear_of:
            asked["clear_of"] = [external.recipe() for external in self.clear_of]
        if self.imports:
            asked["imports"] = {name: one.recipe() for name, one in self.imports.items()}
        return {**self.model_dump(exclude={"near_duplicates", "clear_of", "imports"}), **asked}

    @field_validator("tasks")
    @classmethod
    def _known_tasks(cls, value: dict[str, Ingredient]) -> dict[str, Ingredient]:
        return among(value, "task", TASKS)

    @field_validator("sources")
    @classmethod
    def _known_sources(cls, value: dict[str, Ingredient]) -> dict[str, Ingredient]:
        return among(value, "source", SOURCES)

    @field_validator("imports")
    @classmethod
    def _names_of_their_own(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if not version_files.NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name: small letters, digits, - and _")
            if name in TASKS or name in SOURCES:
                raise ValueError(f"{name!r} is a task or source here already: name it otherwise")
        return value

    @field_validator("splits")
    @classmethod
    def _every_split(cls, value: dict[str, int]) -> dict[str, int]:
        if missing := [split for split in SPLITS if split not in value]:
            raise ValueError(f"without a number: {', '.join(missing)}")
        return {**dict.fromkeys(UNSEEN, 0), **among(value, "split", EVERY_SPLIT)}

    @model_validator(mode="after")
    def _something(self) -> "Problems":
        if not self.tasks and not self.sources and not self.imports:
            raise ValueError("neither a task nor a source is named")
        return self

    @model_validator(mode="after")
    def _unseen_is_unseen(self) -> "Problems":
        if both := [task for task in self.unseen.tasks if task in self.tasks]:
            raise ValueError(
                f"unseen.tasks: {both[0]!r} is in the training mix: take it out of one"
            )
        for split, given in (
            ("unseen_task", self.unseen.tasks),
            ("unseen_size", self.unseen.canvas),
        ):
            if self.splits[split] and not given:
                field = "tasks" if split == "unseen_task" else "canvas"
                raise ValueError(f"splits.{split} needs unseen.{field}")
        return self

    @property
    def conversations(self) -> dict[str, VilasrImport | SharegptImport]:
        """The imports whose rows come with trajectories."""
        return {
            name: one
            for name, one in self.imports.items()
            if isinstance(one, SharegptImport)
            or (isinstance(one, VilasrImport) and one.form == "sft")
        }

    def makers(self, split: str) -> dict[str, Ingredient]:
        """The tasks and sources of a split."""
        return self.unseen.tasks if split == "unseen_task" else {**self.tasks, **self.sources}


def sides(canvas: Canvas, wire: Family) -> range:
    return range(-(-canvas.smallest // wire.unit), canvas.largest // wire.unit + 1)


def check_sides(field: str, canvas: Canvas, wire: Family, family: str, units: int) -> None:
    """Refuses a canvas without a whole patch unit, or with squares above a family's pixel cap."""
    unit = wire.unit
    if not sides(canvas, wire):
        below = canvas.largest // unit * unit
        raise ValueError(
            f"{field} {canvas.smallest}..{canvas.largest} holds no multiple of "
            f"{unit} px, the patch unit of {family}: the nearest are {below} and {below + unit}"
        )
    if (canvas.largest // unit) ** 2 > units:
        most = (isqrt(units) + 1) * unit - 1
        raise ValueError(
            f"{field}.largest {canvas.largest} is too large for {family}: at most "
            f"{most} px, so that a square picture keeps {units} patches"
        )
