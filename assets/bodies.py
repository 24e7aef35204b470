"""The bodies of the assets: each reads its inputs, calls the pipeline and writes what comes out."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from itertools import groupby

import pyarrow as pa

from assets import exports, gallery, models
from assets.inputs import Inputs, put, with_rejects
from assets.underway import Tell, telling
from pipeline import curate, problems, rows, shape, skills, teachers
from pipeline.asking import asking
from pipeline.crew import workers
from pipeline.decisions import ACCEPTED, REJECTED
from pipeline.failing import Runs, within
from pipeline.importing import Ledger
from pipeline.mix import EVERY_SPLIT
from pipeline.policies import Stage
from pipeline.progress import followed, told
from pipeline.rollout import rollout
from pipeline.rows import Row
from pipeline.spending import Spending
from pipeline.store import Writer
from pipeline.types import KEPT, Failure, Problem, Trajectory, Verdict
from pipeline.versions import Version

Body = Callable[[Version, Inputs, Writer], None]

GRADED = rows.joined(rows.TRAJECTORY, rows.GRADE)
PROBLEM = rows.joined(rows.FACTS, rows.PICTURES)
FAILED = pa.schema([("problem_id", pa.string()), ("sample", pa.int32())])
PASSED = pa.schema(
    [
        ("problem_id", pa.string()),
        ("task", pa.string()),
        ("modality", pa.string()),
        ("kind", pa.string()),
        ("solved_samples", pa.int32()),
        ("samples", pa.int32()),
        ("pass_rate", pa.float64()),
        ("mean_total", pa.float64()),
    ]
)
WIRE = pa.schema(  # what a row's texts were written for
    [
        ("family", pa.string()),
        ("max_turns", pa.int32()),  # the answer included
        ("max_images", pa.int32()),
    ]
)
POLICY = pa.schema([("policy", pa.string())])
EVALUATED = pa.schema(
    [
        ("model", pa.string()),
        ("split", pa.string()),
        ("greedy", pa.bool_()),  # or one of the samples
    ]
)
SUMMARY = pa.schema(
    [
        *((name, pa.string()) for name in ("model", "split", "by", "value")),
        *((name, pa.int32()) for name in ("problems", "samples", "k")),
        *((name, pa.float64()) for name in ("accuracy", "accuracy_low", "accuracy_high")),
        *((name, pa.float64()) for name in ("correct", "greedy", "pass_at_1", "pass_at_k", "gap")),
        *((name, pa.float64()) for name in ("draw", "paper", "strict", "helped")),
        *((name, pa.float64()) for name in ("turns", "boxes", "lines", "tokens")),
        ("stops", pa.string()),  # JSON: share by stop reason
    ]
)

TABLES: dict[str, dict[str, pa.Schema]] = {
    "problems": with_rejects(
        dict.fromkeys(EVERY_SPLIT, PROBLEM),
        rows.joined(pa.schema([("split", pa.string())]), PROBLEM),
    ),
    "skills": {"skills": GRADED},
    "trajectories": with_rejects({"trajectories": rows.TRAJECTORY}, FAILED),
    "cold": with_rejects({"cold": GRADED}, GRADED),
    "reflective": with_rejects({"reflective": GRADED}, GRADED),
    "rl": with_rejects({"rl": PASSED}, PASSED),
    "model": {"policy": POLICY},
    "evaluation": {"trajectories": rows.joined(EVALUATED, GRADED), "summary": SUMMARY},
    "gallery": {"shown": gallery.SHOWN},
    "export": {"train": rows.joined(GRADED, PROBLEM, WIRE)},
    "rl_export": {"train": rows.joined(PASSED, PROBLEM, WIRE)},
    "framework_exports": {"written": exports.WRITTEN},
}
WEIGHT = pa.schema([("weight", pa.float64())])  # of an export, if its version weighs its rows


def sample_problems(version: Version, inputs: Inputs, writer: Writer) -> None:
    clear, ledger = problems.Clear(version), Ledger()
    sampled = problems.sample(version, workers(), clear, ledger)
    wanted = sum(version.problems.splits.values())
    for split, problem, verdict in told(sampled, "problems", wanted):
        row = (
            {"problem_id": problem.id, "task": problem.task}
            if isinstance(problem, problems.Refused)
            else rows.problem_row(problem)
        )
        put(writer, split, {**row, "split": split}, verdict)
    if clear.read:
        writer.facts["clear_of"] = clear.read
    if version.problems.imports:
        writer.facts["imports"] = ledger.facts(version)
        writer.facts["short"] = ledger.short


def draw_skills(version: Version, inputs: Inputs, writer: Writer) -> None:
    gold = skills.trajectories(
        inputs.problems("skills", pictures=False), version.limits, version.wire
    )
    for row in _graded(version, inputs.problems("skills", pictures=False), gold):
        put(writer, "skills", _graded_row(row), KEPT)


# Whose trajectories each asset holds, on the problems of which split.
SAMPLED: dict[str, str] = {
    "teacher_trajectories": "cold",
    "reflective_trajectories": "reflective",
    "rl_trajectories": "rl",
}


def seat(asset: str, version: Version) -> str:
    """Who is sampled for an asset of trajectories."""
    seats = {"teacher_trajectories": "teacher", "reflective_trajectories": "cold_model"}
    return seats.get(asset, version.reinforced)


def stage(asset: str, version: Version, inputs: Inputs) -> Stage:
    """The policy that is sampled for an asset of trajectories, and how."""
    if asset == "teacher_trajectories":
        return version.teacher
    sampling = (
        version.cold_model if asset == "reflective_trajectories" else version.reflective_model
    ).sampling
    return Stage(policy=models.policy(version, inputs, seat(asset, version)), sampling=sampling)


def sample(asset: str) -> Body:
    """Trajectories of the one who sits in a seat, and what they took."""

    def body(version: Version, inputs: Inputs, writer: Writer) -> None:
        asyncio.run(_write(asset, version, inputs, writer))

    return body


async def _write(asset: str, version: Version, inputs: Inputs, writer: Writer) -> None:
    with telling(inputs.store, writer.name) as tell:
        async with sampling(asset, version, inputs, tell) as (runs, spending):
            async for run in runs:
                if isinstance(run, Failure):
                    failed = {"problem_id": run.problem_id, "sample": run.sample}
                    put(writer, "trajectories", failed, Verdict(False, "failed", run.reason))
                else:
                    put(writer, "trajectories", rows.trajectory_row(run), KEPT)
            if spent := spending.facts():
                writer.facts["spent"] = spent


@asynccontextmanager
async def sampling(
    asset: str, version: Version, inputs: Inputs, tell: Tell = lambda progress: None
) -> AsyncIterator[tuple[Runs, Spending]]:
    """The runs of an asset of trajectories, as they end, and what they spend."""
    split, chosen = SAMPLED[asset], stage(asset, version, inputs)
    samples, limits = chosen.sampling.samples, version.limits.of(seat(asset, version))
    problems_asked = inputs.problems(split, pictures=True)
    total = inputs.count("problems", split) * samples
    async with asking(chosen, version, seat(asset, version), inputs.store) as (policy, spending):
        many = teachers.in_flight(chosen)
        runs = rollout(policy, problems_asked, samples, limits, version.wire, many)
        few = within(runs, version.failures.most, version.failures.after)
        async with aclosing(followed(few, asset, total, spending, tell=tell)) as ended:
            yield ended, spending


def sift(split: str, trajectories: str) -> Body:
    """The trajectories of a stage through the filters of its set, and into its shape."""

    def body(version: Version, inputs: Inputs, writer: Writer) -> None:
        def judged(*last: curate.Filter) -> Iterator[tuple[curate.Graded, Verdict]]:
            asked = inputs.problems(split, pictures=False)
            graded = _graded(version, asked, inputs.trajectories(trajectories))
            return curate.sift(graded, [*filters(version, split), *last])

        wanted = getattr(version.filters, split).shape
        by_hand = dict.fromkeys(version.decided(split), "")
        for row, verdict in judged(*([shape.shaped(judged(), wanted)] if wanted else [])):
            put(writer, split, _graded_row(row), verdict)
            if row.trajectory.id in by_hand:
                by_hand[row.trajectory.id] = verdict.reason or "kept"
        if by_hand:
            writer.facts["by_hand"] = _honoured(by_hand)

    return body


def _honoured(by_hand: dict[str, str]) -> dict[str, list[str]]:
    """Ids by what became of a decision; one about other texts, or about nothing, is told, too."""
    found: dict[str, list[str]] = {ACCEPTED: [], REJECTED: [], "not_applied": [], "no_such": []}
    for name, reason in by_hand.items():
        applied = reason if reason in (ACCEPTED, REJECTED) else "not_applied"
        found[applied if reason else "no_such"].append(name)
    return found


def filters(version: Version, split: str) -> list[curate.Filter]:
    """What the trajectories of a split pass through into its set, short of its shape."""
    asked, by_hand = getattr(version.filters, split), version.decided(split)
    if split == "cold":
        chosen = curate.cold_filters(asked.min_turns, by_hand)
    else:
        chosen = curate.reflective_filters(asked.rule, by_hand)
    return [*chosen, curate.drawn_well(asked.least_draw)] if asked.least_draw else chosen


def choose_rl_problems(version: Version, inputs: Inputs, writer: Writer) -> None:
    asked = inputs.problems("rl", pictures=False)
    graded = _graded(version, asked, inputs.trajectories("rl_trajectories"))
    samples = version.reflective_model.sampling.samples
    for row in curate.pass_rates(inputs.problems("rl", pictures=False), graded):
        put(writer, "rl", _pass_row(row), curate.learnable(row, samples))


def export(split: str, made: str) -> Body:
    """A set with its problems and their pictures in every row, for whoever trains on it."""

    def body(version: Version, inputs: Inputs, writer: Writer) -> None:
        told = _whole(version, split, made, inputs)
        exports.write_native(version, split, told, inputs, writer)

    return body


def _whole(version: Version, split: str, made: str, inputs: Inputs) -> Iterator[Row]:
    """The rows of a set, each with its problem and what its texts were written for."""
    turns = dict(version.limits.task_turns)
    asked = inputs.rows("problems", split)
    weigh = _weights(version, split, made, inputs)
    for problem, row in _beside(asked, inputs.rows(made, split)):
        wire = {
            "family": version.family,
            "max_turns": turns.get(problem["task"], version.limits.max_turns),
            "max_images": version.limits.max_images,
        }
        weight = {"weight": weigh(rows.problem({**problem, "images": None}))} if weigh else {}
        yield {**problem, **row, **wire, **weight}


def weighs(version: Version, split: str) -> tuple[str, ...]:
    """The facets whose values are to weigh the same in the export of a split's set."""
    return getattr(getattr(version.filters, split, None), "weigh", ())


