"""ms-swift 4.6: ``messages`` with ``<image>``, pictures, and the true boxes as ``objects``.

Trajectories are rows for SFT; problems are rows for GRPO, without a last assistant turn.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipeline.exporters import SETS, Cell, Format
from pipeline.exporters.told import Told, flat
from pipeline.rows import PICTURE
from pipeline.types import Box

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
OBJECTS = pa.struct(
    [
        ("ref", pa.list_(pa.string())),
        ("bbox", pa.list_(pa.list_(pa.int32()))),
        ("bbox_type", pa.string()),
        ("image_id", pa.list_(pa.int32())),
    ]
)


def _objects(told: Told) -> dict[str, Any]:
    """The true boxes of the input pictures, in their pixels; ``image_id`` counts from 0."""
    scene = told.problem.scene
    boxes = [op for op in (scene.objects if scene else ()) if isinstance(op, Box)]
    return {
        "ref": [box.label for box in boxes],
        "bbox": [[*box.p[0], *box.p[1]] for box in boxes],
        "bbox_type": "real",
        "image_id": [box.k - 1 for box in boxes],
    }


def _row(told: Told, images: Sequence[Cell]) -> dict[str, Any]:
    problem = told.problem
    return {
        "messages": [{"role": m.role, "content": flat(m)} for m in told.messages],
        "images": images,
        "objects": _objects(told),
        "solution": problem.answer,
        "kind": str(problem.kind),
        "choices": list(problem.options),
        "task": problem.task,
        "id": told.id,
    }


def _places(row: Mapping[str, Any]) -> int:
    return sum(message["content"].count("<image>") for message in row["messages"])


ROWS = Format(
    framework="ms-swift 4.6",
    takes=SETS,
    container="parquet",
    pictures="embedded",
    schema=pa.schema(
        [
            ("messages", MESSAGES),
            ("images", pa.list_(PICTURE)),
            ("objects", OBJECTS),
            ("solution", pa.string()),
            ("kind", pa.string()),
            ("choices", pa.list_(pa.string())),
            ("task", pa.string()),
            ("id", pa.string()),
        ]
    ),
    row=_row,
    placeholders=_places,
    tags=(
        "<image>", "<video>", "<audio>", "<bbox>", "<ref-object>", "<cot-process>", "<start-image>",
    ),
    use="""\
```sh
swift sft --dataset FOLDER/data/train-00000.parquet --max_length 8192 --truncation_strategy raise ...
swift rlhf --rlhf_type grpo --dataset FOLDER/data/train-00000.parquet --remove_unused_columns false ...
```
`--max_length` no shorter than the longest row (report.json). Leave `MAX_PIXELS` above every picture: a
resize here does not move coordinates. A reward function finds the answer in `solution`, the true boxes
in `objects`.""",
)  # fmt: skip
