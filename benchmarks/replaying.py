"""A finished asset made again from its turns, and ten thousand trajectories in flight through the file.

    python benchmarks/replaying.py [--problems 1000]

The teacher is the oracle of the version `oracles`; each of its turns has 150 ids and log-probabilities,
as a served model's has. What is timed is the body of `teacher_trajectories`: problems read from the
store with their pictures, turns from the file, read and executed, rows written. The yardstick is the
same body with turns that lie in memory, parsed: no key, no file, no parsing.
"""

import argparse
import asyncio
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from random import Random

from measure import HEAD, Claim

from assets.build import build, inputs_of
from pipeline import teachers
from pipeline.asking import asking, turns_file
from pipeline.kept import size
from pipeline.policies import Stage
from pipeline.rollout import rollout
from pipeline.store import Store
from pipeline.types import Policy, State, Turn, Usage
from pipeline.versions import Version, load, parse

IDS = 150  # of a turn
ROUNDS = 7  # of which the least disturbed counts, on either side
FLYING = 2500  # problems, of each of which four trajectories are in flight
VERSION = """
description: for a benchmark
canvas: {{smallest: 112, largest: 224}}
problems:
  tasks: {{{tasks}}}
  splits: {{skills: 0, cold: {problems}, reflective: 0, rl: 0, evaluation: 0}}
teacher: {{policy: {{kind: vllm, model: scripted, engine: {{at_once: 64}}}}, sampling: {{samples: 4}}}}
cold_model: {{policy: {{kind: oracle}}, sampling: {{samples: 1}}}}
reflective_model: {{policy: {{kind: oracle}}, sampling: {{samples: 1}}}}
filters: {{reflective: {{rule: paper}}}}
"""


class Served:
    """The oracle, with ids, log-probabilities and counts as a server has them; after a while."""

    def __init__(self, oracle: Policy, wait_s: float = 0.0) -> None:
        self.oracle, self.wait_s = oracle, wait_s

    async def act(self, state: State) -> Turn:
        rng = Random(state.due)
        ids = tuple(rng.randrange(150_000) for _ in range(IDS))
        logprobs = tuple(-rng.random() for _ in ids)
        said = await self.oracle.act(state)
        if self.wait_s:
            await asyncio.sleep(self.wait_s)
        usage = Usage(1500, IDS, 1000, len(state.views), 1)
        return replace(said, ids=ids, logprobs=logprobs, usage=usage)


class Table:
    """What a policy said before, at hand in memory."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.said: dict[tuple[str, int, int], Turn] = {}

    async def act(self, state: State) -> Turn:
        key = (state.problem.id, state.sample, len(state.turns))
        if key not in self.said:
            self.said[key] = await self.policy.act(state)
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
    table = Table(Served(oracle(version)))
    teachers.TEACHERS["vllm"] = lambda *_: table
    with tempfile.TemporaryDirectory() as root:
        store = Store.at(root)
        build("problems", version, store)
        sampled(version, store)
        turns, held = len(table.said), size(turns_file(store))
        ours, least = [], []
        for _ in range(ROUNDS):
            ours.append(sampled(version, store))
            teachers.CHEAP.add("vllm")
            least.append(sampled(version, store))
            teachers.CHEAP.remove("vllm")
    count = problems * 4
    mine, yardstick = (count / min(times) for times in (ours, least))
    yield Claim(
        f"{count:,} trajectories made again from the file of turns",
        f"{mine:,.0f}/s",
        f"{yardstick:,.0f}/s, from a table in memory",
        f"{mine / yardstick:.2f} × as fast",
        "≥ 1,000/s",
    )
    yield Claim(
        "bytes a kept turn", f"{held / turns:,.0f}", f"{IDS} ids and log-probabilities", "–", "–"
    )


def memory() -> Iterator[Claim]:
    """Peak memory of two processes in which each trajectory waits for its turns."""
    (many, few), most = (_peak(problems) for problems in (FLYING, 16)), 4 * FLYING
    yield Claim(
        f"peak memory, {most:,} trajectories in flight",
        f"{many:,.0f} MB",
        f"{few:,.0f} MB, 64 in flight",
        f"{many / few:.1f} ×",
        "≤ 2,000 MB",
    )


def _peak(problems: int) -> float:
    words = [sys.executable, __file__, "--flying", str(problems)]
    done = subprocess.run(words, stdout=subprocess.PIPE, check=True)
    return float(done.stdout.decode().split()[-1])


def fly(problems: int) -> None:
    """Four samples of each problem, all at the same time; prints the largest resident set, MB."""
    version = made(problems)
    teachers.TEACHERS["vllm"] = lambda *_: Served(oracle(version), wait_s=5.0)

    async def every(store: Store) -> int:
        asked = inputs_of("teacher_trajectories", version, store).problems("cold", pictures=True)
        async with asking(version.teacher, version, "teacher", store) as (policy, _):
            limits, wire, most = version.limits, version.wire, 4 * problems
            return sum([1 async for _ in rollout(policy, asked, 4, limits, wire, most)])

    with tempfile.TemporaryDirectory() as root:
        store = Store.at(root)
        # Made by another process: what that takes is not counted.
        subprocess.run([sys.executable, __file__, "--make", str(problems), root], check=True)
        assert asyncio.run(every(store)) == 4 * problems
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)


def claims(problems: int = 1000) -> Iterator[Claim]:
    yield from speed(problems)
    yield from memory()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=1000, help="each is sampled four times")
    parser.add_argument("--flying", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--make", nargs=2, help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.make:
        build("problems", made(int(told.make[0])), Store.at(told.make[1]))
    elif told.flying:
        fly(told.flying)
    else:
        print(HEAD, flush=True)
        for claim in claims(told.problems):
            print(claim, flush=True)
