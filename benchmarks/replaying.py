"""A finished asset made again from its turns, and ten thousand trajectories in flight through the file.

    python benchmarks/replaying.py [--problems 2000]

The teacher is the oracle of the version `oracles` behind a table of what it said, so that its own time
is not counted; each turn has 150 ids and log-probabilities, as a served model's has. What is timed
is the body of `teacher_trajectories`: problems read from the store with their pictures, turns from the
file, rows written. The yardstick is the same body with turns from a table in memory: no key, no file.
"""

import argparse
import asyncio
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

from measure import HEAD, Claim

from assets import bodies
from assets.build import build
from pipeline import rollout as rolling
from pipeline import teachers
from pipeline.asking import turns_file
from pipeline.kept import size
from pipeline.policies import Stage
from pipeline.store import Store
from pipeline.types import Policy, State, Turn, Usage
from pipeline.versions import Version, load, parse

IDS = 150  # of a turn
ROUNDS = 3
MOST = 10_000  # in flight
VERSION = """
description: for a benchmark
canvas: {{smallest: 112, largest: 224}}
problems:
  tasks: {{{tasks}}}
  splits: {{skills: 0, cold: {problems}, reflective: 0, rl: 0, evaluation: 0}}
teacher: {{policy: {{kind: checkpoint, model: scripted}}, sampling: {{samples: 4}}}}
cold_model: {{policy: {{kind: oracle}}, sampling: {{samples: 1}}}}
reflective_model: {{policy: {{kind: oracle}}, sampling: {{samples: 1}}}}
filters: {{reflective: {{rule: paper}}}}
"""
Key = tuple[str, int, int]


class Table:
    """The oracle, and what it said before."""

    def __init__(self, oracle: Policy, wait_s: float = 0.0) -> None:
        self.oracle, self.wait_s = oracle, wait_s
        self.said: dict[Key, Turn] = {}

    async def act(self, state: State) -> Turn:
        key = (state.problem.id, state.sample, len(state.turns))
        if key not in self.said:
            rng = Random(str(key))
            ids = tuple(rng.randrange(150_000) for _ in range(IDS))
            logprobs = tuple(-rng.random() for _ in ids)
            turn = replace(await self.oracle.act(state), ids=ids, logprobs=logprobs)
            self.said[key] = replace(turn, usage=Usage(1500, IDS, 1000, len(state.views), 1))
        if self.wait_s:
            await asyncio.sleep(self.wait_s)
        return self.said[key]


def made(problems: int) -> Version:
    tasks = ", ".join(f"{task}: {{}}" for task in load("oracles").problems.tasks)
    return parse("replayed", VERSION.format(problems=problems, tasks=tasks))


def oracle(version: Version) -> Policy:
    given = Stage(policy=load("oracles").teacher.policy, sampling=version.cold_model.sampling)
    return teachers.TEACHERS["oracle"](given, version, version.seed)


def sampled(version: Version, store: Store) -> float:
    """CPU seconds of sampling the asset anew; it is taken away again."""
    start = time.process_time()
    built = build("teacher_trajectories", version, store)
    took = time.process_time() - start
    store.files.delete_dir(built.path)
    return took


def speed(problems: int) -> Iterator[Claim]:
    version = made(problems)
    table = Table(oracle(version))
    teachers.TEACHERS["checkpoint"] = lambda *_: table
    with tempfile.TemporaryDirectory() as root:
        store = Store.at(root)
        build("problems", version, store)
        sampled(version, store)
        turns, held = len(table.said), size(turns_file(store))
        ours, least = [], []
        for _ in range(ROUNDS):
            ours.append(sampled(version, store))
            teachers.CHEAP.add("checkpoint")
            least.append(sampled(version, store))
            teachers.CHEAP.remove("checkpoint")
    count = problems * 4
    mine, yardstick = (count / sorted(times)[ROUNDS // 2] for times in (ours, least))
    yield Claim(
        f"{count:,} trajectories made again from the file of turns",
        f"{mine:,.0f}/s",
        f"{yardstick:,.0f}/s, from a table in memory",
        f"{mine / yardstick:.2f} × as fast",
        "≥ 1,000/s",
    )
    yield Claim("bytes a kept turn", f"{held / turns:,.0f}", f"{IDS} ids and log-probabilities", "–", "–")


def in_flight(problems: int) -> Iterator[Claim]:
    """Peak memory of two processes: each trajectory waits in its turns, through the file."""
    sides = [_peak(problems, most) for most in (MOST, 64)]
    yield Claim(
        f"peak memory, {MOST:,} trajectories in flight",
        f"{sides[0]:,.0f} MB",
        f"{sides[1]:,.0f} MB, 64",
        f"{sides[0] / sides[1]:.1f} ×",
        "≤ 2,000 MB",
    )


def _peak(problems: int, most: int) -> float:
    words = [sys.executable, __file__, "--problems", str(problems), "--flying", str(most)]
    done = subprocess.run(words, stdout=subprocess.PIPE, check=True)
    return float(done.stdout.decode().split()[-1])


def fly(problems: int, most: int) -> None:
    """Samples with so many in flight, and prints the largest resident set, MB."""
    version = made(problems)
    teachers.TEACHERS["checkpoint"] = lambda *_: Table(oracle(version), wait_s=1.0)
    rolling.rollout.__defaults__ = (most, *rolling.rollout.__defaults__[1:])
    with tempfile.TemporaryDirectory() as root:
        store = Store.at(root)
        subprocess_build(version, store, problems)
        sampled(version, store)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)


if __name__ == "__main__":
    pass
