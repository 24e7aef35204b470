"""Trainers as processes: their words reach whoever asked, and none outlives or overruns another."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import dagster as dg
import pytest

from assets.launch import TrainerFailed, process

FAKE = """
import json, sys, time
from pathlib import Path
config = json.loads(Path(sys.argv[1]).read_text())
print("step 1\\rstep 2", file=sys.stderr)
out = Path(config["out"])
log = out / "log"
with log.open("a") as file:
    file.write("begin\\n")
time.sleep(config.get("seconds", 0))
with log.open("a") as file:
    file.write("end\\n")
if config.get("says"):
    print(config["says"], file=sys.stderr)
if config.get("pipes"):
    from dagster_pipes import PipesContext, open_dagster_pipes
    with open_dagster_pipes():
        PipesContext.get().report_asset_materialization(metadata={"loss": 0.5})
sys.exit(config.get("code", 0))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run's folder, where the module `fake_trainer` can be run."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "fake_trainer.py").write_text(FAKE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "code"))
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


def asked(folder: Path, **config: object) -> Path:
    path = folder / "asked.json"
    path.write_text(json.dumps({"out": str(folder), **config}))
    return path


def test_a_trainer_that_ends_well_says_nothing(folder: Path) -> None:
    process("fake_trainer", asked(folder))
    assert (folder / "log").read_text() == "begin\nend\n"


def test_the_one_line_of_a_trainer_that_fails_is_the_error(folder: Path) -> None:
    said = "sft: /data/cold_export has no rows to train on: loosen the filters"
    with pytest.raises(TrainerFailed) as caught:
        process("fake_trainer", asked(folder, code=2, says=said))
    assert str(caught.value) == said


def test_what_a_trainer_says_is_passed_on_while_it_runs(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    process("fake_trainer", asked(folder))
    assert "step 1\rstep 2" in capfd.readouterr().err


def test_a_trainer_that_is_killed_is_said_to_have_been(folder: Path) -> None:
    config = asked(folder, seconds=60)
    threading.Timer(3, lambda: _kill("assets.launch", folder)).start()
    with pytest.raises(TrainerFailed, match="fake_trainer was ended before its time: start again"):
        process("fake_trainer", config)


def test_two_trainers_of_one_folder_take_turns(folder: Path) -> None:
    config = asked(folder, seconds=1)
    both = [threading.Thread(target=process, args=("fake_trainer", config)) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert (folder / "log").read_text() == "begin\nend\n" * 2


def test_a_trainer_ends_with_the_one_who_asked_for_it(folder: Path) -> None:
    config = asked(folder, seconds=60)
    code = f"from pathlib import Path; from assets.launch import process; " \
        f"process('fake_trainer', Path({str(config)!r}))"  # fmt: skip
    asking = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    _wait(lambda: (folder / "log").exists())
    assert _running(folder)
    asking.kill()
    asking.wait()
    _wait(lambda: not _running(folder))


def _running(folder: Path, words: str = "") -> list[int]:
    """Processes that were given the folder's configuration."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_text()
            if str(folder / "asked.json") in command.split("\0") and words in command:
                found.append(int(entry.name))
    return found


def _kill(words: str, folder: Path) -> None:
    for pid in _running(folder, words):
        os.kill(pid, signal.SIGKILL)


def _wait(happened: object) -> None:
    deadline = time.monotonic() + 30
    while not happened():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


# Through Dagster Pipes ---------------------------------------------------------------------------

# Pipes itself asks an asset's context for what Dagster has deprecated there.
pipes_own = pytest.mark.filterwarnings(
    "ignore:AssetExecutionContext.run_id is deprecated:DeprecationWarning"
)


def materialized(folder: Path, config: Path) -> dg.ExecuteInProcessResult:
    """An asset that starts the fake trainer as the graph's assets start theirs."""
    from assets.launch import piped

    @dg.asset
    def model(
        context: dg.AssetExecutionContext, pipes: dg.PipesSubprocessClient
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        piped(context, pipes)("fake_trainer", config)
        return dg.MaterializeResult(metadata={"ours": 1})

    resources = {"pipes": dg.PipesSubprocessClient()}
    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize([model], resources=resources, instance=instance, raise_on_error=False)


@pipes_own
def test_a_trainer_runs_through_pipes_and_the_asset_s_own_metadata_stands(folder: Path) -> None:
    result = materialized(folder, asked(folder, pipes=True))
    assert result.success
    (event,) = result.asset_materializations_for_node("model")
    assert event.metadata["ours"].value == 1
    assert (folder / "log").read_text() == "begin\nend\n"


@pipes_own
def test_a_trainer_that_fails_under_pipes_is_told_in_its_own_words(folder: Path) -> None:
    result = materialized(folder, asked(folder, code=2, says="grpo: no group has variance"))
    assert not result.success
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    error = failed.step_failure_data.error
    assert error is not None
    assert error.cause is not None
    assert "TrainerFailed: grpo: no group has variance" in error.cause.message
    assert error.cause.cause is None
