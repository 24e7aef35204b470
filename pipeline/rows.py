"""Rows: how the nouns lie in parquet, and back. The schemas here are the native format.

Pictures are embedded as PNG in Hugging Face's ``Image`` form, so that `datasets` shows them; ops are
data, and observations are redrawn by the reader (`rollout.retrace`, `canvas.picture`).
"""

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.images import encode
from pipeline.reflection import Reflection
from pipeline.types import (
    Answer,
    Box,
    Fault,
    Grid,
    Image,
    Kind,
    Line,
    Modality,
    Op,
    Parsed,
    Point,
    Problem,
    Scene,
    Score,
    Size,
    Step,
    Stop,
    Trajectory,
    Turn,
)

SCHEMA_VERSION = 1  # of everything below: raise it when a column changes its meaning

Row = dict[str, Any]

OP = pa.struct(
    [("type", pa.string()), ("k", pa.int32()), ("p", pa.list_(pa.int32())), ("label", pa.string())]
)
STEP = pa.struct([("thought", pa.string()), ("ops", pa.list_(OP))])
TURN = pa.struct(
    [
        ("text", pa.string()),
        ("kind", pa.string()),  # step, answer or fault
        ("thought", pa.string()),
        ("ops", pa.list_(OP)),
        ("answer", pa.string()),
        ("lenient", pa.list_(pa.string())),
        ("reason", pa.string()),  # of a fault
        ("detail", pa.string()),
        ("ids", pa.list_(pa.int32())),
        ("logprobs", pa.list_(pa.float32())),
    ]
)
CORRECTION = pa.struct(
    [
        ("kind", pa.string()),
        ("label", pa.string()),
        ("earlier_step", pa.int32()),
        ("later_step", pa.int32()),
        ("helped", pa.bool_()),
    ]
)
PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SIZE = pa.struct([("width", pa.int32()), ("height", pa.int32())])

# What a problem is, short of its pictures' bytes.
FACTS = pa.schema(
    [
        ("problem_id", pa.string()),
        ("task", pa.string()),
        ("modality", pa.string()),
        ("kind", pa.string()),
        ("difficulty", pa.float64()),
        ("question", pa.string()),
        ("options", pa.list_(pa.string())),
        ("answer", pa.string()),
        ("gold", pa.list_(STEP)),
        ("conclusion", pa.string()),
        ("objects", pa.list_(OP)),
        ("geometry", pa.string()),
        ("grid", pa.list_(pa.float64())),  # left, top, cell, columns, rows
        ("sizes", pa.list_(SIZE)),
        ("sha256", pa.list_(pa.string())),  # of each picture's pixels
    ]
)
PICTURES = pa.schema([("images", pa.list_(PICTURE))])
TRAJECTORY = pa.schema(
    [
        ("id", pa.string()),
        ("problem_id", pa.string()),
        ("sample", pa.int32()),
        ("stop", pa.string()),
        ("turns", pa.list_(TURN)),
    ]
)
GRADE = pa.schema(
    [
        ("task", pa.string()),
        ("modality", pa.string()),
        ("kind", pa.string()),
        ("correct", pa.float64()),
        ("format", pa.float64()),
        ("draw", pa.float64()),
        ("total", pa.float64()),
        ("solved", pa.bool_()),
        ("paper", pa.bool_()),
        ("strict", pa.bool_()),
        ("helped", pa.bool_()),
        ("corrections", pa.list_(CORRECTION)),
    ]
)
REASON = pa.schema([("reason", pa.string()), ("detail", pa.string())])


def joined(*schemas: pa.Schema) -> pa.Schema:
    """One schema of several; a column that several have appears once, where it comes first."""
    fields = {field.name: field for schema in reversed(schemas) for field in reversed(list(schema))}
    order = dict.fromkeys(field.name for schema in schemas for field in schema)
    return pa.schema([fields[name] for name in order])


def hugging_face(schema: pa.Schema) -> pa.Schema:
    """The same schema with the metadata that makes `datasets` decode ``images`` as pictures."""
    from datasets import Features, List
    from datasets import Image as ImageFeature

    features = Features.from_arrow_schema(schema)
    features["images"] = List(ImageFeature())
    info = {"info": {"features": features.to_dict()}}
    return schema.with_metadata({"huggingface": json.dumps(info)})


# Ops ---------------------------------------------------------------------------------------------


def op_row(op: Op) -> Row:
    kind = "box" if isinstance(op, Box) else "line"
    return {"type": kind, "k": op.k, "p": [*op.p[0], *op.p[1]], "label": op.label}


def op(row: Row) -> Op:
    x1, y1, x2, y2 = row["p"]
    made = Box if row["type"] == "box" else Line
    return made(row["k"], (Point(x1, y1), Point(x2, y2)), row["label"])


def ops(rows: Iterable[Row] | None) -> tuple[Op, ...]:
    return tuple(op(row) for row in rows or ())


# Problems ----------------------------------------------------------------------------------------


