"""What a gallery shows of a version: the trajectories of its stages, kept and dropped, and verdicts.

Stages are read in the order of the recipe; each trajectory comes with the grade that is stored beside
it, and with the reason for which it was kept or dropped.
"""

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa

from assets.inputs import REJECTS, Inputs, put
from pipeline import curate, gallery, rows
from pipeline.exhibits import ENCODER, Exhibit, Group
from pipeline.rows import Row
from pipeline.store import Writer
from pipeline.types import KEPT, Problem, Verdict
from pipeline.versions import Version

# The assets that each stage is read from.
STAGES: dict[str, tuple[str, ...]] = {
    "skills": ("drawing_skills",),
    "cold": ("cold_set",),
    "reflective": ("reflective_set",),
    "rl": ("rl_trajectories", "rl_problems"),
    "evaluation": ("evaluation",),
}
READ = tuple(asset for assets in STAGES.values() for asset in assets)
MOST = 2_000  # trajectories of a stage that the asset shows; the command shows as many as asked for
ALONE = 500  # trajectories up to which starting workers costs more than it saves
SHOWN = pa.schema([(name, pa.string()) for name in ("stage", "writer", "id", "problem_id")])

UNREAD = {"ids", "logprobs"}  # of a turn: nobody looks at them
TURNS = [f"turns.list.element.{field.name}" for field in rows.TURN if field.name not in UNREAD]
TOLD = [*(name for name in rows.TRAJECTORY.names if name != "turns"), *TURNS]
GRADED = [*TOLD, *rows.GRADE.names]


def decided_by(version: Version) -> dict[str, Any]:
    """What decides a gallery beside the trajectories in it."""
    page = b"".join(file.read_bytes() for file in sorted(gallery.PAGE.iterdir()))
    by_hand = {name: asdict(decision) for name, decision in sorted(version.decisions.items())}
    return {
        "version": version.name,
        "by_hand": by_hand,
        "most": MOST,
        "page": hashlib.sha256(page).hexdigest()[:16],
        "pictures": ENCODER,
    }


def hang(version: Version, inputs: Inputs, writer: Writer) -> None:
    """The body of the asset: the page's files, and a row for each trajectory that is on it."""

    def noted(groups: Iterable[Group]) -> Iterator[Group]:
        for problem, exhibits in groups:
            for one in exhibits:
                row = {"stage": one.stage, "writer": one.writer, "id": one.trajectory.id}
                put(writer, "shown", {**row, "problem_id": problem.id}, KEPT)
            yield problem, exhibits

    left_out = notes(version, inputs, [*STAGES], MOST)
    hands = workers(due(version, inputs, STAGES, MOST))
    heading = gallery.Heading(version.name, left_out)
    with tempfile.TemporaryDirectory(prefix="drawloop-gallery-") as desk:
        folder = Path(desk) / "gallery"
        groups = noted(exhibits(version, inputs, [*STAGES], MOST))
        gallery.write(folder, heading, groups, {version.name: version.decisions}, hands)
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            writer.add(file.relative_to(folder).as_posix(), file)
    writer.facts["left_out"] = left_out


def available(inputs: Inputs) -> list[str]:
    """The stages of which everything is there."""
    return [stage for stage, read in STAGES.items() if {*read} <= inputs.addresses.keys()]


def count(version: Version, inputs: Inputs, stage: str) -> int:
    """Trajectories of a stage, by the manifests."""
    (asset, *_) = STAGES[stage]
    tables = {
        "skills": ["skills"], "rl": ["trajectories"], "evaluation": ["trajectories"],
    }.get(stage, [stage, REJECTS])  # fmt: skip
    return sum(inputs.count(asset, table) for table in tables)


def due(version: Version, inputs: Inputs, stages: Iterable[str], most: int) -> int:
    """Trajectories that a page shows."""
    counts = (count(version, inputs, stage) for stage in stages)
    return sum(min(most or there, there) for there in counts)


def workers(trajectories: int) -> int:
    """Processes that draw a page of so many."""
    from assets.bodies import workers as allowed  # which names the body above, too

    return allowed() if trajectories > ALONE else 1


def notes(version: Version, inputs: Inputs, stages: Iterable[str], most: int) -> list[str]:
    """What the page leaves out, in words; ``most`` of 0 leaves nothing out."""
    counts = {stage: count(version, inputs, stage) for stage in stages}
    return [
        f"{version.name}, {stage}: the first {most:,} of {there:,} trajectories. "
        f"`drawloop gallery {version.name}` makes a page of all."
        for stage, there in counts.items()
        if most and there > most
    ]


