"""The asset graph: what each asset reads, what decides it, and so where it lies.

An address is a hash of all that decides an asset's contents: two versions that differ in a filter
share the problems and trajectories before it, and an edited version file is built beside what it
made before.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from assets import bodies
from assets.bodies import TABLES, Body
from pipeline.canvas import RENDERER
from pipeline.protocol import PROTOCOL
from pipeline.rows import SCHEMA_VERSION
from pipeline.sources import SOURCES
from pipeline.tasks import TASKS
from pipeline.teachers.oracle import ORACLE, Rates
from pipeline.versions import Stage, Version


@dataclass(frozen=True, slots=True)
class Node:
    """One asset.

    ``inputs`` are the assets that it reads. ``after`` are those that it stands behind in the graph
    without reading them: what a model that is given would have been trained on. ``decided_by`` is
    the part of the version that matters to it; ``code`` is raised when its own code would make
    something else of the same inputs. ``tables`` names its schemas in `bodies.TABLES`.
    """

    about: str
    group: str
    tables: str
    body: Body
    inputs: tuple[str, ...]
    decided_by: Callable[[Version], Any]
    after: tuple[str, ...] = ()
    code: str = "1"
    split: str = ""  # of the problems that it is about


def _mix(version: Version) -> Any:
    makers = version.problems
    return {
        "seed": version.seed,
        "unit": version.wire.unit,
        "canvas": version.canvas.model_dump(),
        "wording": version.wording,
        "problems": makers.model_dump(),
        "tasks": {name: TASKS[name]().VERSION for name in makers.tasks},
        "sources": {name: SOURCES[name]().VERSION for name in makers.sources},
    }


def _drawn(version: Version) -> dict[str, Any]:
    wire = {"family": version.family, "protocol": PROTOCOL, "renderer": RENDERER}
    return {**wire, "rollout": version.rollout.model_dump()}


def _skills(version: Version) -> Any:
    return {**_drawn(version), **_scored(version)}


def _sampled(stage: str) -> Callable[[Version], Any]:
    def decided_by(version: Version) -> Any:
        asked: Stage = getattr(version, stage)
        sampling = {**asked.model_dump(), **_referenced(stage)(version)}
        return {**_drawn(version), "seed": version.seed, "stage": sampling}

    return decided_by


def _scored(version: Version) -> dict[str, Any]:
    return {"score": version.score.model_dump()}


def _filtered(split: str) -> Callable[[Version], Any]:
    def decided_by(version: Version) -> Any:
        return {**_scored(version), "filter": getattr(version.filters, split).model_dump()}

    return decided_by


def _referenced(stage: str) -> Callable[[Version], Any]:
    def decided_by(version: Version) -> Any:
        policy = getattr(version, stage).policy
        if policy.kind == "oracle":  # with the rates that the version leaves as they are
            return {
                "policy": {"kind": "oracle", "rates": asdict(Rates(**policy.rates)), "code": ORACLE}
            }
        return {"policy": policy.model_dump()}

    return decided_by


def _wire(version: Version) -> Any:
    return {"family": version.family, "rollout": version.rollout.model_dump()}


def _export(split: str, made: str, tables: str = "export") -> Node:
    about = f"The native parquet of `{made}`: pictures embedded, ops as data. Train on this."
    body = bodies.export(split, made)
    return Node(about, "exports", tables, body, ("problems", made), _wire, split=split)


def _model(stage: str, after: tuple[str, ...]) -> Node:
    about = f"A policy reference: what the version names as its {stage.replace('_', ' ')}."
    body = bodies.refer_to_model(stage)
    return Node(about, "models", "model", body, (), _referenced(stage), after)


NODES: dict[str, Node] = {
    "problems": Node(
        "Problems of all splits: pictures, question, answer, gold ops and the scene's truth; "
        "no scene in two splits.",
        "problems", "problems", bodies.sample_problems, (), _mix,
    ),
    "drawing_skills": Node(
        "One- and two-turn trajectories from gold ops: they teach the two drawing operations.",
        "cold", "skills", bodies.draw_skills, ("problems",), _skills, split="skills",
    ),
    "teacher_trajectories": Node(
        "What the teacher wrote and drew: every trajectory, finished well or not.",
        "cold", "trajectories", bodies.sample_teacher, ("problems",), _sampled("teacher"),
        split="cold",
    ),
    "cold_set": Node(
        "D_cold: teacher trajectories that are solved, well-formed, long enough and on the grid.",
        "cold", "cold", bodies.sift("cold", "teacher_trajectories"),
        ("problems", "teacher_trajectories"), _filtered("cold"), split="cold",
    ),
    "cold_model": _model("cold_model", ("drawing_skills", "cold_set")),
    "reflective_trajectories": Node(
        "What the cold model wrote and drew on fresh problems.",
        "reflective", "trajectories",
        bodies.sample_model("cold_model", "cold_model", "reflective"),
        ("problems", "cold_model"), _sampled("cold_model"), split="reflective",
    ),
    "reflective_set": Node(
        "D_reflect: trajectories that φ keeps: solved, well-formed and reflective.",
        "reflective", "reflective", bodies.sift("reflective", "reflective_trajectories"),
        ("problems", "reflective_trajectories"), _filtered("reflective"), split="reflective",
    ),
    "reflective_model": _model("reflective_model", ("cold_model", "reflective_set")),
    "rl_trajectories": Node(
        "What the reflective model wrote and drew on problems held for RL: its pass rates.",
        "rl", "trajectories", bodies.sample_model("reflective_model", "reflective_model", "rl"),
        ("problems", "reflective_model"), _sampled("reflective_model"), split="rl",
    ),
    "rl_problems": Node(
        "Problems that the reflective model solves sometimes: neither never nor always.",
        "rl", "rl", bodies.choose_rl_problems, ("problems", "rl_trajectories"), _scored, split="rl",
    ),
    "skills_export": _export("skills", "drawing_skills"),
    "cold_export": _export("cold", "cold_set"),
    "reflective_export": _export("reflective", "reflective_set"),
    "rl_export": _export("rl", "rl_problems", "rl_export"),
}  # fmt: skip


def address(asset: str, version: Version) -> str:
    """16 hex digits that name the contents of an asset in a version."""
    return hashlib.sha256(json.dumps(recipe(asset, version)).encode()).hexdigest()[:16]


def recipe(asset: str, version: Version) -> dict[str, Any]:
    """All that decides an asset, as it goes into its address and its manifest."""
    node = NODES[asset]
    return {
        "asset": asset,
        "code": node.code,
        "schema": SCHEMA_VERSION,
        "decided_by": node.decided_by(version),
        "inputs": {name: address(name, version) for name in node.inputs},
    }


def lineage(asset: str, version: Version) -> dict[str, Any]:
    """The recipes of an asset and of everything that it was made from, by address."""
    made = {address(asset, version): recipe(asset, version)}
    for name in NODES[asset].inputs:
        made |= lineage(name, version)
    return made


def code_version(asset: str) -> str:
    """What Dagster compares to tell whether an asset was made by other code."""
    return f"{NODES[asset].code}-{SCHEMA_VERSION}-{PROTOCOL}-{RENDERER}-{ORACLE}"


def schemas(asset: str) -> dict[str, Any]:
    return TABLES[NODES[asset].tables]
