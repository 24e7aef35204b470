"""What is in the store of a version: every asset, complete, under way or not, what it holds and took."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from assets.build import find
from assets.graph import NODES, address
from assets.report import line
from assets.underway import underway
from pipeline.progress import Progress, duration
from pipeline.store import Store, StoreError
from pipeline.versions import Version


def state(version: Version, store: Store, verify: bool) -> Iterator[dict[str, Any]]:
    """One line an asset: ``state`` is complete, not built, being sampled or damaged; ``path`` None
    unless complete.

    Args:
        verify: compares the hash of every part, where otherwise its size is enough.
    """
    for asset in NODES:
        told: dict[str, Any] = {"version": version.name, "asset": asset, "path": None}
        try:
            built = find(asset, version, store)
            look = store.damaged if verify else store.incomplete
            wrong = look(asset, address(asset, version))
        except StoreError as error:
            yield {**told, "state": f"damaged: {error}"}
            continue
        if built is None:
            far = underway(store, f"{asset}-{address(asset, version)}")
            yield {**told, "state": "not built"} if far is None else {**told, **_far(far)}
        elif wrong:
            yield {**told, "state": f"damaged ({', '.join(wrong)}): prune, then build again"}
        else:
            facts = built.manifest.facts
            rows = {name: facts[name] for name in ("imports", "short") if name in facts}
            yield {**told, **asdict(line(built)), **rows, "state": "complete"}


def _far(far: Progress) -> dict[str, Any]:
    left = "" if far.left_s is None else f", {duration(far.left_s)} left"
    return {"state": f"being sampled: {far.ended:,} of {far.total:,}{left}", "sampled": asdict(far)}
