"""Dagster's instance: where its runs and events are kept, which is what the UI shows."""

import fcntl
import os
from pathlib import Path
from typing import Any

HOME = Path(__file__).parent.parent


def home() -> Path:
    """Where Dagster keeps its instance: ``DAGSTER_HOME``, by default this project's folder."""
    return Path(os.environ.setdefault("DAGSTER_HOME", str(HOME)))


def instance() -> Any:
    """Dagster's instance in `home`, so that the UI shows runs.

    Opened by one process at a time: two that make its tables at once fail on each other's.
    """
    import dagster as dg

    with (home() / ".drawloop.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        opened = dg.DagsterInstance.get()
        opened.get_asset_keys()  # makes the tables of the event log, too
    return opened