def problem_row(problem: Problem) -> Row:
    """A problem with its pictures; ``images`` may be left out of what is stored or read."""
    scene = problem.scene
    grid = scene.grid if scene else None
    return {
        "problem_id": problem.id,
        "task": problem.task,
        "modality": str(problem.modality),
        "kind": str(problem.kind),
        "difficulty": problem.difficulty,
        "question": problem.question,
        "options": list(problem.options),
        "answer": problem.answer,
        "gold": [
            {"thought": step.thought, "ops": [op_row(op) for op in step.ops]}
            for step in problem.gold
        ],
        "conclusion": problem.conclusion,
        "objects": None if scene is None else [op_row(op) for op in scene.objects],
        "geometry": None if scene is None else scene.geometry,
        "grid": [grid.left, grid.top, grid.cell, grid.columns, grid.rows] if grid else None,
        "sizes": [{"width": i.size.width, "height": i.size.height} for i in problem.images],
        "sha256": [image.sha256 for image in problem.images],
        "images": [{"bytes": image.png, "path": None} for image in problem.images],
    }


def problem(row: Row) -> Problem:
    """A problem from its row; without the ``images`` column its pictures have no bytes."""
    pictures = row.get("images") or [None] * len(row["sizes"])
    images = tuple(
        _image(picture, Size(size["width"], size["height"]), digest)
        for picture, size, digest in zip(pictures, row["sizes"], row["sha256"], strict=True)
    )
    scene = None
    if row["objects"] is not None:
        grid = row["grid"]
        lattice = Grid(grid[0], grid[1], grid[2], int(grid[3]), int(grid[4])) if grid else None
        scene = Scene(ops(row["objects"]), row["geometry"] or "", lattice)
    return Problem(
        id=row["problem_id"],
        task=row["task"],
        modality=Modality(row["modality"]),
        images=images,
        question=row["question"],
        options=tuple(row["options"]),
        answer=row["answer"],
        kind=Kind(row["kind"]),
        difficulty=row["difficulty"],
        gold=tuple(Step(step["thought"], ops(step["ops"])) for step in row["gold"]),
        conclusion=row["conclusion"],
        scene=scene,
    )


def _image(picture: Any, size: Size, digest: str) -> Image:
    """From stored bytes, from a picture that `datasets` has decoded, or without pixels."""
    if picture is None:
        return Image(b"", size, digest)
    if isinstance(picture, dict):
        return Image(picture["bytes"], size, digest)
    return encode(np.asarray(picture.convert("RGB"), dtype=np.uint8))


# Trajectories ------------------------------------------------------------------------------------


def trajectory_row(trajectory: Trajectory) -> Row:
    return {
        "id": trajectory.id,
        "problem_id": trajectory.problem_id,
        "sample": trajectory.sample,
        "stop": str(trajectory.stop),
        "turns": [_turn_row(turn) for turn in trajectory.turns],
    }


def _turn_row(turn: Turn) -> Row:
    row: Row = dict.fromkeys((field.name for field in TURN), None)
    row |= {"text": turn.text, "ids": turn.ids, "logprobs": turn.logprobs}
    match turn.parsed:
        case Step(thought, ops_, lenient):
            row |= {"kind": "step", "thought": thought, "ops": [op_row(op) for op in ops_]}
            row["lenient"] = list(lenient)
        case Answer(thought, text, lenient):
            row |= {"kind": "answer", "thought": thought, "answer": text}
            row["lenient"] = list(lenient)
        case Fault(reason, detail):
            row |= {"kind": "fault", "reason": str(reason), "detail": detail}
    return row


def trajectory(row: Row) -> Trajectory:
    turns = tuple(_turn(turn) for turn in row["turns"])
    return Trajectory(row["problem_id"], row["sample"], turns, Stop(row["stop"]))


def _turn(row: Row) -> Turn:
    parsed: Parsed
    if row["kind"] == "step":
        parsed = Step(row["thought"], ops(row["ops"]), tuple(row["lenient"]))
    elif row["kind"] == "answer":
        parsed = Answer(row["thought"], row["answer"], tuple(row["lenient"]))
    else:
        parsed = Fault(Stop(row["reason"]), row["detail"])
    ids, logprobs = row["ids"], row["logprobs"]
    return Turn(
        text=row["text"],
        parsed=parsed,
        ids=None if ids is None else tuple(ids),
        logprobs=None if logprobs is None else tuple(logprobs),
    )


def grade_row(problem: Problem, score: Score, solved: bool, reflection: Reflection) -> Row:
    return {
        "task": problem.task,
        "modality": str(problem.modality),
        "kind": str(problem.kind),
        "correct": score.correct,
        "format": score.format,
        "draw": score.draw,
        "total": score.total,
        "solved": solved,
        "paper": reflection.paper,
        "strict": reflection.strict,
        "helped": reflection.helped,
        "corrections": [
            {
                "kind": str(c.kind),
                "label": c.label,
                "earlier_step": c.earlier_step,
                "later_step": c.later_step,
                "helped": c.helped,
            }
            for c in reflection.corrections
        ],
    }
