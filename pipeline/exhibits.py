"""Trajectories as a page shows them: their records as plain data, and their pictures as files.

Guarantees: an observation is drawn by the canvas, as the model saw it; a picture has a name that
says what is on it, is made once, and is shared by all that show it.
Does not: trust a text. What a model wrote is passed on as it is, and the page must not run it.
"""

import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image as Pillow

from pipeline import canvas
from pipeline.decisions import fingerprint
from pipeline.rollout import retrace
from pipeline.rows import Row, op_row
from pipeline.types import Answer, Fault, Mark, Problem, Step, Trajectory, Turn, Verdict, View

ENCODER = "webp-1-88"  # part of a picture's name: another when its bytes are made differently
METHOD, QUALITY = 1, 88  # of WebP: a quarter of PNG's bytes, in its time


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A trajectory, who wrote it for which stage, and what became of it.

    ``grade`` has the columns of `rows.GRADE`. Without a verdict no set was made of such trajectories.
    """

    version: str
    stage: str
    writer: str  # the seat that wrote it
    trajectory: Trajectory
    grade: Row
    verdict: Verdict | None


Group = tuple[Problem, Sequence[Exhibit]]


class Shown(NamedTuple):
    """An exhibit as the page has it: a line of its index, and the record behind it, as JSON."""

    facets: Mapping[str, str | Sequence[str]]
    problem: str  # name of what is asked: pictures and words
    asked: str  # JSON
    record: str  # JSON
    brief: Mapping[str, Any]


def show(folder: Path, groups: Sequence[Group]) -> list[Shown]:
    """The records of some exhibits; their pictures are in ``folder`` afterwards."""
    shown = []
    for problem, exhibits in groups:
        name, asked = _asked(folder, problem)
        packed = pack(asked)
        for exhibit in exhibits:
            record = _record(folder, problem, exhibit)
            brief = {
                "id": problem.id,
                "question": problem.question[:160],
                "sample": exhibit.trajectory.sample,
                "total": round(exhibit.grade["total"], 3),
                "picture": _last(record, asked),
            }
            facets = _facets(problem, exhibit)
            shown.append(Shown(facets, name, packed, pack(record), brief))
    return shown


def pack(value: Any) -> str:
    """JSON in ASCII, in which nothing opens or closes a tag of a page."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e")


def _facets(problem: Problem, exhibit: Exhibit) -> dict[str, str | Sequence[str]]:
    """What exhibits are filtered by."""
    grade, verdict = exhibit.grade, exhibit.verdict
    judged = "not judged" if verdict is None else "kept" if verdict.keep else "dropped"
    rules = [rule for rule in ("paper", "strict", "helped") if grade[rule]]
    kinds = [correction["kind"] for correction in grade["corrections"]]
    answered = exhibit.trajectory.stop == "answered"
    return {
        "version": exhibit.version,
        "stage": exhibit.stage,
        "writer": exhibit.writer,
        "task": problem.task,
        "modality": str(problem.modality),
        "verdict": judged,
        "reason": verdict.reason if verdict and verdict.reason else "–",
        "stop": str(exhibit.trajectory.stop),
        "answer": ("right" if grade["solved"] else "wrong") if answered else "none",
        "reflection": list(dict.fromkeys([*rules, *kinds])) or ["none"],
    }


def _asked(folder: Path, problem: Problem) -> tuple[str, Row]:
    """What is asked, and the name of it: the same in two versions that ask the same."""
    facts: Row = {
        "question": problem.question,
        "options": list(problem.options),
        "answer": problem.answer,
        "kind": str(problem.kind),
        "task": problem.task,
        "modality": str(problem.modality),
        "difficulty": round(problem.difficulty, 3),
        "sizes": [[*image.size] for image in problem.images],
        "conclusion": problem.conclusion,
    }
    pictures = [image.sha256 for image in problem.images]
    name = hashlib.sha256(json.dumps([facts, pictures]).encode()).hexdigest()[:24]
    views = [View(n) for n in range(1, len(problem.images) + 1)]
    facts["pictures"] = [_picture(folder, problem, view) for view in views]
    facts["truth"] = [_truth(folder, problem, view.base) for view in views]
    return name, facts


def _truth(folder: Path, problem: Problem, base: int) -> str | None:
    """The picture of an input with the objects of the scene marked; None where none is known."""
    objects = problem.scene.objects if problem.scene else ()
    marks = tuple(Mark(op, base, 0, n) for n, op in enumerate(objects) if op.k == base)
    return _picture(folder, problem, View(base, marks)) if marks else None


def _record(folder: Path, problem: Problem, exhibit: Exhibit) -> Row:
    trajectory, verdict = exhibit.trajectory, exhibit.verdict
    state, first, turns = retrace(problem, trajectory), len(problem.images), []
    for turn, added in zip(trajectory.turns, state.observed, strict=True):
        views = enumerate(state.views[first : first + added], start=first + 1)
        drawn = [[k, view.base, _picture(folder, problem, view)] for k, view in views]
        turns.append({**_turn(turn), "views": drawn})
        first += added
    return {
        "id": trajectory.id,
        "stop": str(trajectory.stop),
        "verdict": None if verdict is None else [verdict.keep, verdict.reason, verdict.detail],
        "grade": exhibit.grade,
        "texts": fingerprint(trajectory),
        "turns": turns,
    }


def _turn(turn: Turn) -> Row:
    match turn.parsed:
        case Step(thought, ops, lenient):
            drawn = [op_row(op) for op in ops]
            told: Row = {"kind": "step", "thought": thought, "ops": drawn, "lenient": lenient}
        case Answer(thought, text, lenient):
            told = {"kind": "answer", "thought": thought, "answer": text, "lenient": lenient}
        case Fault() as fault:
            told = {"kind": "fault", **asdict(fault)}
    return {"text": turn.text, **told}


def _last(record: Row, asked: Row) -> str:
    """The picture that stands for a trajectory: the last one that it drew."""
    drawn: Iterator[str] = (view[2] for turn in reversed(record["turns"]) for view in turn["views"])
    return next(drawn, asked["pictures"][0])


def _picture(folder: Path, problem: Problem, view: View) -> str:
    """The name of a view's picture, which is in ``folder`` afterwards."""
    facts = f"{ENCODER} {canvas.identity(problem, view)}"
    name = hashlib.sha256(facts.encode()).hexdigest()[:24]
    path = folder / name[:2] / f"{name}.webp"
    if not path.exists():
        data = io.BytesIO()
        pixels = canvas.pixels(problem, view)
        Pillow.fromarray(pixels).save(data, "WEBP", quality=QUALITY, method=METHOD)
        path.parent.mkdir(exist_ok=True)
        own = path.with_suffix(f".{os.getpid()}")  # another worker may be making the same
        own.write_bytes(data.getvalue())
        own.replace(path)
    return name
