"""What a built asset is worth telling: numbers for a table, and metadata that the UI shows."""

import base64
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Any

import dagster as dg

from assets import models, results
from assets.build import Built
from assets.gallery import READ
from assets.graph import NODES
from assets.inputs import REJECTS
from pipeline import canvas, curate, figures, rows
from pipeline.mix import EVERY_SPLIT
from pipeline.reward import LETTERS
from pipeline.rollout import retrace
from pipeline.types import Problem, State, Stop, Trajectory

SHOWN = 6  # trajectories on a contact sheet: some 50 kB
SCORE_BIN = 0.25
FILES = 8  # of an asset, listed: more would not be shown in place


@dataclass(frozen=True, slots=True)
class Line:
    """One asset in a table: rows that came in, kept, dropped by reason; bytes; where it lies."""

    asset: str
    kept: int
    dropped: dict[str, int]
    bytes: int
    path: str
    spent: dict[str, Any] | None = None

    @property
    def came_in(self) -> int:
        return self.kept + sum(self.dropped.values())


def line(built: Built) -> Line:
    counts = dict(built.manifest.facts["yield"])
    kept = counts.pop("kept", 0)
    dropped = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    spent = built.manifest.facts.get("spent")
    return Line(built.asset, kept, dropped, built.manifest.bytes, built.path, spent)


def metadata(built: Built) -> dict[str, Any]:
    """Counts, yields, plots and a contact sheet, in the order in which the page shows them."""
    told, node = line(built), NODES[built.asset]
    shown: dict[str, Any] = {"rows in": told.came_in, "kept": told.kept}
    if told.came_in:
        shown["yield"] = round(told.kept / told.came_in, 4)
    if told.dropped:
        shown["dropped by reason"] = dg.MetadataValue.md(figures.bars(told.dropped))
    if by_hand := built.manifest.facts.get("by_hand"):
        shown["decided by hand"] = {what: len(ids) for what, ids in by_hand.items()}
    if clear_of := built.manifest.facts.get("clear_of"):
        shown["external sets"] = clear_of
    if spent := built.manifest.facts.get("spent"):
        shown |= _spent(spent)
    if imports := built.manifest.facts.get("imports"):
        shown["imports"] = dg.MetadataValue.md(figures.table(*sources(built.manifest.facts)))
        shown["origins"] = {n: f"{one['origin']} ({one['licence']})" for n, one in imports.items()}
    if node.tables == "problems":
        shown["problems by split and task"] = dg.MetadataValue.md(_by_task(built))
    if node.tables == "trajectories":
        shown["stop reasons"] = dg.MetadataValue.md(figures.bars(_stops(built)))
    if node.tables in ("cold", "reflective"):
        shown["score of all that came in"] = dg.MetadataValue.md(figures.bars(_scores(built)))
        shown["reflection and drawing"] = dg.MetadataValue.md(_reflection(built))
    if node.tables == "framework_exports":
        shown["written"] = dg.MetadataValue.md(_exported(built))
    if node.tables == "model":
        shown |= _model(built)
    if node.tables == "evaluation":
        shown |= _evaluation(built)
    if node.tables == "gallery":
        shown |= _gallery(built)
    if (sheet := _sheet(built)) is not None:
        shown["contact sheet"] = _picture(figures.webp(sheet))
    if built.asset in READ:
        command = f"`drawloop gallery {built.version.name} --stage {node.split or 'evaluation'}`"
        shown["look at every one"] = dg.MetadataValue.md(f"{command}, or the asset `gallery`")
    shown["files"] = dg.MetadataValue.md(_files(built))
    shown["bytes"] = told.bytes
    shown["where"] = dg.MetadataValue.path(told.path)
    return shown


def _spent(spent: dict[str, Any]) -> dict[str, Any]:
    """What sampling took: asked now, replayed from turns that were kept, and asked in vain."""
    sides = ("paid", "replayed", "in_vain")
    head = ("", "asked now", "replayed", "in vain")
    names = [name for name in spent["paid"] if any(spent[side][name] for side in sides)]
    lines = [
        (name.replace("_", " "), *(f"{spent[side][name]:,}" for side in sides)) for name in names
    ]
    shown: dict[str, Any] = {
        "turns and tokens": dg.MetadataValue.md(figures.table(head, lines)),
        "tokens a second": spent["tokens_per_second"],
    }
    if "cost" in spent:
        shown |= {"cost": spent["cost"], "cost, if nothing had been kept": whole_cost(spent)}
    return shown


def whole_cost(spent: dict[str, Any]) -> float:
    """Of all that an asset was sampled with, whenever that was."""
    return float(spent["cost"] + spent["cost_replayed"])