def _weights(
    version: Version, split: str, made: str, inputs: Inputs
) -> Callable[[Problem], float] | None:
    if not (names := weighs(version, split)):
        return None
    asked = inputs.rows("problems", split, rows.FACTS.names)
    chosen = _beside(asked, inputs.rows(made, split, ["problem_id"]))
    return shape.weights((rows.problem(problem) for problem, _ in chosen), names)


def _beside(asked: Iterator[Row], chosen: Iterator[Row]) -> Iterator[tuple[Row, Row]]:
    """Each chosen row with its problem's row: both lie in the order of problems."""
    for problem_id, group in groupby(chosen, key=lambda row: row["problem_id"]):
        problem = next((row for row in asked if row["problem_id"] == problem_id), None)
        if problem is None:
            raise curate.Unmatched(f"{problem_id!r} has no problem, or is out of order")
        for row in group:
            yield problem, row


def _graded(
    version: Version, asked: Iterator[Problem], trajectories: Iterator[Trajectory]
) -> Iterator[curate.Graded]:
    return curate.grade(asked, trajectories, version.rules, version.limits.repeats)


def _graded_row(row: curate.Graded) -> Row:
    graded = rows.grade_row(row.problem, row.score, row.solved, row.reflection)
    return {**rows.trajectory_row(row.trajectory), **graded}


def _pass_row(row: curate.PassRate) -> Row:
    return {
        "problem_id": row.problem.id,
        "task": row.problem.task,
        "modality": str(row.problem.modality),
        "kind": str(row.problem.kind),
        "solved_samples": row.solved,
        "samples": row.samples,
        "pass_rate": row.rate,
        "mean_total": row.mean_total,
    }
