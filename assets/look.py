"""Some trajectories of a built set, kept or dropped for a reason: what `drawloop look` shows."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from assets.build import Built
from assets.graph import NODES
from assets.inputs import REJECTS
from assets.trial import told
from pipeline import curate, rows
from pipeline.store import StoreError
from pipeline.types import KEPT, Verdict


def look(built: Built, reason: str, count: int, folder: Path) -> Iterator[str]:
    """Lines to print; the pictures of each trajectory go into ``folder``.

    Args:
        reason: of a drop, as `drawloop status` counts them; "" takes what was kept.

    Raises:
        StoreError: if nothing was dropped for that reason.
    """
    counts = built.manifest.facts["yield"]
    if reason and reason not in counts:
        there = ", ".join(f"{name} {n}" for name, n in counts.items() if name != "kept")
        raise StoreError(
            f"{built.asset} dropped nothing as {reason!r}; there are {there or 'none'}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    version, split = built.version, NODES[built.asset].split
    chosen = list(islice(_chosen(built, split, reason), count))
    details = {row["id"]: row.get("detail", "") for row in chosen}
    asked = built.inputs.problems(split, pictures=True)
    those = map(rows.trajectory, chosen)
    for row in curate.grade(asked, those, version.rules, version.limits.repeats):
        verdict = Verdict(False, reason, details[row.trajectory.id]) if reason else KEPT
        yield from told(row, verdict, split, folder)


def _chosen(built: Built, split: str, reason: str) -> Iterator[rows.Row]:
    for row in built.rows(REJECTS if reason else split):
        if not reason or row["reason"] == reason:
            yield row
