"""Trainers that pretend: they keep the contract of the real ones, at once and without torch."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from assets.bodies import EVALUATED, GRADED
from assets.launch import TrainerFailed
from pipeline import curate, rows, skills
from pipeline.protocol import FAMILIES
from pipeline.reflection import Tolerance
from pipeline.reward import Rules
from pipeline.rollout import Limits
from pipeline.store import Store
from pipeline.types import Problem

LIMITS = Limits(max_context=10**9)
_TURNS = {"turns": 3, "prompt_tokens": 900, "completion_tokens": 120, "cached_tokens": 0}
_TURNS |= {"pictures": 4, "requests": 3, "retries": 0}
BILL = {  # as of a served model
    **dict.fromkeys(("paid", "replayed", "in_vain"), _TURNS),
    "seconds": 2.0, "tokens_per_second": 60.0, "cost": 0.25, "cost_replayed": 0.5,
}  # fmt: skip


@dataclass
class Pretending:
    """A launcher that remembers what was asked of it, and fails the trainers named."""

    failing: tuple[str, ...] = ()
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __call__(self, module: str, config: Path) -> None:
        wanted = json.loads(config.read_text())
        self.asked.append((module, wanted))
        if module in self.failing:
            raise TrainerFailed("sft: no row is left to train on")
        work = {"trainers.sft": _sft, "trainers.grpo": _grpo, "trainers.evaluate": _evaluate}
        work[module](wanted, Path(wanted["out"]))

    def config(self, module: str) -> dict[str, Any]:
        """What a trainer was last asked to do."""
        return [config for name, config in self.asked if name == module][-1]


def _sft(config: dict[str, Any], out: Path) -> None:
    lines = [{"step": n, "loss": 1 / n, "lr": 1e-4, "seconds": 2.0} for n in range(1, 9)]
    _trained(config, out, "sft", [*lines, {"step": 8, "validation_loss": 0.4}])


def _grpo(config: dict[str, Any], out: Path) -> None:
    told = {"draw": 0.3, "strict": 0.1, "turns": 3.5, "loss": 0.01, "solved": 0.5, "format": 1.0}
    told |= {"zero_variance": 0.2, "entropy": 0.7}
    _trained(config, out, "grpo", [{"step": n, "reward": n / 9, **told} for n in range(1, 7)])


def _trained(config: dict[str, Any], out: Path, kind: str, lines: list[dict[str, Any]]) -> None:
    assert all((Path(folder) / "manifest.json").exists() for folder in config["data"])
    (out / "model").mkdir(exist_ok=True)
    weights = f"{kind} of ".encode() + Path(config["model"], "model.safetensors").read_bytes()
    (out / "model" / "model.safetensors").write_bytes(weights)
    (out / "model" / "config.json").write_text("{}")
    (out / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    told = {"kind": kind, "steps": 8, "weights_sha256": hashlib.sha256(weights).hexdigest()}
    (out / "done.json").write_text(json.dumps(told))


def _evaluate(config: dict[str, Any], out: Path) -> None:
    """Every model answers with the gold solution, in the order in which the real one lays it down."""
    made, summary = [], []
    for name, policy in zip(config["names"], config["policies"], strict=True):
        passes = [False] * config["samples"]  # every problem so often, and then once greedily
        passes += [True] if config["greedy"] and json.loads(policy)["kind"] != "oracle" else []
        for split in config["splits"]:
            some = [
                {"model": name, "split": split, "greedy": greedy, **row}
                for greedy, times in sorted(Counter(passes).items())
                for problem in _problems(config, split)
                for row in [_gold(config, problem)] * times
            ]
            made += some
            summary += list(_told(config, name, split, some))
    schema = rows.joined(EVALUATED, GRADED)
    pq.write_table(pa.Table.from_pylist(made, schema=schema), out / "trajectories.parquet")
    (out / "evaluation.json").write_text(json.dumps({"rows": summary}))
    (out / "done.json").write_text(json.dumps({"kind": "evaluation", "spent": BILL}))


def _problems(config: dict[str, Any], split: str) -> Iterator[Problem]:
    folder = Path(config["problems"])
    store = Store.at(folder.parent.parent)
    found = map(rows.problem, store.rows(folder.parent.name, folder.name, split))
    for n, problem in enumerate(found):
        if not config["limit"] or n < config["limit"]:
            yield problem


def _gold(config: dict[str, Any], problem: Problem) -> dict[str, Any]:
    told = skills.gold(problem, LIMITS, FAMILIES[config["family"]])
    (row,) = curate.grade([problem], [told], Rules(), Tolerance())
    graded = rows.grade_row(problem, row.score, row.solved, row.reflection)
    return {**rows.trajectory_row(told), **graded}


def _told(
    config: dict[str, Any], model: str, split: str, some: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    tasks = sorted({row["task"] for row in some})
    groups = [("all", "", some)]
    groups += [("task", task, [row for row in some if row["task"] == task]) for task in tasks]
    for by, value, members in groups:
        accuracy = fmean(row["solved"] for row in members if not row["greedy"])
        yield {
            "model": model, "split": split, "by": by, "value": value,
            "problems": len({row["problem_id"] for row in members}), "samples": config["samples"],
            "k": config["samples"], "accuracy": accuracy, "accuracy_low": accuracy - 0.1,
            "accuracy_high": accuracy, "correct": accuracy, "greedy": None, "pass_at_1": accuracy,
            "pass_at_k": accuracy, "gap": 0.0, "draw": None, "paper": 0.0, "strict": 0.0,
            "helped": 0.0, "turns": 2.5, "boxes": 1.5, "lines": 1.0, "tokens": 80.0,
            "stops": {"answered": 1.0},
        }  # fmt: skip
