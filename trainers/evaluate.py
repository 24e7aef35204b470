"""Evaluation of checkpoints and policies on held-out problems.

Each model answers every problem ``samples`` times at a temperature, and once greedily. All that it
wrote is kept; the table is made from what is kept. A run that was ended goes on with what is missing;
turns of a served model are never paid twice: they are in the file of turns of the problems' store.

    python -m trainers.evaluate evaluation.json
"""

import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from pipeline import curate, models, rows, spending
from pipeline.protocol import FAMILIES
from pipeline.reflection import Tolerance
from pipeline.replay import Replayed
from pipeline.reward import Rules
from pipeline.rollout import Limits, rollout
from pipeline.store import Store, StoreError
from pipeline.teachers import NoBackend
from pipeline.teachers.local import Sampling
from pipeline.types import Failure, Problem
from trainers import checkpoint
from trainers.acting import acting, decided, fingerprint
from trainers.bootstrap import interval, pass_at
from trainers.checkpoint import DONE, TrainingError
from trainers.configure import check, configure
from trainers.exported import WrongData, check_sizes, problem_of, read_row
from trainers.outcomes import Outcome, read, told
from trainers.record import tell_dagster

SCHEMA = rows.joined(
    pa.schema([("model", pa.string()), ("split", pa.string()), ("greedy", pa.bool_())]),
    rows.TRAJECTORY,
    rows.GRADE,
)
LEAST = {"samples": 1, "k": 0, "bootstrap": 1, "in_flight": 1, "max_tokens": 1, "limit": 0}
SUMMARY, TRAJECTORIES = "evaluation.json", "trajectories.parquet"
FAULTS = (WrongData, models.GridMismatch, TrainingError, NoBackend, StoreError, OSError)


@dataclass(frozen=True)
class EvaluateConfig:
    """What is evaluated, and how."""

    policies: list[str]  # JSON policy references, as a model asset keeps them
    names: list[str]  # one for each
    problems: str  # the folder of a problems asset
    splits: list[str]
    out: str
    family: str = "qwen2.5-vl"
    samples: int = 8
    k: int = 0  # of pass@k; 0: as many as there are samples
    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 1024  # a turn
    greedy: bool = True
    max_turns: int = 10
    task_turns: dict[str, int] = field(default_factory=dict)
    max_images: int = 42
    max_context: int = 32_768
    repeat_iou: float = 1.0
    repeat_ends: float = 0.0
    beta: float = 0.0
    solved_at: float = 0.9
    w_draw: float = 0.0
    in_flight: int = 64
    bootstrap: int = 1000
    limit: int = 0  # problems of a split at most; 0: all
    seed: int = 0


