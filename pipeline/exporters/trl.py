"""TRL 1.16: conversational rows whose pictures stand in ``images``, one ``{type: image}`` for each."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipeline.exporters import PROBLEMS, TRAJECTORIES, Cell, Format
from pipeline.exporters.told import Told
from pipeline.protocol import Message
from pipeline.rows import PICTURE

MESSAGES = pa.list_(
    pa.struct(
        [
            ("role", pa.string()),
            ("content", pa.list_(pa.struct([("type", pa.string()), ("text", pa.string())]))),
        ]
    )
)
IMAGES = ("images", pa.list_(PICTURE))
ABOUT = [("problem_id", pa.string()), ("task", pa.string())]


def _messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """In parquet all parts have the same keys: the text of a picture is null."""
    return [
        {
            "role": message.role,
            "content": [
                {"type": "text", "text": part}
                if isinstance(part, str)
                else {"type": "image", "text": None}
                for part in message.parts
            ],
        }
        for message in messages
    ]


def _places(column: str, row: Mapping[str, Any]) -> int:
    return sum(part["type"] == "image" for m in row[column] for part in m["content"])


def _sft(told: Told, images: Sequence[Cell]) -> dict[str, Any]:
    return {
        "messages": _messages(told.messages),
        "images": images,
        "id": told.id,
        "problem_id": told.problem.id,
        "task": told.problem.task,
    }


def _grpo(told: Told, images: Sequence[Cell]) -> dict[str, Any]:
    problem = told.problem
    return {
        "prompt": _messages(told.messages),
        "images": images,
        "problem_id": problem.id,
        "task": problem.task,
        "question": problem.question,
        "kind": str(problem.kind),
        "options": list(problem.options),
        "answer": problem.answer,
        "max_turns": told.row["max_turns"],
        "pass_rate": told.row["pass_rate"],
    }


SFT = Format(
    framework="TRL 1.16",
    takes=TRAJECTORIES,
    container="parquet",
    pictures="embedded",
    schema=pa.schema([("messages", MESSAGES), IMAGES, ("id", pa.string()), *ABOUT]),
    row=_sft,
    placeholders=lambda row: _places("messages", row),
    decoded=True,
    use="""\
```python
SFTConfig(max_length=None, assistant_only_loss=True)   # a cut row loses the pictures of its batch
SFTTrainer(model, args, train_dataset=load_dataset(FOLDER, split="train"))
```
`assistant_only_loss` needs a chat template with `{% generation %}` marks; TRL has one for Qwen-VL.""",
)

GRPO = Format(
    framework="TRL 1.16",
    takes=PROBLEMS,
    container="parquet",
    pictures="embedded",
    schema=pa.schema(
        [
            ("prompt", MESSAGES),
            IMAGES,
            *ABOUT,
            ("question", pa.string()),
            ("kind", pa.string()),
            ("options", pa.list_(pa.string())),
            ("answer", pa.string()),
            ("max_turns", pa.int32()),
            ("pass_rate", pa.float64()),
        ]
    ),
    row=_grpo,
    placeholders=lambda row: _places("prompt", row),
    decoded=True,
    use="""\
```python
GRPOConfig(remove_unused_columns=False)   # or the reward function never sees `answer`, `kind`, `options`
GRPOTrainer(model, reward_funcs=reward, args=..., train_dataset=load_dataset(FOLDER, split="train"))
```
Every column but `prompt` and `images` reaches the reward function by name. TRL samples one turn:
nothing is drawn between turns. Difficulty is filtered already: `pass_rate` is neither 0 nor 1.""",
)
