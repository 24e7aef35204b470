"""What the model is shown: render(state) → messages; and the coordinates that its family speaks.

Compatible with the data and weights of ViLaSR (arXiv 2506.09965). What the model writes is
`grammar`'s.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import zip_longest
from typing import Literal

from pipeline.types import Answer, Box, Fault, Op, Point, Size, State

PROTOCOL = "1"  # part of what decides a model's answer: raise it when a rendered message changes


# Families of models ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Family:
    """How a family of models sees: its patch ``unit`` in px, and the coordinates that it speaks."""

    unit: int
    coordinates: Literal["pixels", "thousandths"]


FAMILIES = {
    "qwen2.5-vl": Family(unit=28, coordinates="pixels"),
    "qwen2-vl": Family(unit=28, coordinates="thousandths"),
    "qwen3-vl": Family(unit=32, coordinates="thousandths"),
}


def to_wire(op: Op, size: Size, family: Family) -> Op:
    """An op in pixels of its picture → in the coordinates that the family speaks."""
    if family.coordinates == "pixels":
        return op
    wired = _scaled(op, 1000 / size.width, 1000 / size.height)
    if isinstance(op, Box):  # a box thinner than a thousandth keeps an area
        (x1, y1), (x2, y2) = wired.p
        wired = replace(wired, p=(Point(x1, y1), Point(max(x2, x1 + 1), max(y2, y1 + 1))))
    return wired


def from_wire(op: Op, size: Size, family: Family) -> Op:
    """The way back: to pixels of the picture that the op's k names."""
    if family.coordinates == "pixels":
        return op
    return _scaled(op, size.width / 1000, size.height / 1000)


def _scaled(op: Op, across: float, down: float) -> Op:
    first, last = (Point(round(p.x * across), round(p.y * down)) for p in op.p)
    return replace(op, p=(first, last))


# What the model is shown -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Picture:
    """A place in a message where the picture of index k stands."""

    k: int


@dataclass(frozen=True, slots=True)
class Message:
    role: Literal["system", "user", "assistant"]
    parts: tuple[str | Picture, ...]


SYSTEM = """\
You solve spatial problems by thinking and drawing. Two tools draw on a picture; each drawing comes \
back to you as a new picture with an index of its own.

Object Mapper draws boxes around objects:
```json
[{{"index": k, "bbox_2d": [x1, y1, x2, y2], "label": "name of the object"}}]
```
Path Tracer draws lines from point to point:
```json
[{{"index": k, "start_point_2d": [x1, y1], "end_point_2d": [x2, y2], "label": "name of the line"}}]
```
index says which picture to draw on: the given pictures are numbered from 1, drawings go on from \
there. Coordinates are {coordinates}. Drawing again with the same label over an earlier mark replaces it.

A turn that draws has this form:
<think> your reasoning </think> Action: Object Mapper (or Path Tracer)
```json
[ … ]
```
The last turn has this form:
<think> your reasoning </think> Action: Answer
<answer> your answer </answer>

Look at every drawing before you go on: is each mark where it belongs, and does it bear your reasoning \
out? If not, draw it again in the right place or change your mind."""

FRAMES = {
    "pixels": "integer pixels, (0, 0) at the top left of a picture, (width, height) at its bottom right",
    "thousandths": "whole thousandths of a picture's sides, (0, 0) at its top left, (1000, 1000) at "
    "its bottom right",
}
CHOOSE = "Answer with the letter of the right option."
MEASURE = "Answer with a number."
GO_ON = "Look at the drawing and adjust it if needed, then go on."
LAST = "No more drawing is possible now: give your answer."


def render(state: State, family: Family, max_turns: int) -> tuple[Message, ...]:
    """Everything the model is shown before its next turn. Each turn only appends to it.

    Args:
        max_turns: turns the rollout may have, the answer included; the last one is announced.
    """
    problem = state.problem
    sizes = tuple(image.size for image in problem.images)
    messages = [*opening(problem.question, problem.options, sizes, family)]
    for turn, reply in zip_longest(state.turns, replies(state, max_turns)):
        messages.append(Message("assistant", (turn.text,)))
        if reply is not None:
            messages.append(Message("user", reply))
    return tuple(messages)


def opening(
    question: str, options: tuple[str, ...], sizes: tuple[Size, ...], family: Family
) -> tuple[Message, Message]:
    """What is shown before the first turn; ``sizes`` are those of the input pictures."""
    system = SYSTEM.format(coordinates=FRAMES[family.coordinates])
    parts = [part for k, size in enumerate(sizes, start=1) for part in _shown(k, size)]
    lines = [question]
    lines += [f"{chr(ord('A') + n)}. {option}" for n, option in enumerate(options)]
    lines.append(CHOOSE if options else MEASURE)
    return Message("system", (system,)), Message("user", (*parts, "\n".join(lines)))


def replies(state: State, max_turns: int) -> Iterator[tuple[str | Picture, ...]]:
    """What is shown after each turn; nobody answers an answer."""
    k = len(state.problem.images)
    for number, (turn, added) in enumerate(zip(state.turns, state.observed, strict=True)):
        if isinstance(turn.parsed, Answer):
            return
        parts: list[str | Picture] = []
        for view in state.views[k : k + added]:
            k += 1
            parts += _shown(k, state.problem.images[view.base - 1].size)
        if isinstance(turn.parsed, Fault):
            parts.append(f"Nothing was drawn ({turn.parsed.reason}: {turn.parsed.detail}). ")
        yield (*parts, LAST if number + 2 >= max_turns else GO_ON)


@lru_cache(maxsize=4096)  # sizes and indices are few
def _shown(k: int, size: Size) -> tuple[Picture, str]:
    described = f"This is picture {k} (width {size.width}, height {size.height})."
    return Picture(k), f"\n{described}\n"