def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Runs what is missing, and writes ``evaluation.json`` and ``trajectories.parquet``.

    Raises:
        WrongData: if the problems are not there, or a policy is none.
        NoBackend: if the key of an endpoint is not set.
        StoreError: if the file of turns cannot be used.
        TrainingError: if a field makes no sense, or a model could not be asked a problem: the table
            would hide it.
    """
    check(config, LEAST)
    if config.k > config.samples:
        raise TrainingError(f"k is {config.k}, of {config.samples} samples: it must be no more")
    if len(config.policies) != len(config.names) or len(set(config.names)) != len(config.names):
        raise WrongData(f"{len(config.policies)} policies need as many different names")
    out = Path(config.out)
    deciding = replace(config, policies=[*map(decided, config.policies)])
    finished = checkpoint.claim(out, deciding)
    done: dict[str, Any] = json.loads((out / DONE).read_text()) if finished else {}
    known = done.get("weights", {})
    # A model that was trained anew at its path is another; of one that is gone, what was found stays.
    named = zip(config.names, config.policies, strict=True)
    weights = {name: fingerprint(policy) or known.get(name, "") for name, policy in named}
    if finished and weights == (known or weights):
        return done
    parts = [_part(config, out, weights[asked[0]], *asked) for asked in _asked(config)]
    table = list(_table(config, parts))
    facts: dict[str, Any] = {"kind": "evaluation", "rows": table, "weights": weights}
    if spent := [json.loads(path.read_text()) for path in map(_bill, parts) if path.exists()]:
        facts["spent"] = spending.added(spent)
    checkpoint.write_whole(out / SUMMARY, json.dumps({"rows": table}, indent=1).encode())
    _join(parts, out / TRAJECTORIES)
    checkpoint.write_whole(out / DONE, json.dumps(facts).encode())
    return facts


def _asked(config: EvaluateConfig) -> Iterator[tuple[str, str, str, bool]]:
    """(name, policy, split, greedy) of all that is to be run."""
    for name, policy in zip(config.names, config.policies, strict=True):
        for split in config.splits:
            yield name, policy, split, False
            if config.greedy and json.loads(policy)["kind"] != "oracle":
                yield name, policy, split, True


def _part(
    config: EvaluateConfig,
    out: Path,
    weights: str,
    name: str,
    policy: str,
    split: str,
    greedy: bool,
) -> Path:
    """The graded trajectories of one model's weights on one split; run unless they are there."""
    stem = "-".join(
        [name, split, *(["greedy"] if greedy else []), *([weights[:12]] if weights else [])]
    )
    path = out / "parts" / f"{stem}.parquet"
    if path.exists():
        return path
    labels = {"model": name, "split": split, "greedy": greedy}
    graded, spent = _graded(config, policy, split, greedy, name)
    with _writing(path) as writer:
        for some in _in_hundreds(graded):
            made = [
                {**labels, **rows.trajectory_row(row.trajectory), **_grades(row)} for row in some
            ]
            writer.write_table(pa.Table.from_pylist(made, schema=SCHEMA))
        if spent:
            checkpoint.write_whole(_bill(path), json.dumps(spent).encode())
    return path


@contextmanager
def _writing(path: Path) -> Iterator[pq.ParquetWriter]:
    """A file of trajectories that appears whole.

    Raises:
        TrainingError: if it cannot be written, as on a full disk.
    """
    desk = path.with_suffix(".tmp")
    path.parent.mkdir(exist_ok=True)
    try:
        with pq.ParquetWriter(desk, SCHEMA, compression="zstd") as writer:
            yield writer
        desk.replace(path)
    except OSError as error:
        desk.unlink(missing_ok=True)
        raise checkpoint.unwritten(path, error) from error


def _bill(part: Path) -> Path:
    """What a part's turns took, where a served model was asked for them."""
    return part.with_suffix(".spent.json")


def _grades(row: curate.Graded) -> rows.Row:
    return rows.grade_row(row.problem, row.score, row.solved, row.reflection)


def _in_hundreds(graded: Iterator[curate.Graded]) -> Iterator[list[curate.Graded]]:
    while some := list(islice(graded, 100)):
        yield some


def _graded(
    config: EvaluateConfig, policy: str, split: str, greedy: bool, name: str
) -> tuple[Iterator[curate.Graded], dict[str, Any]]:
    """The trajectories, run now, and what they took, as `Spending.facts` has it, of a served model."""
    problems = list(_problems(config, split))
    if not problems:
        raise WrongData(f"{config.problems} has no problems in the split {split}: leave it out")
    samples = 1 if greedy else config.samples
    limits, family = _limits(config), FAMILIES[config.family]
    heat = 0.0 if greedy else config.temperature
    sampling = Sampling(heat, config.top_p, config.max_tokens, config.seed)

    async def run() -> tuple[list[Any], dict[str, Any]]:
        what = f"{name}, {split}{', greedy' if greedy else ''}"
        begun = acting(policy, sampling, limits, family, config.in_flight, _store(config))
        async with begun as (who, count, flight):
            runs = rollout(who, problems, samples, limits, family, flight, count)
            with tqdm(total=len(problems) * samples, desc=what, mininterval=5) as bar:
                done = []
                async for one in runs:
                    done.append(one)
                    bar.update()
        return done, who.spending.facts() if isinstance(who, Replayed) else {}

    done, spent = asyncio.run(run())
    if failures := [d for d in done if isinstance(d, Failure)]:
        first = failures[0]
        raise TrainingError(
            f"{name} could not be asked {len(failures)} of {len(done)} times on {split}, first "
            f"{first.problem_id}: {first.reason}"
        )
    rules = Rules(config.beta, config.solved_at, config.w_draw)
    return curate.grade(problems, done, rules, limits.repeats), spent


