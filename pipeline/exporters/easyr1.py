"""EasyR1: one prompt string with ``<image>``, its answer and its pictures. It samples a single turn."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipeline.exporters import PROBLEMS, Cell, Format
from pipeline.exporters.told import Told, flat
from pipeline.protocol import Message
from pipeline.rows import PICTURE


def _framed(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """One message: it has no place for a system prompt."""
    system, user = messages
    return (Message("user", (flat(system), "\n\n", *user.parts)),)


def _row(told: Told, images: Sequence[Cell]) -> dict[str, Any]:
    problem = told.problem
    return {
        "problem": flat(told.messages[0]),
        "answer": problem.answer,
        "images": images,
        "problem_id": problem.id,
        "task": problem.task,
        "kind": str(problem.kind),
        "options": list(problem.options),
    }


def _places(row: Mapping[str, Any]) -> int:
    return int(row["problem"].count("<image>"))


RL = Format(
    framework="EasyR1",
    takes=PROBLEMS,
    container="parquet",
    pictures="embedded",
    schema=pa.schema(
        [
            ("problem", pa.string()),
            ("answer", pa.string()),
            ("images", pa.list_(PICTURE)),
            ("problem_id", pa.string()),
            ("task", pa.string()),
            ("kind", pa.string()),
            ("options", pa.list_(pa.string())),
        ]
    ),
    row=_row,
    placeholders=_places,
    tags=("<image>",),
    framed=_framed,
    use="""\
```yaml
data.train_files: FOLDER/data       # all files of the folder
data.prompt_key: problem
data.answer_key: answer
data.image_key: images
data.format_prompt: null            # the prompt says how to answer
data.max_prompt_length: 8192        # no shorter than the longest row (report.json)
data.max_pixels: 4194304            # larger than any picture, and
data.min_pixels: 784                # smaller: a resize here does not move coordinates
```
EasyR1 samples one turn: nothing is drawn between turns unless its rollout worker does.""",
)
