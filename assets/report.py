"""What a built asset is worth telling: numbers for a table, and metadata that the UI shows."""

import base64
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import dagster as dg

from assets.build import Built
from assets.graph import NODES
from assets.inputs import REJECTS
from pipeline import canvas, curate, figures, rows
from pipeline.rollout import retrace
from pipeline.types import SPLITS, Problem, State, Stop, Trajectory

SHOWN = 6  # trajectories on a contact sheet: some 50 kB
SCORE_BIN = 0.25


@dataclass(frozen=True, slots=True)
class Line:
    """One asset in a table: rows that came in, kept, dropped by reason; bytes; where it lies."""

    asset: str
    kept: int
    dropped: dict[str, int]
    bytes: int
    path: str

    @property
    def came_in(self) -> int:
        return self.kept + sum(self.dropped.values())


def line(built: Built) -> Line:
    counts = dict(built.manifest.facts["yield"])
    kept = counts.pop("kept", 0)
    dropped = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    return Line(built.asset, kept, dropped, built.manifest.bytes, built.path)


def metadata(built: Built) -> dict[str, Any]:
    """Counts, yields, plots and a contact sheet, in the order in which the page shows them."""
    told, node = line(built), NODES[built.asset]
    shown: dict[str, Any] = {"rows in": told.came_in, "kept": told.kept}
    if told.came_in:
        shown["yield"] = round(told.kept / told.came_in, 4)
    if told.dropped:
        shown["dropped by reason"] = dg.MetadataValue.md(figures.bars(told.dropped))
    if node.tables == "problems":
        shown["problems by split and task"] = dg.MetadataValue.md(_by_task(built))
    if node.tables == "trajectories":
        shown["stop reasons"] = dg.MetadataValue.md(figures.bars(_stops(built)))
    if node.tables in ("cold", "reflective"):
        shown["score of all that came in"] = dg.MetadataValue.md(figures.bars(_scores(built)))
        shown["reflection"] = dg.MetadataValue.md(_reflection(built))
    if node.tables == "model":
        shown["policy"] = dg.MetadataValue.md(f"`{next(built.rows('policy'))['policy']}`")
    if (sheet := _sheet(built)) is not None:
        shown["contact sheet"] = _picture(figures.webp(sheet))
    shown["bytes"] = told.bytes
    shown["where"] = dg.MetadataValue.path(told.path)
    return shown


def _picture(webp: bytes) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md(f"![](data:image/webp;base64,{base64.b64encode(webp).decode()})")


def _by_task(built: Built) -> str:
    counts = {s: Counter(r["task"] for r in built.rows(s, ["task"])) for s in SPLITS}
    tasks = sorted({task for split in counts.values() for task in split})
    head = f"| task | {' | '.join(SPLITS)} |\n|---|{'---|' * len(SPLITS)}"
    body = [f"| {t} | {' | '.join(str(counts[s][t]) for s in SPLITS)} |" for t in tasks]
    return "\n".join([head, *body])


def _stops(built: Built) -> dict[str, int]:
    counts = Counter(row["stop"] for row in built.rows("trajectories", ["stop"]))
    return {str(stop): counts[stop] for stop in Stop}


def _scores(built: Built) -> dict[str, int]:
    """S of kept and dropped rows together, in bins of `SCORE_BIN`; exactly 0 has its own."""
    counts: Counter[int] = Counter()
    for table in (NODES[built.asset].split, REJECTS):
        for row in built.rows(table, ["total"]):
            counts[-1 if row["total"] == 0 else int(row["total"] / SCORE_BIN)] += 1
    names = {-1: "0"} | {n: f"{n * SCORE_BIN:g} – {(n + 1) * SCORE_BIN:g}" for n in range(1000)}
    return {names[n]: counts[n] for n in range(-1, max(counts, default=-1) + 1)}


def _reflection(built: Built) -> str:
    """Both rules and the kinds of correction, of what was kept and of what was dropped."""
    rules = ("paper", "strict", "helped")
    lines = ["| | rows | paper | strict | helped | corrections |", "|---|---|---|---|---|---|"]
    for name, table in (("kept", NODES[built.asset].split), ("dropped", REJECTS)):
        counts, kinds = Counter[str](), Counter[str]()
        for row in built.rows(table, [*rules, "corrections"]):
            counts.update(["rows", *(rule for rule in rules if row[rule])])
            kinds.update(correction["kind"] for correction in row["corrections"])
        said = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items())) or "none"
        numbers = " | ".join(str(counts[key]) for key in ("rows", *rules))
        lines.append(f"| {name} | {numbers} | {said} |")
    return "\n".join(lines)


def _sheet(built: Built) -> Any:
    """A contact sheet of the first rows, as pixels; None where there is nothing to show."""
    node = NODES[built.asset]
    if node.tables == "problems":
        sheet = [(p, canvas.opened(p), f"{p.id}: {p.question} → {p.answer}") for p in _asked(built)]
    elif node.tables in ("trajectories", "skills", "cold", "reflective"):
        table = "trajectories" if node.tables == "trajectories" else node.split
        sheet = [
            (problem, state, f"{told.id}: {told.stop}. {problem.question} → {problem.answer}")
            for problem, told, state in examples(built, table, SHOWN)
        ]
    else:
        return None
    return figures.contact_sheet(sheet) if sheet else None


def _asked(built: Built) -> Iterator[Problem]:
    every = chain.from_iterable(built.rows(split) for split in ("cold", *SPLITS))
    return map(rows.problem, islice(every, SHOWN))


def examples(built: Built, table: str, count: int) -> Iterator[tuple[Problem, Trajectory, State]]:
    """Trajectories with their pictures, the first of each problem, so that every task appears."""
    told = map(rows.trajectory, built.rows(table, rows.TRAJECTORY.names))
    asked = built.inputs.problems(NODES[built.asset].split, pictures=True)
    seen = ""
    for problem, trajectory in curate.along(asked, told):
        if count and problem.id != seen:
            seen, count = problem.id, count - 1
            yield problem, trajectory, retrace(problem, trajectory)
        if not count:
            return