def sources(facts: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and lines of the table of imports: rows, what became of them, and what a split lacks."""
    head = ("import", "rows", "kept", "not needed", "dropped by reason")
    lines: list[tuple[str, ...]] = []
    for name, one in facts["imports"].items():
        rows = f"{one['rows']}" if one["read_to_the_end"] else f"{one['rows']}, more not read"
        kept, dropped = _counts(one["kept"]), _counts(one["dropped"])
        lines.append((name, rows, kept, str(one["not_needed"]), dropped))
    if facts["short"]:
        lines.append(("short of what is asked for", "", _counts(facts["short"]), "", ""))
    return head, lines


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counts.items()) or "none"


def _gallery(built: Built) -> dict[str, Any]:
    """Where the page is, and how many trajectories of each stage it shows."""
    counts = Counter(row["stage"] for row in built.rows("shown", ["stage"]))
    shown: dict[str, Any] = {
        "page": dg.MetadataValue.path(_address(built, "index.html")),
        "trajectories by stage": dg.MetadataValue.md(figures.bars(counts)),
    }
    if left_out := built.manifest.facts["left_out"]:
        shown["left out"] = dg.MetadataValue.md("\n".join(f"- {note}" for note in left_out))
    return shown


def _address(built: Built, name: str) -> str:
    """A file as the bar of a browser takes it. A link would do nothing: browsers open no file from the
    page of a server; but a click on a path copies it."""
    path = f"{built.path}/{name}"
    return Path(path).as_uri() if built.inputs.store.is_local else path


def _files(built: Built) -> str:
    """The first few files in its folder, with rows and size."""
    parts = built.manifest.parts
    few = sorted(parts, key=lambda name: (not parts[name]["rows"], name))[:FILES]
    lines = [(n, f"{parts[n]['rows']:,}", f"{parts[n]['bytes'] / 1e3:,.0f} kB") for n in few]
    more = [(f"and {len(parts) - FILES:,} more", "", "")] if len(parts) > FILES else []
    return figures.table(("file", "rows", "size"), [*lines, *more])


def _picture(webp: bytes) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md(f"![](data:image/webp;base64,{base64.b64encode(webp).decode()})")


def _by_task(built: Built) -> str:
    counts = {s: Counter(r["task"] for r in built.rows(s, ["task"])) for s in EVERY_SPLIT}
    splits = [split for split in EVERY_SPLIT if counts[split]]
    tasks = sorted({task for split in splits for task in counts[split]})
    lines = [(task, *(str(counts[split][task]) for split in splits)) for task in tasks]
    return figures.table(("task", *splits), lines)


def _stops(built: Built) -> dict[str, int]:
    counts = Counter(row["stop"] for row in built.rows("trajectories", ["stop"]))
    return {str(stop): counts[stop] for stop in Stop}


def _scores(built: Built) -> dict[str, int]:
    """S of kept and dropped rows together, in bins of `SCORE_BIN` with their upper ends; 0 alone."""
    counts: Counter[int] = Counter()
    for table in (NODES[built.asset].split, REJECTS):
        for row in built.rows(table, ["total"]):
            counts[ceil(row["total"] / SCORE_BIN)] += 1
    names = {0: "0"} | {n: f"≤ {n * SCORE_BIN:g}" for n in range(1, max(counts, default=0) + 1)}
    return {name: counts[n] for n, name in names.items()}


def _reflection(built: Built) -> str:
    """Both rules, the kinds of correction and mean S_draw, of what was kept and of what was dropped."""
    rules = ("paper", "strict", "helped")
    lines = ["| | rows | paper | strict | helped | S_draw | corrections |", "|---" * 7 + "|"]
    for name, table in (("kept", NODES[built.asset].split), ("dropped", REJECTS)):
        counts, kinds, drawn, known = Counter[str](), Counter[str](), 0.0, 0
        for row in built.rows(table, [*rules, "draw", "corrections"]):
            counts.update(["rows", *(rule for rule in rules if row[rule])])
            drawn, known = drawn + (row["draw"] or 0), known + (row["draw"] is not None)
            kinds.update(correction["kind"] for correction in row["corrections"])
        said = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items())) or "none"
        numbers = " | ".join(str(counts[key]) for key in ("rows", *rules))
        quality = f"{drawn / known:.3f}" if known else "unknown"
        lines.append(f"| {name} | {numbers} | {quality} | {said} |")
    return "\n".join(lines)


def _exported(built: Built) -> str:
    """Each export: rows, what was omitted and why, and where its folder lies."""
    head = ("format", "set", "rows", "omitted", "pictures", "longest, tokens", "where")
    lines = []
    for row in built.rows("written"):
        omitted = ", ".join(f"{why} {n}" for why, n in json.loads(row["omitted"]).items())
        numbers = (str(row["pictures"]), f"{row['longest']} ({row['counted_by']})")
        where = f"{built.path}/{row['folder']}"
        lines.append(
            (row["format"], row["set"], str(row["written"]), omitted or "none", *numbers, where)
        )
    return figures.table(head, lines) if lines else "none: the version lists no `exports`"


# Models ------------------------------------------------------------------------------------------


def _model(built: Built) -> dict[str, Any]:
    """What a model asset refers to; of one that was trained here, how the training went."""
    row = next(built.rows("policy"), None)
    policy = f"`{row['policy']}`" if row else "none: the version names no such model"
    shown: dict[str, Any] = {"policy": dg.MetadataValue.md(policy)}
    if "trained" not in built.manifest.facts:
        return shown
    told = built.manifest.facts["trained"]
    metrics = _metrics(built)
    shown["checkpoint"] = dg.MetadataValue.path(f"{built.path}/{models.MODEL}")
    shown["weights sha256"] = told["weights_sha256"]
    shown["steps"] = told.get("steps", len(metrics))
    head, last = ("", f"last {results.MEAN} steps"), results.last_numbers(told["kind"], metrics)
    shown["last numbers"] = dg.MetadataValue.md(figures.table(head, last))
    if (curves := results.curves(told["kind"], metrics)) is not None:
        shown["curves"] = _picture(figures.webp(curves))
    return shown


def _metrics(built: Built) -> list[dict[str, Any]]:
    path = f"{built.path}/{models.METRICS}"
    with built.inputs.store.files.open_input_stream(path) as stream:
        return [json.loads(line) for line in stream.read().decode().splitlines()]


def _evaluation(built: Built) -> dict[str, Any]:
    """Every model on the evaluation split as a whole, then by part and on what is unseen."""
    summary = list(built.rows("summary"))
    shown: dict[str, Any] = {
        "evaluation": dg.MetadataValue.md(figures.table(*results.every_model(summary))),
        "accuracy by part": dg.MetadataValue.md(figures.table(*results.by_part(summary))),
    }
    if any(map(results.is_whole, summary)):
        shown["accuracy, 95 % intervals"] = _picture(figures.webp(results.accuracies(summary)))
    return shown


# Pictures ----------------------------------------------------------------------------------------


def _sheet(built: Built) -> Any:
    """A contact sheet of the first rows, as pixels; None where there is nothing to show."""
    node = NODES[built.asset]
    if node.tables == "problems":
        sheet = [(p, canvas.opened(p), f"{p.id}: {_asks(p)}") for p in _of_every_task(built)]
    elif node.tables in ("trajectories", "skills", "cold", "reflective"):
        table = "trajectories" if node.tables == "trajectories" else node.split
        sheet = [
            (problem, state, f"{told.id}: {told.stop}. {_asks(problem)}")
            for problem, told, state in examples(built, table, SHOWN)
        ]
    else:
        return None
    return figures.contact_sheet(sheet) if sheet else None


def _asks(problem: Problem) -> str:
    """Question and answer; of options the right one, as a text."""
    right = problem.answer
    if problem.options:
        right += f". {problem.options[LETTERS.index(problem.answer)]}"
    return f"{problem.question} → {right}"


def _of_every_task(built: Built) -> Iterator[Problem]:
    """The first problem of each task, of the first split that has it."""
    seen: set[str] = set()
    for split in dict.fromkeys(("cold", *EVERY_SPLIT)):
        first: dict[str, int] = {}
        for n, row in enumerate(built.rows(split, ["task"])):
            first.setdefault(row["task"], n)
        places = {n for task, n in first.items() if task not in seen}
        seen |= first.keys()
        few = islice(built.rows(split), max(places, default=-1) + 1)
        yield from (rows.problem(row) for n, row in enumerate(few) if n in places)


def examples(built: Built, table: str, count: int) -> Iterator[tuple[Problem, Trajectory, State]]:
    """Trajectories with their pictures, the first of each problem."""
    told = map(rows.trajectory, built.rows(table, rows.TRAJECTORY.names))
    asked = built.inputs.problems(NODES[built.asset].split, pictures=True)
    seen = ""
    for problem, trajectory in curate.along(asked, told):
        if count and problem.id != seen:
            seen, count = problem.id, count - 1
            yield problem, trajectory, retrace(problem, trajectory)
        if not count:
            return
