"""What our rollouts leave of vLLM's throughput: beside handing its engine the same requests.

    .venv-vllm/bin/python benchmarks/engine.py [--model CHECKPOINT] [--problems 24] [--samples 2]

Each round rolls out through the policy, and then gives the engine the very requests that came of
it: prompts written and pictures drawn beforehand, a trajectory's turns one after the other, as
they must be. Caches are emptied before each. Sides take turns; the ratio is of medians.
"""

import argparse
import asyncio
import os
import time
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measure import HEAD, Claim
from pipeline import problems, tokens, versions
from pipeline.policies import Engine
from pipeline.rollout import Limits, rollout
from pipeline.teachers import vllm
from pipeline.teachers.local import Sampling
from pipeline.types import Problem, Trajectory
from tests.served import CPU

BASE = Path(__file__).parents[1] / "weights" / "tiny-qwen2.5-vl"
LIMITS = Limits(max_turns=4, task_turns=(), max_context=3000, max_images=12)

Request = tuple[dict[str, Any], Any, str]  # prompt, parameters, name


def ours(
    policy: vllm.Vllm, asked: list[Problem], samples: int, at_once: int
) -> tuple[float, int, list[list[Request]]]:
    """Seconds, tokens that were written, and each trajectory's requests, turn by turn."""
    kept: dict[str, list[Request]] = {}
    answered = vllm._answered

    async def noted(engine: Any, prompt: dict[str, Any], parameters: Any, name: str) -> Any:
        kept.setdefault(name.rpartition("/")[0], []).append((prompt, parameters, name))
        return await answered(engine, prompt, parameters, name)

    async def run() -> list[Any]:
        count = tokens.counter(policy.words)
        runs = rollout(policy, asked, samples, LIMITS, policy.family, at_once, count)
        return [one async for one in runs]

    vllm._answered = noted
    try:
        start = time.perf_counter()
        done = asyncio.run(run())
        took = time.perf_counter() - start
    finally:
        vllm._answered = answered
    turns = [turn for one in done if isinstance(one, Trajectory) for turn in one.turns]
    return took, sum(len(turn.ids or ()) for turn in turns), [*kept.values()]


def directly(policy: vllm.Vllm, requests: list[list[Request]], at_once: int) -> tuple[float, int]:
    """Seconds and tokens of the same requests, given to the engine by itself."""

    async def run() -> int:
        free = asyncio.Semaphore(at_once)

        async def trajectory(turns: list[Request]) -> int:
            async with free:
                made = 0
                for turn in turns:
                    done = await vllm._answered(policy._engine, *turn)
                    made += len(done.outputs[0].token_ids)
                return made

        return sum(await asyncio.gather(*map(trajectory, requests)))

    start = time.perf_counter()
    made = policy._run(run())
    return time.perf_counter() - start, made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=str(BASE))
    parser.add_argument("--problems", type=int, default=24)
    parser.add_argument("--samples", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--at-once", type=int, default=32)
    given = parser.parse_args()
    for name, value in CPU.items():
        os.environ.setdefault(name, value)
    mini = versions.load("mini")
    asked = [problems.make(o) for o in islice(problems.orders(mini, "cold"), given.problems)]
    sampling = Sampling(1.0, 1.0, 120, seed=1)
    small = Engine(eager=True, picture_cache=0.5, at_once=given.at_once)
    policy = vllm.Vllm(given.model, LIMITS, sampling, dtype="float32", engine=small)
    ours(policy, asked[:4], 1, given.at_once)  # warm
    sides: tuple[list[float], list[float]] = ([], [])
    for _ in range(given.rounds):
        policy.load(Path(given.model))
        took, made, requests = ours(policy, asked, given.samples, given.at_once)
        sides[0].append(made / took)
        policy.load(Path(given.model))
        took, made = directly(policy, requests, given.at_once)
        sides[1].append(made / took)
    policy.close()
    mine, theirs = median(sides[0]), median(sides[1])
    print(HEAD)
    print(
        Claim(
            f"{len(asked) * given.samples} trajectories through vLLM, {given.at_once} at once",
            f"{mine:,.0f} tokens/s",
            f"{theirs:,.0f} tokens/s, the engine alone",
            f"{mine / theirs:.2f}",
            "–",
        )
    )
    print("each round:", *(f"{a:,.0f}/{b:,.0f}" for a, b in zip(*sides, strict=True)))


if __name__ == "__main__":
    main()
