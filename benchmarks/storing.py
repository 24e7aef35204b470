"""What a trajectory takes on disk, beside its observations as PNG.

The table of trajectories of the version `oracles`, which holds ops; the pictures of the problems lie
apart, once for all samples.
"""

import tempfile
from collections.abc import Iterator

from measure import HEAD, Claim

from assets.build import build
from pipeline import canvas, rows
from pipeline.rollout import retrace
from pipeline.store import Store
from pipeline.versions import load


def claims() -> Iterator[Claim]:
    version = load("oracles")
    with tempfile.TemporaryDirectory() as root:
        made = build("problems", version, Store.at(root))
        told = build("teacher_trajectories", version, Store.at(root))
        problems = {row["problem_id"]: rows.problem(row) for row in made.rows("cold")}
        count = pictures = 0
        for row in told.rows("trajectories"):
            problem, trajectory = problems[row["problem_id"]], rows.trajectory(row)
            drawn = retrace(problem, trajectory).views[len(problem.images) :]
            pictures += sum(len(canvas.picture(problem, view).png) for view in drawn)
            count += 1
        stored = told.manifest.bytes
    yield Claim(
        "bytes a trajectory on disk",
        f"{stored / count:,.0f}",
        f"{pictures / count:,.0f}, its observations as PNG",
        f"{pictures / stored:.1f} × fewer",
        "≥ 10 ×",
    )


if __name__ == "__main__":
    print(HEAD, *claims(), sep="\n")
