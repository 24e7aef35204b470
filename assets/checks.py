"""The promises of the assets, as blocking checks over what was written.

A check is a function of a built asset that answers with a `Finding`; its docstring is what the UI
shows. ``CHECKS`` says which asset promises what.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from assets import exports, gallery, models
from assets.build import Built
from assets.graph import NODES
from assets.inputs import FACTS, REJECTS
from pipeline import reward, rows, skills
from pipeline.curate import along
from pipeline.geometry import area, clip_box, meets_picture
from pipeline.importing import marks_of
from pipeline.mix import EVALUATED, EVERY_SPLIT
from pipeline.policies import MODELS
from pipeline.problems import fingerprints
from pipeline.rollout import retrace
from pipeline.types import Kind, Line, Op, Problem, Size, Step, Trajectory

SUMMARY = "summary"  # of an evaluation's rows: these are told, not kept or dropped


@dataclass(frozen=True, slots=True)
class Finding:
    passed: bool
    said: str


Check = Callable[[Built], Finding]


def _said(seen: str, wrong: str, cases: Sequence[object]) -> str:
    """What was looked at, and the first few cases in which it is not as promised."""
    few = ", ".join(map(str, cases[:5]))
    more = f" and {len(cases) - 5} more" if len(cases) > 5 else ""
    return f"{seen}; {wrong}: {few or 'none'}{more}"


def nothing_lost(built: Built) -> Finding:
    """Every row that came in is kept or dropped with a reason: in = kept + Σ dropped."""
    tables = {
        name: sum(1 for _ in built.rows(name, _thinnest(name))) for name in built.manifest.tables
    }
    kept = sum(count for name, count in tables.items() if name not in (REJECTS, SUMMARY))
    reasons = (
        Counter(row["reason"] for row in built.rows(REJECTS, ["reason"]))
        if REJECTS in tables
        else Counter[str]()
    )
    counted = {name: n for name, n in built.manifest.facts["yield"].items() if name != "kept"}
    came_in = _came_in(built)
    passed = (
        kept + reasons.total() == came_in
        and dict(reasons) == counted
        and tables == dict(built.manifest.tables)
        and not any(reason in (None, "") for reason in reasons)
    )
    why = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
    dropped = f"{reasons.total()} dropped{f' ({why})' if why else ''}"
    sign = "=" if kept + reasons.total() == came_in else "≠"
    said = f"{came_in} in {sign} {kept} kept + {dropped}"
    return Finding(
        passed, said if passed else f"{said}; the manifest tells {counted or 'no drops'}"
    )


def _thinnest(table: str) -> list[str]:
    """One small column, so that counting rows does not read pictures."""
    thinnest = {"policy": "policy", SUMMARY: "model", "written": "format"}
    return [thinnest.get(table, "problem_id")]


def _dropped(built: Built) -> int:
    return sum(n for reason, n in built.manifest.facts["yield"].items() if reason != "kept")


def _came_in(built: Built) -> int:
    """Rows that the asset's inputs gave it, by their manifests."""
    asset, node, inputs = built.asset, NODES[built.asset], built.inputs
    if asset == "problems":
        short: dict[str, int] = built.manifest.facts.get("short", {})
        asked = sum(built.version.problems.splits.values()) - sum(short.values())
        return asked + _dropped(built)
    if asset == "framework_exports":
        return sum(len(wanted.sets) for wanted in built.version.exports)
    if node.tables == "model":
        return int(built.version.policy(asset) is not None)
    if asset == "evaluation":
        few = built.version.evaluation.limit
        counts = [inputs.count("problems", split) for split in EVALUATED]
        asked = sum(min(count, few or count) for count in counts)
        return asked * sum(map(built.version.evaluations, MODELS))
    if asset == "gallery":
        return sum(gallery.shares(built.version, inputs, gallery.MOST).values())
    if node.tables == "trajectories":
        stage = {"cold": "teacher", "reflective": "cold_model", "rl": "reflective_model"}[
            node.split
        ]
        samples: int = getattr(built.version, stage).sampling.samples
        return inputs.count("problems", node.split) * samples
    if asset in ("drawing_skills", "rl_problems"):
        return inputs.count("problems", node.split)
    upstream = node.inputs[-1]
    table = "trajectories" if NODES[upstream].tables == "trajectories" else node.split
    return inputs.count(upstream, table)


def parts_intact(built: Built) -> Finding:
    """Every part has the sha256 that the manifest lists."""
    damaged = built.inputs.store.damaged(built.asset, built.address)
    said = f"damaged: {', '.join(damaged)}; delete {built.path} and build again"
    return Finding(
        not damaged, said if damaged else f"all {len(built.manifest.parts)} files are whole"
    )


