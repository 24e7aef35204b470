"""Makes the README's picture: one trajectory that looked at its drawing and corrected it."""

import asyncio
from itertools import islice
from pathlib import Path

from assets.trial import sampled
from pipeline import curate, figures, problems
from pipeline.versions import load

VERSION, SPLIT, PLACE = "photos", "reflective", Path(__file__).parent / "trajectory.webp"


def main() -> None:
    version = load(VERSION)
    asked = [problems.make(order) for order in islice(problems.orders(version, SPLIT), 80)]
    done, _ = asyncio.run(sampled(version, "cold_model", version.cold_model, asked, 2))
    graded = curate.grade(asked, done, version.rules, version.limits.repeats)
    for row, verdict in curate.sift(graded, curate.reflective_filters("strict+helped")):
        if verdict.keep and "coins" in row.problem.question and len(row.trajectory.turns) == 3:
            picture = figures.story(row.problem, row.trajectory, row.state)
            PLACE.write_bytes(figures.webp(picture, quality=90))
            print(f"{PLACE}: {row.trajectory.id}")
            return
    raise SystemExit("none of the first problems has a short trajectory that corrects itself")


if __name__ == "__main__":
    main()