def exhibits(
    version: Version, inputs: Inputs, stages: Sequence[str], most: int = 0
) -> Iterator[Group]:
    """The trajectories of stages, by problem, at most so many of each stage (0: all)."""
    sources = {"rl": _of_rl, "evaluation": _of_evaluation}
    for stage in stages:
        left = most or count(version, inputs, stage)
        source = sources.get(stage)
        found = source(version, inputs) if source else _of_set(version, inputs, stage)
        for problem, shown in found:
            if shown and left:
                yield problem, shown[:left]
                left -= len(shown[:left])


def _of_set(version: Version, inputs: Inputs, stage: str) -> Iterator[Group]:
    """Gold trajectories, or those that a set kept, and those that it dropped."""
    (asset,) = STAGES[stage]
    writer = {"skills": "gold", "cold": "teacher", "reflective": "cold_model"}[stage]
    tables = [inputs.rows(asset, stage, GRADED)]
    if stage != "skills":
        tables.append(inputs.rows(asset, REJECTS, [*GRADED, *rows.REASON.names]))
    for problem, found in _beside(inputs.problems(stage, pictures=True), tables):
        yield (
            problem,
            [
                _exhibit(version, stage, writer, row, None if stage == "skills" else _verdict(row))
                for row in found
            ],
        )


def _verdict(row: Row) -> Verdict:
    reason = row.get("reason")
    return Verdict(False, reason, row["detail"] or "") if reason else KEPT


def _of_rl(version: Version, inputs: Inputs) -> Iterator[Group]:
    """Trajectories that tell how often a problem is solved; the verdict is on the problem."""
    columns = ["problem_id"]
    verdicts = {row["problem_id"]: KEPT for row in inputs.rows("rl_problems", "rl", columns)}
    for row in inputs.rows("rl_problems", REJECTS, [*columns, *rows.REASON.names]):
        verdicts[row["problem_id"]] = _verdict(row)
    tables = [inputs.rows("rl_trajectories", "trajectories", TOLD)]
    for problem, found in _beside(inputs.problems("rl", pictures=True), tables):
        told = map(rows.trajectory, map(_whole, found))
        graded = curate.grade([problem], told, version.rules, version.limits.repeats)
        shown = []
        for one in graded:
            grade = rows.grade_row(problem, one.score, one.solved, one.reflection)
            verdict = verdicts.get(problem.id)
            shown.append(
                Exhibit(version.name, "rl", version.reinforced, one.trajectory, grade, verdict)
            )
        yield problem, shown


def _of_evaluation(version: Version, inputs: Inputs) -> Iterator[Group]:
    """What every model wrote, sampled and then greedily: the problems are read again for each."""
    told = inputs.rows("evaluation", "trajectories", ["model", "split", "greedy", *GRADED])
    for (model, split, greedy), some in groupby(told, itemgetter("model", "split", "greedy")):
        writer = f"{model}, greedy" if greedy else model
        for problem, found in _beside(inputs.problems(split, pictures=True), [some]):
            yield problem, [_exhibit(version, "evaluation", writer, row, None) for row in found]


def _exhibit(
    version: Version, stage: str, writer: str, row: Row, verdict: Verdict | None
) -> Exhibit:
    grade = {name: row[name] for name in rows.GRADE.names}
    return Exhibit(version.name, stage, writer, rows.trajectory(_whole(row)), grade, verdict)


def _whole(row: Row) -> Row:
    """A row whose turns have what was not read."""
    blank: Mapping[str, None] = dict.fromkeys(UNREAD)
    return {**row, "turns": [{**turn, **blank} for turn in row["turns"]]}


def _beside(
    asked: Iterator[Problem], tables: Sequence[Iterator[Row]]
) -> Iterator[tuple[Problem, list[Row]]]:
    """Every problem with its rows of some tables, in the order of samples; all lie in one order."""
    grouped = [groupby(table, itemgetter("problem_id")) for table in tables]
    heads = [next(groups, None) for groups in grouped]
    for problem in asked:
        found: list[Row] = []
        for n, head in enumerate(heads):
            if head is not None and head[0] == problem.id:
                found += head[1]
                heads[n] = next(grouped[n], None)
        yield problem, sorted(found, key=itemgetter("sample"))
    if left := [head[0] for head in heads if head is not None]:
        raise curate.Unmatched(f"trajectories of {left[0]!r} have no problem, or are out of order")
