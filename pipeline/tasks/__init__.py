"""Synthetic tasks: one file each, one line in ``TASKS``.

A task is a frozen dataclass whose fields are its whole configuration. ``sample(rng)`` makes one
problem: pictures, question, answer, gold steps and the scene's truth. The problem's ``id`` is left
empty; who samples names it. Everything random comes from ``rng``.
"""

from collections.abc import Callable
from importlib import import_module
from random import Random
from typing import Literal, Protocol, cast

from pipeline.types import Problem

Wording = Literal["plain", "varied"]  # the first phrasing of each sentence, or any of them


class Task(Protocol):
    """What a task's dataclass offers. ``VERSION`` is part of every random stream's key: raise it
    when the same key would give another problem."""

    VERSION: str

    def sample(self, rng: Random) -> Problem:
        """One problem, on pictures of ``width`` × ``height`` px."""
        ...


class TaskType(Protocol):
    """The constructor all tasks share: sides in px (112..1000), difficulty 0..1."""

    VERSION: str

    def __call__(self, *, width: int, height: int, difficulty: float, wording: Wording) -> Task: ...


def _task(module: str, name: str) -> Callable[[], TaskType]:
    return lambda: cast(TaskType, getattr(import_module(f"pipeline.tasks.{module}"), name))


TASKS: dict[str, Callable[[], TaskType]] = {
    "maze": _task("maze", "Maze"),
    "counting": _task("counting", "Counting"),
    "views": _task("views", "Views"),
    "motion": _task("motion", "Motion"),
    "relation": _task("relation", "Relation"),
    "wires": _task("wires", "Wires"),
    "alignment": _task("alignment", "Alignment"),
    "chart": _task("chart", "Chart"),
    "mirror": _task("mirror", "Mirror"),
    "distance": _task("distance", "Distance"),
    "occlusion": _task("occlusion", "Occlusion"),
    "turn": _task("turn", "Turn"),
    "appearance": _task("appearance", "Appearance"),
}
