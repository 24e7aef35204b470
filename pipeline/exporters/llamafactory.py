"""LLaMA-Factory 0.9.5: sharegpt rows in parquet, and the ``dataset_info.json`` that describes them.

Turns alternate strictly, user and assistant, and their number is even; the system prompt has a column.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipeline.exporters import TRAJECTORIES, Cell, Format
from pipeline.exporters.told import Told, flat
from pipeline.rows import PICTURE

CONVERSATION = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "system_tag": "system",
}


def conversation(told: Told, *, system: bool) -> list[dict[str, str]]:
    """Roles and texts, ``<image>`` where a picture stands."""
    told_to = told.messages if system else told.messages[1:]
    return [{"role": message.role, "content": flat(message)} for message in told_to]


def places(row: Mapping[str, Any]) -> int:
    return sum(turn["content"].count("<image>") for turn in row["conversations"])


def info(file: str, columns: Mapping[str, str]) -> str:
    """The ``dataset_info.json`` of one data set, named ``drawloop``."""
    described = {
        "file_name": file,
        "formatting": "sharegpt",
        "columns": {"messages": "conversations", "images": "images", **columns},
        "tags": TAGS,
    }
    return json.dumps({"drawloop": described}, indent=2) + "\n"


def _row(told: Told, images: Sequence[Cell]) -> dict[str, Any]:
    return {
        "conversations": conversation(told, system=False),
        "images": images,
        "system": flat(told.messages[0]),
        "id": told.id,
    }


SFT = Format(
    framework="LLaMA-Factory 0.9.5",
    takes=TRAJECTORIES,
    container="parquet",
    pictures="embedded",
    schema=pa.schema(
        [
            ("conversations", CONVERSATION),
            ("images", pa.list_(PICTURE)),
            ("system", pa.string()),
            ("id", pa.string()),
        ]
    ),
    row=_row,
    placeholders=places,
    tags=("<image>", "<video>", "<audio>"),
    beside={"dataset_info.json": info("data", {"system": "system"})},
    use="""\
```yaml
dataset_dir: FOLDER          # dataset_info.json lies there
dataset: drawloop
template: qwen2_vl           # of the target model
cutoff_len: 32768            # longer than any row (report.json): a cut falls inside a picture
image_max_pixels: 1003520    # larger than any picture: a resize here does not move coordinates
image_min_pixels: 784
```""",
)
