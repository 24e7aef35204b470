"""A problem of one flat picture from what is asked about it: what several tasks have in common."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from pipeline.images import Pixels, encode
from pipeline.types import Kind, Modality, Op, Problem, Scene, Step


class Asked(NamedTuple):
    """A question with its answer: a letter if there are options, else a number."""

    question: str
    answer: str
    options: tuple[str, ...]
    gold: tuple[Step, ...]
    conclusion: str


def posed(
    task: str,
    difficulty: float,
    pixels: Pixels,
    asked: Asked,
    objects: Sequence[Op],
    facts: dict[str, Any],
) -> Problem:
    """The problem; ``facts`` are the scene's own numbers, with the question kept beside them."""
    geometry = {**facts, "question": asked.question}
    return Problem(
        id="",
        task=task,
        modality=Modality.IMAGE,
        images=(encode(pixels),),
        question=asked.question,
        options=asked.options,
        answer=asked.answer,
        kind=Kind.CHOICE if asked.options else Kind.NUMBER,
        difficulty=difficulty,
        gold=asked.gold,
        conclusion=asked.conclusion,
        scene=Scene(tuple(objects), json.dumps(geometry, separators=(",", ":"))),
    )