def gold_scores_full(built: Built) -> Finding:
    """Every gold solution, told through text and parsing, earns full marks from the real grader."""
    version, failed, asked = built.version, [], 0
    for split in EVERY_SPLIT:
        for row in built.rows(split, FACTS):
            problem = rows.problem(row)
            if not problem.gold:
                continue
            asked += 1
            told = skills.gold(problem, version.limits, version.wire)
            score = reward.score(problem, told, retrace(problem, told), version.rules)
            if (score.correct, score.format) != (1, 1) or (score.draw or 0) < 0.999:
                failed.append(f"{problem.id} ({told.stop}, {score})")
    return Finding(not failed, _said(f"{asked} gold solutions", "short of full marks", failed))


def imports_accounted(built: Built) -> Finding:
    """Of every import, each row read is kept, dropped with a reason, or of a split that had enough."""
    told, names = built.manifest.facts.get("imports", {}), built.version.problems.imports
    kept: Counter[str] = Counter()
    for split in EVERY_SPLIT:
        kept.update(row["task"] for row in built.rows(split, ["task"]) if row["task"] in names)
    dropped = Counter(
        (row["task"], row["reason"]) for row in built.rows(REJECTS, ["task", "reason"])
    )
    off = [
        name
        for name, account in told.items()
        if sum(account["kept"].values()) != kept[name]
        or any(dropped[name, reason] != n for reason, n in account["dropped"].items())
        or account["rows"] != kept[name] + sum(account["dropped"].values()) + account["not_needed"]
    ]
    rows = sum(account["rows"] for account in told.values())
    passed = not off and told.keys() == names.keys()
    return Finding(passed, _said(f"{rows} rows of {len(told)} imports", "not accounted for", off))


def splits_disjoint(built: Built) -> Finding:
    """No two splits share a problem or a scene, or a picture that was imported."""
    owner: dict[bytes, str] = {}
    shared = []
    for split in EVERY_SPLIT:
        for problem in map(rows.problem, built.rows(split, FACTS)):
            marks = fingerprints(problem)
            if problem.task in built.version.problems.imports:
                marks += marks_of(problem)
            others = {owner.setdefault(mark, split) for mark in marks} - {split}
            shared += [f"{problem.id} with {other}" for other in sorted(others)]
    return Finding(
        not shared, _said(f"{len(owner)} fingerprints of scenes", "in two splits", shared)
    )


def base_disjoint(built: Built) -> Finding:
    """No scene that the tiny base was trained on is in a split that is evaluated on."""
    base = built.version.base_model
    if base is None or base.kind != "tiny":
        return Finding(True, "the version has no tiny base")
    seen, shared, asked = models.tiny_scenes(built.version.family), [], 0
    for split in EVALUATED:
        for problem in map(rows.problem, built.rows(split, FACTS)):
            asked += 1
            if any(mark in seen for mark in fingerprints(problem)):
                shared.append(problem.id)
    said = _said(f"{asked} problems, {len(seen)} fingerprints of the base", "seen by it", shared)
    return Finding(bool(seen) and not shared, said)


def summary_agrees(built: Built) -> Finding:
    """The accuracy of every model on every split is that of the trajectories that are kept."""
    solved: dict[tuple[str, str], list[bool]] = {}
    for row in built.rows("trajectories", ["model", "split", "greedy", "solved"]):
        if not row["greedy"]:
            solved.setdefault((row["model"], row["split"]), []).append(row["solved"])
    told = {
        (row["model"], row["split"]): row["accuracy"]
        for row in built.rows(SUMMARY, ["model", "split", "by", "accuracy"])
        if row["by"] == "all"
    }
    off = [
        f"{model} on {split}"
        for model, split in sorted(solved.keys() | told.keys())
        if abs(fmean(solved.get((model, split), []) or [-1]) - told.get((model, split), -2)) > 1e-9
    ]
    return Finding(not off, _said(f"{len(told)} accuracies", "not those of the rows", off))


