"""Curating many trajectories: does memory stay flat, and time linear?

    python benchmarks/sifting.py [--million]

The oracle's trajectories are written over and over under new names, four to a problem, as the
assets lie in the store. Each size is written, and then read, graded and sifted, by a process of its
own, which tells its largest resident set: 10,000 beside 100,000, or with ``--million`` 100,000
beside 1,000,000.
"""

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice

from measure import HEAD, Claim

from assets.bodies import TABLES
from pipeline import curate, problems, rows, shape, teachers
from pipeline.rollout import rollout
from pipeline.rows import Row
from pipeline.shape import Shape
from pipeline.store import Store, Writer
from pipeline.types import Problem, Trajectory
from pipeline.versions import Version, load

PROBLEMS, SAMPLES = 450, 4
NO_CAPS = Shape()
SCHEMAS = {"cold": rows.FACTS, "trajectories": TABLES["trajectories"]["trajectories"]}


def claims(million: bool = False) -> Iterator[Claim]:
    few, many = (100_000, 1_000_000) if million else (10_000, 100_000)
    with tempfile.TemporaryDirectory() as root:
        for size in (few, many):
            _alone("--write", root, size)
        small, large = (json.loads(_alone("--sift", root, size)) for size in (few, many))
        capped = [json.loads(_alone("--cap", root, size)) for size in (few, many)]
    assert (small["rows"], large["rows"]) == (few, many)
    yield Claim(
        f"peak memory, {many:,} trajectories curated",
        f"{large['peak_mb']:.0f} MB",
        f"{small['peak_mb']:.0f} MB, {few:,}",
        f"{large['peak_mb'] / small['peak_mb']:.2f} ×",
        "≤ 1.2 ×",
    )
    yield Claim(
        "the same, capped by problem, task and number",
        f"{capped[1]['peak_mb']:.0f} MB",
        f"{capped[0]['peak_mb']:.0f} MB, {few:,}",
        f"{capped[1]['peak_mb'] / capped[0]['peak_mb']:.2f} ×",
        "≤ 1.2 ×",
    )
    each = [found["seconds"] / found["rows"] * 1e6 for found in (small, large)]
    yield Claim(
        f"time for each of {many:,}, read from the store",
        f"{each[1]:.0f} µs",
        f"{each[0]:.0f} µs, of {few:,}",
        f"{each[1] / each[0]:.2f} ×",
        "linear",
    )


async def _told(version: Version, asked: list[Problem]) -> dict[str, list[Row]]:
    policy = teachers.policy(version.teacher, version, version.seed)
    told: dict[str, list[Row]] = {}
    async for run in rollout(policy, asked, SAMPLES, version.limits, version.wire):
        assert isinstance(run, Trajectory)
        told.setdefault(run.problem_id, []).append(rows.trajectory_row(run))
    return told


def write(root: str, size: str) -> None:
    """Problems and their trajectories, as many as are wanted."""
    version = load("oracles")
    asked = list(map(problems.make, islice(problems.orders(version, "cold"), PROBLEMS)))
    told = asyncio.run(_told(version, asked))
    facts = [{**rows.problem_row(problem), "images": None} for problem in asked]
    with Writer(Store.at(root), "bench", size, SCHEMAS) as writer:
        for n in range(int(size) // SAMPLES):
            row, name = facts[n % len(facts)], f"{n:07d}"
            writer.append("cold", {**row, "problem_id": name})
            for one in told[row["problem_id"]]:
                named = {"id": f"{name}#{one['sample']}", "problem_id": name}
                writer.append("trajectories", {**one, **named})


def _alone(what: str, root: str, size: int) -> bytes:
    """What a process of its own says. A child counts its parent's peak as its own, up to where it
    was started: nothing large may be done here."""
    command = [sys.executable, __file__, what, root, str(size)]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout


def sift(root: str, size: str, caps: Shape = NO_CAPS) -> dict[str, float]:
    """The cold set of one size: what an asset's body does, short of writing."""
    version, store = load("oracles"), Store.at(root)
    filters = curate.cold_filters(version.filters.cold.min_turns)

    def graded() -> Iterator[curate.Graded]:
        asked = map(rows.problem, store.rows("bench", size, "cold"))
        told = map(rows.trajectory, store.rows("bench", size, "trajectories"))
        return curate.grade(asked, told, version.rules, version.limits.repeats)

    start = time.process_time()
    if caps:
        filters = [*filters, shape.shaped(curate.sift(graded(), filters), caps)]
    kept = count = 0
    for _, verdict in curate.sift(graded(), filters):
        count += 1
        kept += verdict.keep
    took = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"rows": count, "kept": kept, "seconds": took, "peak_mb": peak}


def cap(root: str, size: str) -> dict[str, float]:
    """The same with every cap that a version may ask for."""
    return sift(root, size, Shape(2, (("task", 1.0), ("answer", 1.0)), int(size) // 10))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--million", action="store_true")
    parser.add_argument("--write", nargs=2, metavar=("ROOT", "SIZE"), help="by itself")
    parser.add_argument("--sift", nargs=2, metavar=("ROOT", "SIZE"), help="by itself")
    parser.add_argument("--cap", nargs=2, metavar=("ROOT", "SIZE"), help="by itself")
    given = parser.parse_args()
    if given.write:
        write(*given.write)
    elif given.sift:
        print(json.dumps(sift(*given.sift)))
    elif given.cap:
        print(json.dumps(cap(*given.cap)))
    else:
        print(HEAD, *claims(given.million), sep="\n")
