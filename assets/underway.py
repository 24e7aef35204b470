"""How far assets are that are sampled just now, for other processes to tell: a small file each.

A file is gone when its asset is made or given up, and counts for nothing when its process was killed.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path

from pipeline.progress import Progress
from pipeline.store import Store

UNDERWAY = "underway"  # a folder of the machine's own, also where the store is an object store

Tell = Callable[[Progress], None]


@contextmanager
def telling(store: Store, name: str) -> Iterator[Tell]:
    """Where to tell how far ``name`` is, an asset and its address."""
    path = _path(store, name)
    coming = path.with_suffix(f".{os.getpid()}")

    def tell(progress: Progress) -> None:
        with suppress(OSError):  # nothing hangs on it
            path.parent.mkdir(parents=True, exist_ok=True)
            coming.write_text(json.dumps({**asdict(progress), "pid": os.getpid()}))
            coming.replace(path)

    try:
        yield tell
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def underway(store: Store, name: str) -> Progress | None:
    """How far a process of this machine is that samples an asset just now; None: nobody does."""
    path = _path(store, name)
    try:
        told, since_s = json.loads(path.read_text()), time.time() - path.stat().st_mtime
        if not lives(told.pop("pid")):
            return None
        progress = Progress(**told)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if progress.left_s is None:
        return progress
    return replace(progress, left_s=max(0.0, progress.left_s - max(0.0, since_s)))


def _path(store: Store, name: str) -> Path:
    return store.desk / UNDERWAY / f"{name}.json"


def lives(process: int) -> bool:
    """Whether a process of this machine has not ended."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True