def answers_balanced(built: Built) -> Finding:
    """No letter is right more often than chance explains (4 s.d.), and no number rules a task.

    Of what is made here: imported answers are as they are, and only told.
    """
    letters: Counter[tuple[int, str]] = Counter()
    values: Counter[tuple[str, str]] = Counter()
    given: Counter[str] = Counter()
    for split in EVERY_SPLIT:
        for row in built.rows(split, ["task", "kind", "options", "answer"]):
            if row["task"] in built.version.problems.imports:
                given[row["answer"] if row["kind"] == Kind.CHOICE else "a number"] += 1
            elif row["kind"] == Kind.CHOICE:
                letters[len(row["options"]), row["answer"]] += 1
            else:
                values[row["task"], row["answer"]] += 1
    off = [f"{letter} of {n}" for n, letter in _beyond_chance(letters)]
    for task in {task for task, _ in values}:
        counts = [count for (owner, _), count in values.items() if owner == task]
        if sum(counts) >= 50 and max(counts) > 0.5 * sum(counts):
            off.append(f"one number is the answer to {max(counts)} of {sum(counts)} of {task}")
    spread = ", ".join(f"{letter}/{n}: {count}" for (n, letter), count in sorted(letters.items()))
    said = f"right answers by letter and number of options: {spread or 'no choices'}"
    if given:
        said += f"; imported: {', '.join(f'{a} {n}' for a, n in sorted(given.items()))}"
    return Finding(not off, _said(said, "out of balance", off))


def _beyond_chance(letters: Counter[tuple[int, str]]) -> list[tuple[int, str]]:
    """Letters whose share is 4 standard deviations or more from 1 / number of options."""
    off = []
    for n in {n for n, _ in letters}:
        total = sum(count for (options, _), count in letters.items() if options == n)
        for letter in reward.LETTERS[:n]:
            expected, deviation = total / n, (total * (1 / n) * (1 - 1 / n)) ** 0.5
            if abs(letters[n, letter] - expected) > 4 * deviation:
                off.append((n, letter))
    return off


def ops_on_pictures(built: Built) -> Finding:
    """Every executed op lies on a picture that existed before its step; boxes keep an area."""
    node = NODES[built.asset]
    table = "trajectories" if node.tables == "trajectories" else node.split
    ops, off = 0, []
    asked = built.inputs.problems(node.split, pictures=False)
    told = map(rows.trajectory, built.rows(table, rows.TRAJECTORY.names))
    for problem, trajectory in along(asked, told):
        for op, size in _placed(problem, trajectory):
            ops += 1
            if size is None or not _lies_on(op, size):
                off.append(f"{trajectory.id}: {op}")
    return Finding(not off, _said(f"{ops} marks", "off their picture", off))


def _placed(problem: Problem, trajectory: Trajectory) -> Iterator[tuple[Op, Size | None]]:
    """Each op with the size of its picture; None where no such picture existed before its step."""
    sizes = [image.size for image in problem.images]  # of every picture so far
    for turn in trajectory.turns:
        if isinstance(turn.parsed, Step):
            found = {
                op.k: sizes[op.k - 1] if 1 <= op.k <= len(sizes) else None for op in turn.parsed.ops
            }
            yield from ((op, found[op.k]) for op in turn.parsed.ops)
            sizes += [size for size in found.values() if size is not None]


def _lies_on(op: Op, size: Size) -> bool:
    if isinstance(op, Line):
        return meets_picture(op.p, size)
    return area(op.p) > 0 and clip_box(op.p, size) == op.p


def exports_whole(built: Built) -> Finding:
    """Every row of a set is in its export, or omitted with a reason; each picture has its place."""
    off, rows_in = [], 0
    for row in built.rows("written"):
        omitted = json.loads(row["omitted"])
        there = built.inputs.count(exports.of(row["set"]), exports.TABLE)
        rows_in += there
        if not row["read"] == there == row["written"] + sum(omitted.values()):
            off.append(f"{row['folder']}: {there} rows, {row['written']} written, {omitted}")
        if row["pictures"] != row["placeholders"]:
            off.append(f"{row['folder']}: {row['pictures']} pictures, {row['placeholders']} places")
    return Finding(not off, _said(f"{rows_in} rows in", "not whole", off))


EVERY: tuple[Check, ...] = (nothing_lost, parts_intact)
CHECKS: dict[str, tuple[Check, ...]] = {
    "problems": (
        gold_scores_full,
        imports_accounted,
        splits_disjoint,
        base_disjoint,
        answers_balanced,
    ),
    "evaluation": (summary_agrees,),
    "framework_exports": (exports_whole,),
    "drawing_skills": (ops_on_pictures,),
    "teacher_trajectories": (ops_on_pictures,),
    "reflective_trajectories": (ops_on_pictures,),
    "rl_trajectories": (ops_on_pictures,),
    "cold_set": (ops_on_pictures,),
    "reflective_set": (ops_on_pictures,),
}


def checks_of(asset: str) -> tuple[Check, ...]:
    return EVERY + CHECKS.get(asset, ())
