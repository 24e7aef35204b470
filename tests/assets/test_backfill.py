"""A backfill that waits: how each run ended is told, and one that cannot end is found."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import dagster as dg
import pytest

from assets.backfill import _outcome
from assets.underway import lives
from tests.assets.conftest import TINY
from tests.assets.test_cli import BIN, add, drawloop, place

__all__ = ["place"]  # a fixture

TIGHT = TINY.replace("max_context: 6144", "max_turns: 1, task_turns: {}")


@pytest.mark.slow
def test_every_version_is_run_waited_for_and_told(place: dict[str, str]) -> None:
    add(place, "tight", TIGHT)
    done = drawloop(place, "backfill", "tiny", "tight", "--json")
    assert done.returncode == 1, done.stderr
    good, bad = json.loads(done.stdout)
    assert (good["version"], good["state"], good["cause"]) == ("tiny", "success", "")
    assert (bad["version"], bad["state"]) == ("tight", "failure")
    assert "raise max_turns" in bad["cause"]
    told = json.loads(drawloop(place, "status", "tiny", "--json").stdout)
    assert "cold_export" in {row["asset"] for row in told if row["path"]}
    again = drawloop(place, "backfill", "tiny", "--job", "sets")
    assert (again.returncode, again.stdout.startswith("tiny: success (run ")) == (0, True)


def test_runs_that_would_be_queued_for_ever_are_not_started(place: dict[str, str]) -> None:
    Path(place["DAGSTER_HOME"], "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    done = drawloop(place, "backfill", "tiny")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no daemon would take them up: copy this project's dagster.yaml there" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_version_that_is_none_starts_no_run(place: dict[str, str]) -> None:
    done = drawloop(place, "backfill", "tiny", "nope")
    assert done.returncode == 2
    assert "no version 'nope'" in done.stderr


def test_a_process_is_known_to_live_or_to_be_gone() -> None:
    assert lives(os.getpid())
    gone = subprocess.Popen([shutil.which("true") or "true"])
    gone.wait()
    assert not lives(gone.pid)


def test_a_run_that_never_tells_its_process_is_lost_in_the_end() -> None:
    with dg.DagsterInstance.ephemeral() as opened:
        opened.add_run(dg.DagsterRun("all", run_id="silent", status=dg.DagsterRunStatus.STARTING))
        run = opened.get_run_by_id("silent")
        assert _outcome(opened, run, "tiny", late=False) is None
        lost = _outcome(opened, run, "tiny", late=True)
        assert lost is not None
        assert (lost.state, lost.good) == ("lost", False)
        assert "told no process in 600 s" in lost.cause
        opened.report_run_canceled(run)
        ended = _outcome(opened, run, "tiny", late=True)
        assert ended is None, "it ended between two looks"


@pytest.mark.slow
def test_a_run_whose_process_was_killed_is_lost_and_not_waited_for(place: dict[str, str]) -> None:
    many = TINY.replace("cold: 8", "cold: 4000")
    add(place, "long", many)
    waiting = subprocess.Popen(
        [BIN / "drawloop", "backfill", "long"], env=place, stdout=subprocess.PIPE, text=True
    )
    code = (
        "import sys\nfrom assets.backfill import _worker\nfrom assets.instance import instance\n"
        "with instance() as opened:\n"
        "    print(*[_worker(opened, run.run_id) or '' for run in opened.get_runs()])"
    )
    deadline, worker = time.monotonic() + 120, ""
    while not worker and time.monotonic() < deadline:
        time.sleep(2)
        asked = [BIN / "python", "-c", code]
        worker = subprocess.run(asked, env=place, capture_output=True, text=True).stdout.strip()
    os.kill(int(worker), signal.SIGKILL)
    said, _ = waiting.communicate(timeout=200)
    assert waiting.returncode == 1
    assert "long: lost" in said or "long: failure" in said
