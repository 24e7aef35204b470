"""A backfill of dataset versions by Dagster's own command, followed to the end of its runs.

`dagster job backfill` starts one run a version and returns; the runs go on side by side. What is added
here: that they are waited for, what became of each, and that one whose process died is told so.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from assets.instance import home, instance
from assets.underway import lives

TAG = "drawloop/backfill"
LOOK_S = 1.0  # between two looks at the runs
SILENT_S = 600.0  # in which a run says which process it goes on in, however busy the machine is
DAEMONLESS = "SyncInMemoryRunCoordinator", "DefaultRunCoordinator"
PID = re.compile(r"\(pid: (\d+)\)")


class BackfillError(Exception):
    """A backfill that could not be started; the message names the cause and the remedy."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the run of a version ended: success, failure, canceled, or lost (its process is gone)."""

    version: str
    run: str
    state: str
    cause: str

    @property
    def good(self) -> bool:
        return self.state == "success"


def backfill(versions: Sequence[str], job: str, told: Callable[[Outcome], None]) -> list[Outcome]:
    """Runs a job for every version and waits; ``told`` hears of each run when it has ended.

    Raises:
        BackfillError: if Dagster does not start the runs, or would leave them queued for ever.
    """
    with instance() as opened:
        _needs_no_daemon(opened)
        mark = uuid.uuid4().hex
        _start(versions, job, mark)
        started = time.monotonic()
        ended: dict[str, Outcome] = {}
        while len(ended) < len(versions):
            for run in _runs(opened, mark):
                version = run.tags["dagster/partition"]
                late = time.monotonic() - started > SILENT_S
                outcome = None if version in ended else _outcome(opened, run, version, late)
                if outcome is not None:
                    ended[version] = outcome
                    told(outcome)
            if len(ended) < len(versions):
                time.sleep(LOOK_S)
    return [ended[version] for version in versions]


def _needs_no_daemon(opened: Any) -> None:
    name = type(opened.run_coordinator).__name__
    if name not in DAEMONLESS:
        raise BackfillError(
            f"{home()}/dagster.yaml queues runs ({name}), and no daemon would take them up: "
            "copy this project's dagster.yaml there, or set DAGSTER_HOME to this project's folder"
        )


def _start(versions: Sequence[str], job: str, mark: str) -> None:
    words = ["job", "backfill", "-m", "assets.definitions", "--job", job, "--noprompt"]
    words += ["--partitions", ",".join(versions), "--tags", json.dumps({TAG: mark})]
    with tempfile.TemporaryFile() as said:  # no pipe: the runs would hold it open to their end
        done = subprocess.run(  # noqa: S603  names of versions that were loaded
            [sys.executable, "-m", "dagster", *words],
            stdin=subprocess.DEVNULL, stdout=said, stderr=said, check=False,
            env={**os.environ, "DAGSTER_HOME": str(home())},
        )  # fmt: skip
        said.seek(0)
        lines = said.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]
    if done.returncode:
        raise BackfillError(f"dagster job backfill failed: {lines[-1].strip()}")


def _runs(opened: Any, mark: str) -> Sequence[Any]:
    import dagster as dg

    found: Sequence[Any] = opened.get_runs(dg.RunsFilter(tags={TAG: mark}))
    return found


def _outcome(opened: Any, run: Any, version: str, late: bool) -> Outcome | None:
    """What became of a run; None while it goes on. ``late``: by now it has told its process."""
    if run.is_finished:
        state = {"SUCCESS": "success", "FAILURE": "failure"}.get(run.status.value, "canceled")
        cause = _cause(opened, run.run_id) if state == "failure" else ""
        return Outcome(version, run.run_id, state, cause)
    worker = _worker(opened, run.run_id)
    goes_on = not late if worker is None else lives(worker)
    if goes_on:
        return None
    again = opened.get_run_by_id(run.run_id)  # it may have ended between the two looks
    if again is None or again.is_finished:
        return None
    silent = f"it told no process in {SILENT_S:.0f} s"
    cause = silent if worker is None else f"its process {worker} is gone"
    return Outcome(version, run.run_id, "lost", f"{cause}: start it again")


def _cause(opened: Any, run: str) -> str:
    """Why steps failed, or which checks did, as they say it themselves."""
    said = []
    for entry in opened.all_logs(run):
        event = entry.dagster_event
        if event is not None and event.is_step_failure:
            error = event.step_failure_data.error
            error = (error.cause or error) if error else None
            said.append(f"{event.step_key}: {error.message.strip() if error else 'a check failed'}")
    return "; ".join(said) or "it ended before its first step"


def _worker(opened: Any, run: str) -> int | None:
    """The process that a run goes on in, once it has said so."""
    for entry in opened.all_logs(run):
        if entry.dagster_event is not None and (found := PID.search(entry.message or "")):
            return int(found[1])
    return None