def _store(config: EvaluateConfig) -> Store:
    """The one that the problems lie in."""
    return Store.at(Path(config.problems).absolute().parent.parent)


def _problems(config: EvaluateConfig, split: str) -> Iterator[Problem]:
    *_, asset, address = Path(config.problems).absolute().parts
    try:
        found = _store(config).rows(asset, address, split)
        for row in islice(found, config.limit or None):
            check_sizes(row, config.family, config.problems)
            yield read_row(row, problem_of, config.problems)
    except StoreError as error:
        raise WrongData(str(error)) from None


def _limits(config: EvaluateConfig) -> Limits:
    return Limits(
        max_turns=config.max_turns,
        task_turns=tuple(config.task_turns.items()),
        max_images=config.max_images,
        max_context=config.max_context,
        repeats=Tolerance(config.repeat_iou, config.repeat_ends),
    )


def _join(parts: Sequence[Path], path: Path) -> None:
    with _writing(path) as writer:
        for part in parts:
            with pq.ParquetFile(part) as file:
                for batch in file.iter_batches(256):
                    writer.write_batch(batch)


# The table ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Told:
    """One trajectory of an evaluation."""

    model: str
    split: str
    greedy: bool
    outcome: Outcome


def outcomes(path: Path) -> Iterator[Told]:
    """The trajectories of a part, or of all parts joined, in the order of problems and samples."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(256):
            for row in batch.to_pylist():
                made = read(row, rows.trajectory(row))
                yield Told(row["model"], row["split"], row["greedy"], made)


def _table(config: EvaluateConfig, parts: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """One row for each model and split as a whole, for each task, and for each modality."""
    every = [one for part in parts for one in outcomes(part)]
    for model in config.names:
        for split in config.splits:
            here = [one for one in every if (one.model, one.split) == (model, split)]
            groups = [("all", "", here)]
            for by in ("task", "modality"):
                for value in sorted({getattr(one.outcome, by) for one in here}):
                    some = [one for one in here if getattr(one.outcome, by) == value]
                    groups.append((by, value, some))
            for by, value, some in groups:
                yield {"model": model, "split": split, "by": by, "value": value} | _row(
                    config, some
                )


def _row(config: EvaluateConfig, told_all: Sequence[Told]) -> dict[str, Any]:
    sampled = [one.outcome for one in told_all if not one.greedy]
    greedy = [one.outcome.solved for one in told_all if one.greedy]
    solved = solved_by_problem(sampled)
    k = config.k or config.samples
    rates = [sum(tries) / len(tries) for tries in solved.values()]
    accuracy = interval(rates, config.bootstrap, config.seed)
    best = fmean(pass_at(k, sum(tries), len(tries)) for tries in solved.values())
    numbers = told(sampled)
    return {
        "problems": len(solved),
        "samples": config.samples,
        "k": k,
        "accuracy": accuracy.mean,
        "accuracy_low": accuracy.low,
        "accuracy_high": accuracy.high,
        "greedy": fmean(greedy) if greedy else None,
        "pass_at_1": accuracy.mean,
        "pass_at_k": best,
        "gap": best - accuracy.mean,
        **{name: value for name, value in numbers.items() if name != "solved"},
    }


def solved_by_problem(sampled: Sequence[Outcome]) -> dict[str, list[bool]]:
    """Whether each sample of each problem was solved, in the order of problems."""
    solved: dict[str, list[bool]] = {}
    for one in sampled:
        solved.setdefault(one.problem_id, []).append(one.solved)
    return solved


def main(arguments: Sequence[str] | None = None) -> None:
    try:
        tell_dagster(evaluate(configure(EvaluateConfig, arguments)))
    except FAULTS as error:
        print(f"evaluate: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
