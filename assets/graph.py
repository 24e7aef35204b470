"""The asset graph: what each asset reads, what decides it, and so where it lies.

An address is a hash of all that decides an asset's contents: two versions that differ in a filter
share the problems and trajectories before it, and an edited version file is built beside what it
made before.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from assets import bodies, exports, gallery, models
from assets.bodies import TABLES, WEIGHT, Body
from pipeline.canvas import RENDERER
from pipeline.exporters import SETS
from pipeline.importing import unmarked
from pipeline.policies import LEARNABLE, MODELS
from pipeline.protocol import PROTOCOL
from pipeline.rows import SCHEMA_VERSION, joined
from pipeline.sources import SOURCES
from pipeline.tasks import TASKS
from pipeline.teachers.oracle import ORACLE
from pipeline.versions import Version


@dataclass(frozen=True, slots=True)
class Node:
    """One asset.

    ``inputs`` are the assets that it may read; where that hangs on the version, ``chosen`` tells
    which. ``decided_by`` is the part of the version that matters to it; ``code`` is raised when its
    own code would make something else of the same inputs. ``tables`` names its schemas in
    `bodies.TABLES`.
    """

    about: str
    group: str
    tables: str
    body: Body
    inputs: tuple[str, ...]
    decided_by: Callable[[Version], Any]
    code: str = "1"
    split: str = ""  # of the problems that it is about
    chosen: Callable[[Version], tuple[str, ...]] | None = None

    def reads(self, version: Version) -> tuple[str, ...]:
        """The assets that it reads in a version."""
        return self.chosen(version) if self.chosen else self.inputs


def _mix(version: Version) -> Any:
    makers = version.problems
    return {
        "seed": version.seed,
        "unit": version.wire.unit,
        "canvas": version.canvas.model_dump(),
        "wording": version.wording,
        "problems": makers.recipe(),
        "tasks": {name: TASKS[name]().VERSION for name in (*makers.tasks, *makers.unseen.tasks)},
        "sources": {name: SOURCES[name]().VERSION for name in makers.sources},
        **(_imported(version) if makers.imports else {}),
    }


def _imported(version: Version) -> dict[str, Any]:
    """What else decides which rows of imports are kept, and where: whether their marks can be told."""
    return {**_drawn(version), **_scored(version), "unmarked": unmarked(version)}


def _drawn(version: Version) -> dict[str, Any]:
    wire = {"family": version.family, "protocol": PROTOCOL, "renderer": RENDERER}
    return {**wire, "rollout": version.rollout.model_dump()}


def _skills(version: Version) -> Any:
    return {**_drawn(version), **_scored(version)}


def _sampled(stage: str) -> Callable[[Version], Any]:
    def decided_by(version: Version) -> Any:
        sampling = {**getattr(version, stage).model_dump(), **_referenced(stage)(version)}
        return {**_drawn(version), "seed": version.model_seed(stage), "stage": sampling}

    return decided_by


def _scored(version: Version) -> dict[str, Any]:
    return {"score": version.score.model_dump()}


def _filtered(split: str) -> Callable[[Version], Any]:
    def decided_by(version: Version) -> Any:
        said = {name: asdict(decision) for name, decision in version.decided(split).items()}
        by_hand = {"by_hand": said} if said else {}
        return {**_scored(version), "filter": getattr(version.filters, split).recipe(), **by_hand}

    return decided_by


def _referenced(seat: str) -> Callable[[Version], Any]:
    def decided_by(version: Version) -> Any:
        return {"policy": models.reference(seat, version)}

    return decided_by


def _tried(version: Version) -> Any:
    sampling = version.reflective_model.sampling.model_dump()
    return {**_drawn(version), "seed": version.model_seed(version.reinforced), "sampling": sampling}


def evaluated(version: Version) -> Any:
    """All that decides what an evaluation makes of a model."""
    made = {"trainer": models.CODE["evaluate"], **models.evaluation_settings(version)}
    return {**_drawn(version), **made}


def _export(split: str, made: str, tables: str = "export") -> Node:
    about = f"The native parquet of {made}: pictures embedded, ops as data. Train on this."

    def decided_by(version: Version) -> Any:
        weigh = {"weigh": names} if (names := bodies.weighs(version, split)) else {}
        return {"family": version.family, "rollout": version.rollout.model_dump(), **weigh}

    body = bodies.export(split, made)
    return Node(about, "exports", tables, body, ("problems", made), decided_by, split=split)


def _model(seat: str) -> Node:
    name = seat.replace("_", " ").replace("grpo", "GRPO")
    about = f"The {name}: a policy that the version names, or a checkpoint trained here."
    starts, exports = MODELS[: MODELS.index(seat)], map(models.export_of, LEARNABLE[seat])
    inputs = (*starts, *exports)

    def learns_from(version: Version) -> tuple[str, ...]:
        return models.learns_from(seat, version) if version.is_trained(seat) else ()

    body, decided_by = models.train(seat), _referenced(seat)
    return Node(about, "models", "model", body, inputs, decided_by, chosen=learns_from)


NODES: dict[str, Node] = {
    "problems": Node(
        "Problems of all splits: pictures, question, answer, gold ops and the scene's truth; "
        "no scene in two splits.",
        "problems", "problems", bodies.sample_problems, (), _mix, code="2",
    ),
    "base_model": Node(
        "The model that training begins with: a checkpoint, or the tiny base kept with the project; "
        "none where the version names none.",
        "models", "model", models.refer("base_model"), (), _referenced("base_model"), code="2",
    ),
    "drawing_skills": Node(
        "One- and two-turn trajectories from gold ops: they teach the two drawing operations.",
        "cold", "skills", bodies.draw_skills, ("problems",), _skills, split="skills",
    ),
    "teacher_trajectories": Node(
        "What the teacher wrote and drew: every trajectory, finished well or not.",
        "cold", "trajectories", bodies.sample("teacher_trajectories"),
        ("problems",), _sampled("teacher"), code="2", split="cold",
    ),
    "cold_set": Node(
        "D_cold: teacher trajectories that are solved, well-formed, long enough and on the grid.",
        "cold", "cold", bodies.sift("cold", "teacher_trajectories"),
        ("problems", "teacher_trajectories"), _filtered("cold"), code="2", split="cold",
    ),
    "skills_export": _export("skills", "drawing_skills"),
    "cold_export": _export("cold", "cold_set"),
    "cold_model": _model("cold_model"),
    "reflective_trajectories": Node(
        "What the cold model wrote and drew on fresh problems.",
        "reflective", "trajectories",
        bodies.sample("reflective_trajectories"),
        ("problems", "cold_model"), _sampled("cold_model"), code="2", split="reflective",
    ),
    "reflective_set": Node(
        "D_reflect: trajectories that φ keeps: solved, well-formed and reflective.",
        "reflective", "reflective", bodies.sift("reflective", "reflective_trajectories"),
        ("problems", "reflective_trajectories"), _filtered("reflective"), code="2",
        split="reflective",
    ),
    "reflective_export": _export("reflective", "reflective_set"),
    "reflective_model": _model("reflective_model"),
    "rl_trajectories": Node(
        "What the model that RL begins with wrote and drew on problems held for RL: its pass rates.",
        "rl", "trajectories", bodies.sample("rl_trajectories"),
        ("problems", *MODELS[:-1]), _tried, code="2", split="rl",
        chosen=lambda version: ("problems", version.reinforced),
    ),
    "rl_problems": Node(
        "Problems that the model that RL begins with solves sometimes: neither never nor always.",
        "rl", "rl", bodies.choose_rl_problems, ("problems", "rl_trajectories"), _scored, split="rl",
    ),
    "rl_export": _export("rl", "rl_problems", "rl_export"),
    "framework_exports": Node(
        "The sets as training frameworks load them: a folder for each that the version lists under "
        "`exports`, with its data, a card and a report; none where it lists none.",
        "exports", "framework_exports", exports.write, tuple(map(exports.of, SETS)),
        exports.decided_by, chosen=exports.read_by,
    ),
    "grpo_model": _model("grpo_model"),
    "evaluation": Node(
        "Every model on the problems held for evaluation: accuracy, drawing, reflection, lengths.",
        "evaluation", "evaluation", models.evaluate, ("problems", *MODELS), evaluated,
    ),
    "gallery": Node(
        "A page to look at trajectories with: click on `page` below, which copies its address, and "
        "paste it into the browser's bar.",
        "gallery", "gallery", gallery.hang, ("problems", *gallery.READ), gallery.decided_by,
    ),
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
        "inputs": {name: address(name, version) for name in node.reads(version)},
    }


def lineage(asset: str, version: Version) -> dict[str, Any]:
    """The recipes of an asset and of everything that it was made from, by address."""
    return {address(a, version): recipe(a, version) for a in needed([asset], version)}


def needed(wanted: Iterable[str], version: Version) -> list[str]:
    """The assets wanted and all that they are made from in a version, in the order of the graph."""
    found = set(wanted)
    for asset in reversed(NODES):
        if asset in found:
            found |= {*NODES[asset].reads(version)}
    return [asset for asset in NODES if asset in found]


def sets() -> list[str]:
    """What a version is built for, short of its last model and evaluation: its exports."""
    return [asset for asset in NODES if NODES[asset].group == "exports"]


def code_version(asset: str) -> str:
    """What Dagster compares to tell whether an asset was made by other code."""
    trainer = models.TRAINERS.get(asset, "evaluate" if asset == "evaluation" else "")
    code = f"{NODES[asset].code}.{models.CODE[trainer]}" if trainer else NODES[asset].code
    return f"{code}-{SCHEMA_VERSION}-{PROTOCOL}-{RENDERER}-{ORACLE}"


def schemas(asset: str, version: Version) -> dict[str, Any]:
    """The tables of an asset; an export of weighed rows has a column more."""
    node = NODES[asset]
    if node.group == "exports" and node.split and bodies.weighs(version, node.split):
        return {name: joined(schema, WEIGHT) for name, schema in TABLES[node.tables].items()}
    return TABLES[node.tables]
