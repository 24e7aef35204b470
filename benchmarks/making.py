"""Problems of every task alike on 224 × 224 px, beside the encoding of their pictures alone.

Then the whole asset with one process and with two: how much sooner it is there, and that its bytes
are the same.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from itertools import islice

from measure import HEAD, Claim, seconds

from assets.build import Built, build
from pipeline import problems
from pipeline.images import decode, encode
from pipeline.store import Store
from pipeline.tasks import TASKS
from pipeline.versions import Version, parse

EACH = 20  # problems of each task
PROBLEMS = 1200  # of the asset
BUILDS = 3  # the best counts: what else runs on the machine only ever takes from a second core

TEXT = f"""
description: Every task alike, for a benchmark.
seed: 7
family: qwen2.5-vl
canvas: {{smallest: 224, largest: 224}}
problems:
  tasks: {{{", ".join(f"{name}: {{difficulty: [0.0, 0.8]}}" for name in TASKS)}}}
  splits: {{skills: 0, cold: {PROBLEMS}, reflective: 0, rl: 0, evaluation: 0}}
teacher:
  policy: {{kind: oracle, rates: {{}}}}
  sampling: {{samples: 4}}
cold_model:
  policy: {{kind: oracle, rates: {{}}}}
  sampling: {{samples: 4}}
reflective_model:
  policy: {{kind: oracle, rates: {{}}}}
  sampling: {{samples: 8}}
grpo_model: {{kind: oracle, rates: {{}}}}
filters:
  cold: {{min_turns: 3}}
  reflective: {{rule: strict}}
"""


def claims() -> Iterator[Claim]:
    version = parse("bench", TEXT)
    orders = list(islice(problems.orders(version, "cold"), EACH * len(TASKS)))
    made = list(map(problems.make, orders))
    pictures = [decode(image) for problem in made for image in problem.images]
    ours, least = seconds(
        7,
        lambda: list(map(problems.make, orders)),
        lambda: list(map(encode, pictures)),
    )
    yield Claim(
        "problems of all tasks alike, 224 px",
        f"{ours / len(orders) * 1e3:.2f} ms each",
        f"{least / len(orders) * 1e3:.2f} ms, encoding their pictures",
        f"{ours / least:.2f} × as long",
        "≤ 2 ×",
    )
    with tempfile.TemporaryDirectory() as root:
        tries = [[_timed(version, f"{root}/{n}/{r}", n) for n in (1, 2)] for r in range(BUILDS)]
    one, two = (built for built, _ in tries[-1])
    alone, together = (min(took for _, took in column) for column in zip(*tries, strict=True))
    yield Claim(
        f"{PROBLEMS:,} problems built by two processes, best of {BUILDS}",
        f"{together:.1f} s",
        f"{alone:.1f} s, by one",
        f"{alone / together:.2f} × as fast",
        "both cores",
    )
    yield Claim(
        "one process and two: hash of all parts",
        two.manifest.data_version,
        one.manifest.data_version,
        "equal" if one.manifest.data_version == two.manifest.data_version else "DIFFERENT",
        "equal",
    )


def _timed(version: Version, root: str, workers: int) -> tuple[Built, float]:
    os.environ["DRAWLOOP_WORKERS"] = str(workers)
    start = time.perf_counter()
    built = build("problems", version, Store.at(root))
    return built, time.perf_counter() - start


if __name__ == "__main__":
    print(HEAD, *claims(), sep="\n")
