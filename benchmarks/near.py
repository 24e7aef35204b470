"""How well near-duplicates are told from other problems, and how fast.

    python benchmarks/near.py [--scenes 60]

Pairs are labelled by how they are made. Alike: one problem saved again, scaled, toned, or cut at
its borders, and questions with something added. Different: other scenes of the task, pictures of
which one thing was moved, added, removed, recoloured or crossed by a line, other windows of one
photograph, and questions of which a fact is another. Every second scene calibrates; the tolerances
are fixed in `pipeline.near`, and the second table of each kind is of the other scenes. Everything is
seeded: only the times differ between runs.
"""

import argparse
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from operator import le
from random import Random
from statistics import mean
from typing import TypeVar

from pairs import ALIKE, Distances, differ, made, picture_pairs, question_pairs

from pipeline import near
from pipeline.images import decode
from pipeline.near import Index, Signature, Tolerance
from pipeline.tasks import TASKS

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


# Whole problems ----------------------------------------------------------------------------------

MODES = (
    ("close", near.CLOSE, True),
    ("wide", near.WIDE, True),
    ("wide, picture alone", near.WIDE, False),
)


def whole(makers: list[str], numbers: range) -> Iterator[tuple[str, str, bool]]:
    """(mode, kind, whether it was found) of each maker's problems in an index.

    The first half of the numbers is kept; copies of those are to be found, the second half not.
    """
    middle = len(numbers) // 2
    for maker in makers:
        kept = [made(maker, n) for n in numbers[:middle]]
        ones = [near.signature(problem) for problem in kept]
        fresh = [made(maker, n) for n in numbers[middle:]]
        others = [p for p in fresh if all(differ(p, one) for one in kept)]
        for mode, tolerance, question in MODES:
            index = Index(tolerance, question=question)
            for n, one in enumerate(ones):
                index.add(str(n), one)
            for problem, one in zip(kept, ones, strict=True):
                pictures = [decode(image) for image in problem.images]
                for name in ("JPEG 70", "× 0.8", "brighter", "cut 2 %"):
                    copies = [ALIKE[name](p, Random(name)) for p in pictures]
                    found = index.find(near.sign(copies, problem.question)) is not None
                    yield mode, "a copy, found", found
                asked = replace(one, question="what is the colour of the largest thing here ?")
                asked = replace(asked, scene=one.scene ^ 1) if one.scene else asked
                yield mode, "same picture, other question, found", index.find(asked) is not None
            for problem in others:
                one = near.signature(problem)
                yield mode, "another problem, found", index.find(one) is not None
                foreign = replace(one, task="", scene=0)
                found = index.find(foreign) is not None
                yield mode, "another problem, its geometry unknown, found", found


# Speed -------------------------------------------------------------------------------------------


def speed(signatures: list[Signature], tolerance: Tolerance) -> tuple[float, float, float]:
    """Seconds to add, seconds to find each once, and flat bytes of a problem."""
    index = Index(tolerance)
    start = time.perf_counter()
    for n, one in enumerate(signatures):
        index.add(f"{n:08d}", one)
    added = time.perf_counter()
    found = [index.find(one) for one in signatures]
    assert all(one is not None for one in found)
    return added - start, time.perf_counter() - added, index.bytes / len(index)


def noise(count: int) -> list[Signature]:
    rng = Random(7)
    return [
        Signature(((rng.getrandbits(63) << 1, rng.getrandbits(64)),), f"what is {n % 100}")
        for n in range(count)
    ]


# Tables ------------------------------------------------------------------------------------------


def table(head: list[str], rows: list[list[str]]) -> None:
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print(flush=True)


def grouped(pairs: Iterable[tuple[Key, Value]]) -> dict[Key, list[Value]]:
    groups: dict[Key, list[Value]] = {}
    for name, value in pairs:
        groups.setdefault(name, []).append(value)
    return groups


def rates(
    groups: dict[str, list[Value]], same: Callable[[Value], bool], positive: set[str]
) -> list[str]:
    """Precision, recall, F1, every kind of pair weighing the same, and then each kind's share."""
    shares = {name: mean(map(same, values)) for name, values in groups.items()}
    recall = mean(share for name, share in shares.items() if name in positive)
    wrong = mean(share for name, share in shares.items() if name not in positive)
    precision = recall / (recall + wrong) if recall + wrong else 1.0
    f1 = 2 * precision * recall / (precision + recall) if recall else 0.0
    return [f"{value:.3f}" for value in (precision, recall, f1, *shares.values())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=60, help="of each task and source")
    scenes = parser.parse_args().scenes
    makers = [*TASKS, "photos", "windows"]
    halves = {"calibration": range(0, scenes, 2), "the other half": range(1, scenes, 2)}
    used = [near.CLOSE, near.WIDE]
    for half, numbers in halves.items():
        pictures = grouped(picture_pairs(makers, numbers))
        tried = [Tolerance(s, c, 1.0) for s in range(2, 9) for c in (4, 8, 12)]
        rows = []
        for one in tried if half == "calibration" else used:
            within = partial(both_within, one)
            rows.append([f"{one.structure}, {one.colour}", *rates(pictures, within, {*ALIKE})])
        print(f"Pictures, {half}: structure and colour, bits")
        table(["≤", "precision", "recall", "F1", *pictures], rows)
    for half, numbers in halves.items():
        questions = grouped(question_pairs([*TASKS, "photos"], numbers))
        least = (
            [0.5, 0.7, 0.8, 0.9, 0.95, 1.0]
            if half == "calibration"
            else [one.question for one in used]
        )
        rows = []
        for bound in least:
            enough = partial(le, bound)
            rows.append([f"{bound}", *rates(questions, enough, {"something added"})])
        print(f"Questions, {half}: share of the shorter one's shingles")
        table(["≥", "precision", "recall", "F1", *questions], rows)
    results = grouped(
        ((mode, maker in TASKS, kind), found)
        for maker in makers
        for mode, kind, found in whole([maker], halves["the other half"])
    )
    print("Whole problems, the other half")
    rows = [
        [mode, "drawn" if drawn else "photographs", kind, f"{mean(found):.3f}", str(len(found))]
        for (mode, drawn, kind), found in results.items()
    ]
    table(["mode", "of", "what", "share", "n"], rows)
    print("The index")
    rows = []
    for name, ones in (("random hashes", noise(100_000)), ("drawn scenes", drawn(makers))):
        for mode, tolerance in (("close", near.CLOSE), ("wide", near.WIDE)):
            adding, finding, size = speed(ones, tolerance)
            each = finding / len(ones) * 1e6
            times = [f"{adding:.1f}", f"{finding:.1f}", f"{each:.0f}"]
            rows.append([f"{name}, {mode}", str(len(ones)), *times, f"{size:.0f}"])
    table(["", "n", "add all, s", "find all, s", "find one, µs", "bytes each"], rows)


def both_within(tolerance: Tolerance, distances: Distances) -> bool:
    return distances[0] <= tolerance.structure and distances[1] <= tolerance.colour


def drawn(makers: list[str]) -> list[Signature]:
    """Signatures of drawn scenes, without their geometry: only pictures and questions decide."""
    easy = [maker for maker in makers if maker in TASKS and maker != "motion"]
    ones = (near.signature(made(maker, n)) for maker in easy for n in range(200))
    return [replace(one, task="", scene=0) for one in ones]


if __name__ == "__main__":
    main()
