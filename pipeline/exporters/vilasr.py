"""ViLaSR's own two forms: problems for RL as JSON lines, conversations for SFT as sharegpt JSON.

Both name their pictures by path, from the folder that the data file lies in.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipeline.exporters import PROBLEMS, TRAJECTORIES, Cell, Format
from pipeline.exporters.llamafactory import CONVERSATION, conversation, info, places
from pipeline.exporters.told import Told
from pipeline.types import Kind, Modality, Problem

DATA_TYPES = {
    Modality.IMAGE: "vqa",
    Modality.VIEWS: "spatial_r1",
    Modality.VIDEO: "video",
}
MAZE = "maze"


def _question_type(problem: Problem) -> str:
    if problem.kind is Kind.CHOICE:
        return "multiple choice"
    return "numerical" if problem.answer.lstrip("-").isdigit() else "regression"


def _rl(told: Told, images: Sequence[Cell]) -> dict[str, Any]:
    problem = told.problem
    grid = problem.scene.grid if problem.scene else None
    is_maze = problem.task == MAZE
    return {
        "question": problem.question,
        "options": [f"{chr(ord('A') + n)}. {option}" for n, option in enumerate(problem.options)],
        "answer": problem.answer,
        "image_path": images,
        "question_type": _question_type(problem),
        "data_type": MAZE if is_maze else DATA_TYPES[problem.modality],
        "grid_size": grid.columns if is_maze and grid else None,
        "id": problem.id,
    }


def _sft(told: Told, images: Sequence[Cell]) -> dict[str, Any]:
    return {"conversations": conversation(told, system=True), "images": images, "id": told.id}


def _named(row: Mapping[str, Any]) -> int:
    """Its loader puts one place before the question for each path."""
    return len(row["image_path"])


RL = Format(
    framework="ViLaSR",
    takes=PROBLEMS,
    container="jsonl",
    pictures="files",
    schema=pa.schema(
        [
            ("question", pa.string()),
            ("options", pa.list_(pa.string())),
            ("answer", pa.string()),
            ("image_path", pa.list_(pa.string())),
            ("question_type", pa.string()),
            ("data_type", pa.string()),
            ("grid_size", pa.int64()),
            ("id", pa.string()),
        ]
    ),
    row=_rl,
    placeholders=_named,
    tags=("<image>", "<video>"),  # for which EasyR1, of which it is a fork, splits a question
    use="""\
```sh
data.train_files=train.jsonl data.image_key=image_path data.prompt_key=question
```
Paths are relative to the folder: run it there. `max_pixels` must be above every picture,
or its loader resizes.""",
)

SFT = Format(
    framework="ViLaSR (LLaMA-Factory)",
    takes=TRAJECTORIES,
    container="json",
    pictures="files",
    schema=pa.schema(
        [("conversations", CONVERSATION), ("images", pa.list_(pa.string())), ("id", pa.string())]
    ),
    row=_sft,
    placeholders=places,
    tags=("<image>", "<video>", "<audio>"),
    beside={"dataset_info.json": info("train.json", {})},
    use="""\
```yaml
dataset_dir: FOLDER         # dataset_info.json lies there
dataset: drawloop
template: qwen2_vl
cutoff_len: 18432           # longer than any row (report.json has the longest)
image_max_pixels: 1003520   # larger than any picture
```""",
)
