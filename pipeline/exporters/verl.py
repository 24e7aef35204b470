"""verl 0.9: problems for RL with their ground truth, and conversations for SFT; ``<image>`` in texts."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipeline.exporters import PROBLEMS, TRAJECTORIES, Cell, Format
from pipeline.exporters.told import Told, flat
from pipeline.rows import PICTURE

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
TAGS = ("<image>", "<video>", "<audio>")
AGENT = "single_turn_agent"  # verl's own; a loop that draws is registered by whoever trains


def _messages(told: Told) -> list[dict[str, str]]:
    return [{"role": message.role, "content": flat(message)} for message in told.messages]


def _places(column: str, row: Mapping[str, Any]) -> int:
    return sum(message["content"].count("<image>") for message in row[column])


def _rl(told: Told, images: Sequence[Cell]) -> dict[str, Any]:
    problem = told.problem
    return {
        "data_source": f"drawloop/{problem.task}",
        "prompt": _messages(told),
        "images": images,
        "ability": str(problem.modality),
        "reward_model": {"style": "rule", "ground_truth": problem.answer},
        "extra_info": {
            "index": told.index,
            "split": "train",
            "problem_id": problem.id,
            "question": problem.question,
            "kind": str(problem.kind),
            "options": list(problem.options),
            "max_turns": told.row["max_turns"],
            "pass_rate": told.row["pass_rate"],
        },
        "agent_name": AGENT,
    }


def _sft(told: Told, images: Sequence[Cell]) -> dict[str, Any]:
    bare = [{"bytes": cell["bytes"]} for cell in images if isinstance(cell, dict)]
    return {"messages": _messages(told), "images": bare}


RL = Format(
    framework="verl 0.9",
    takes=PROBLEMS,
    container="parquet",
    pictures="embedded",
    schema=pa.schema(
        [
            ("data_source", pa.string()),
            ("prompt", MESSAGES),
            ("images", pa.list_(PICTURE)),
            ("ability", pa.string()),
            (
                "reward_model",
                pa.struct([("style", pa.string()), ("ground_truth", pa.string())]),
            ),
            (
                "extra_info",
                pa.struct(
                    [
                        ("index", pa.int64()),
                        ("split", pa.string()),
                        ("problem_id", pa.string()),
                        ("question", pa.string()),
                        ("kind", pa.string()),
                        ("options", pa.list_(pa.string())),
                        ("max_turns", pa.int32()),
                        ("pass_rate", pa.float64()),
                    ]
                ),
            ),
            ("agent_name", pa.string()),
        ]
    ),
    row=_rl,
    placeholders=lambda row: _places("prompt", row),
    tags=TAGS,
    use=f"""\
```yaml
data.train_files: [FOLDER/data/train-00000.parquet]   # each file of data/
data.image_key: images
data.max_prompt_length: 8192        # no shorter than the longest row (report.json)
data.return_raw_chat: true
custom_reward_function.path: ...    # reads ground_truth and extra_info; data_source is drawloop/TASK
```
`agent_name` is verl's own `{AGENT}`. To draw between turns, register an agent loop that does, and
name it in that column.""",
)

SFT = Format(
    framework="verl 0.9",
    takes=TRAJECTORIES,
    container="parquet",
    pictures="embedded",
    schema=pa.schema(
        [("messages", MESSAGES), ("images", pa.list_(pa.struct([("bytes", pa.binary())])))]
    ),
    row=_sft,
    placeholders=lambda row: _places("messages", row),
    tags=TAGS,
    use="""\
```yaml
data.train_files: [FOLDER/data/train-00000.parquet]   # each file of data/; pandas reads one whole
data.messages_key: messages
data.image_key: images
data.max_length: 8192       # no shorter than the longest row (report.json)
data.truncation: error
```""",
)
