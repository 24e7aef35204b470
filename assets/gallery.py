"""What a gallery shows of a version: the trajectories of its stages, kept and dropped, and verdicts.

Stages are read in the order of the recipe; each trajectory comes with the grade that is stored beside
it, and with the reason for which it was kept or dropped.
"""

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa

from assets.inputs import REJECTS, Inputs, put
from pipeline import crew, curate, gallery, rows
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
MOST = 20_000  # trajectories that the asset shows, some four files each; the command shows all
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

    shown = shares(version, inputs, MOST)
    left_out = notes(version, inputs, shown)
    hands = workers(sum(shown.values()))
    heading = gallery.Heading(version.name, left_out)
    with tempfile.TemporaryDirectory(prefix="drawloop-gallery-") as desk:
        folder = Path(desk) / "gallery"
        groups = noted(exhibits(version, inputs, shown))
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


def shares(version: Version, inputs: Inputs, most: int) -> dict[str, int]:
    """How many trajectories of each stage a page of at most so many shows.

    Stages have equal parts; what a small one leaves of its part the others have.
    """
    counts = {stage: count(version, inputs, stage) for stage in STAGES}
    parts, left = dict.fromkeys(STAGES, 0), most
    for n, stage in enumerate(sorted(counts, key=lambda stage: counts[stage])):
        parts[stage] = min(counts[stage], left // (len(counts) - n))
        left -= parts[stage]
    return parts


def of_each(version: Version, inputs: Inputs, stages: Iterable[str], most: int) -> dict[str, int]:
    """How many trajectories of each stage are shown, if it is at most so many of each; 0: all."""
    counts = {stage: count(version, inputs, stage) for stage in stages}
    return {stage: min(most or there, there) for stage, there in counts.items()}


def workers(trajectories: int) -> int:
    """Processes that draw a page of so many."""
    return crew.workers() if trajectories > ALONE else 1


def notes(version: Version, inputs: Inputs, shown: Mapping[str, int]) -> list[str]:
    """What the page leaves out, in words."""
    counts = {stage: count(version, inputs, stage) for stage in shown}
    return [
        f"{version.name}, {stage}: the first {some:,} of {counts[stage]:,} trajectories"
        f"{', of every model alike' if stage == 'evaluation' else ''}. "
        f"`drawloop gallery {version.name} --stage {stage}` makes a page of all."
        for stage, some in shown.items()
        if some < counts[stage]
    ]


def exhibits(version: Version, inputs: Inputs, shown: Mapping[str, int]) -> Iterator[Group]:
    """The first trajectories of stages, so many of each, by problem."""
    for stage, most in shown.items():
        if stage == "evaluation":
            yield from _of_evaluation(version, inputs, most)
        else:
            of_rl = stage == "rl"
            found = _of_rl(version, inputs) if of_rl else _of_set(version, inputs, stage)
            yield from _first(found, most)


def _first(groups: Iterable[Group], most: int) -> Iterator[Group]:
    """Groups until so many trajectories are shown."""
    for problem, exhibits in groups:
        if not most:
            return
        if some := exhibits[:most]:
            yield problem, some
            most -= len(some)


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


def _of_evaluation(version: Version, inputs: Inputs, most: int) -> Iterator[Group]:
    """What every model wrote, sampled and then greedily: the problems are read again for each."""
    run = itemgetter("model", "split", "greedy")
    names = ["model", "split", "greedy"]
    parts = _parts(Counter(map(run, inputs.rows("evaluation", "trajectories", names))), most)
    told = inputs.rows("evaluation", "trajectories", [*names, *GRADED])
    for (model, split, greedy), some in groupby(told, run):
        writer = f"{model}, greedy" if greedy else model
        found = (
            (problem, [_exhibit(version, "evaluation", writer, row, None) for row in mine])
            for problem, mine in _beside(inputs.problems(split, pictures=True), [some])
        )
        yield from _first(found, parts[model, split, greedy])


def _parts(counts: Counter[Any], most: int) -> dict[Any, int]:
    """How many of each are shown: the same share of all, and so many in all."""
    parts, total, before = {}, counts.total(), 0
    for name, there in counts.items():
        after = before + there
        parts[name] = after * most // total - before * most // total
        before = after
    return parts


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
