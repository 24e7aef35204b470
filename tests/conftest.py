"""Doubles that many tests share: a plain picture, a problem on it, a policy that says fixed texts."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import settings

from pipeline import canvas
from pipeline.batching import Outcome
from pipeline.grammar import write
from pipeline.images import Pixels, encode, size_of
from pipeline.protocol import FAMILIES
from pipeline.rollout import Limits, advance, read_turn
from pipeline.types import (
    Answer,
    Box,
    Image,
    Kind,
    Line,
    Modality,
    Point,
    Policy,
    Problem,
    Scene,
    State,
    Step,
    Trajectory,
    Turn,
)

if TYPE_CHECKING:
    from tests.trainers.conftest import Small

# The same examples every time, however slow the machine is just now.
settings.register_profile("house", deadline=None, derandomize=True)
settings.load_profile("house")

PIXELS = FAMILIES["qwen2.5-vl"]


def box(x1: int, y1: int, x2: int, y2: int, label: str = "cat", k: int = 1) -> Box:
    return Box(k, (Point(x1, y1), Point(x2, y2)), label)


def line(x1: int, y1: int, x2: int, y2: int, label: str = "way", k: int = 1) -> Line:
    return Line(k, (Point(x1, y1), Point(x2, y2)), label)


def plain_problem(**changes: object) -> Problem:
    """224 × 224 px of grey, a choice of three; gold boxes one cat, the scene knows a dog too."""
    images = changes.pop("images", None) or (encode(np.full((224, 224, 3), 200, np.uint8)),)
    cat, dog = box(20, 20, 80, 80, "cat"), box(120, 120, 200, 200, "dog")
    facts = {
        "id": "plain-1",
        "task": "plain",
        "modality": Modality.IMAGE,
        "images": images,
        "question": "Which animal is on the left?",
        "options": ("cat", "dog", "cow"),
        "answer": "A",
        "kind": Kind.CHOICE,
        "gold": (Step("The cat is here.", (cat,)),),
        "conclusion": "The cat is on the left.",
        "scene": Scene((cat, dog), "{}"),
    }
    return Problem(**{**facts, **changes})  # type: ignore[arg-type]


def run(
    problem: Problem, turns: Sequence[Step | Answer | str], limits: Limits = Limits()
) -> State | Trajectory:
    """Advances through the given turns, said as text like a model's."""
    now: State | Trajectory = canvas.opened(problem)
    for said in turns:
        assert isinstance(now, State), f"ended early: {now}"
        text = said if isinstance(said, str) else write(said)
        now = advance(now, read_turn(now, text, PIXELS), limits, PIXELS)
    return now


class Saying:
    """A policy that says the given texts, one a turn, and then answers A."""

    def __init__(self, *texts: str) -> None:
        self.texts = texts

    async def act(self, state: State) -> Turn:
        said = self.texts[len(state.turns) :] or (write(Answer("Enough.", "A")),)
        return read_turn(state, said[0], PIXELS)


class ByTheBatch:
    """A policy that is asked for many turns at once, as a model in this process is.

    ``policy`` may not wait for anything: each of its turns is taken at one go.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    async def act(self, state: State) -> Turn:
        return await self._policy.act(state)

    def answers(self, states: Sequence[State]) -> list[Outcome]:
        return [self._answer(state) for state in states]

    def _answer(self, state: State) -> Turn:
        asked = self._policy.act(state).__await__()
        try:
            next(asked)
        except StopIteration as done:
            return done.value
        raise AssertionError("it waits")


@pytest.fixture
def problem() -> Problem:
    return plain_problem()


@pytest.fixture(scope="session")
def smalls(tmp_path_factory: pytest.TempPathFactory) -> "dict[str, Small]":
    """Tiny models by family. Only here is torch imported, and only when they are asked for."""
    from tests.trainers.conftest import build_smalls

    return build_smalls(tmp_path_factory)


@pytest.fixture(params=["qwen2.5-vl", "qwen3-vl"])
def small(request: pytest.FixtureRequest, smalls: "dict[str, Small]") -> "Small":
    """Each family in turn."""
    return smalls[request.param]


@pytest.fixture
def one(smalls: "dict[str, Small]") -> "Small":
    """One family, where the other behaves no differently."""
    return smalls["qwen2.5-vl"]


@contextmanager
def uncompressed(*modules: str) -> Iterator[None]:
    """Pictures that these modules make are drawn and not compressed, where nobody looks at them."""

    def bare(pixels: Pixels) -> Image:
        return Image(b"", size_of(pixels), "")

    with pytest.MonkeyPatch.context() as patch:
        for module in modules:
            patch.setattr(f"{module}.encode", bare)
        yield


def truth(problem: Problem) -> dict[str, Any]:
    """The scene's own numbers."""
    assert problem.scene is not None
    facts: dict[str, Any] = json.loads(problem.scene.geometry)
    return facts


def said(problem: Problem) -> str:
    """The right answer in words: the text of the right option, or the number."""
    if problem.kind is Kind.NUMBER:
        return problem.answer
    return problem.options["ABCDEFG".index(problem.answer)]


def lead(problems: Iterable[Problem], cue: Callable[[Problem], str]) -> float:
    """By how many standard deviations a cue finds the right option more often than a guess does."""
    chances = hits = spread = 0.0
    for problem in problems:
        if problem.options:
            chance = 1 / len(problem.options)
            hits += cue(problem) == said(problem)
            chances, spread = chances + chance, spread + chance * (1 - chance)
    return float((hits - chances) / spread**0.5)


# What can be read off the options without the picture: each must find no more than a guess.
TEXT_CUES: dict[str, Callable[[Problem], str]] = {
    "first": lambda p: p.options[0],
    "last": lambda p: p.options[-1],
    "longest": lambda p: max(p.options, key=len),
    "shortest": lambda p: min(p.options, key=len),
    "smallest": lambda p: sorted(p.options, key=lambda o: (len(o), o))[0],
    "second": lambda p: sorted(p.options, key=lambda o: (len(o), o))[1],
    "largest": lambda p: sorted(p.options, key=lambda o: (len(o), o))[-1],
    "first asked": lambda p: min(p.options, key=lambda o: (p.question.find(o) % 10**6, o)),
    "last asked": lambda p: max(p.options, key=lambda o: (p.question.find(o), o)),
}
