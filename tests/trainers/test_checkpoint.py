"""Checkpoints that were cut, overwritten or never finished, and disks that are full."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.models import weights_sha256
from tests.trainers.conftest import Small
from trainers import checkpoint
from trainers.checkpoint import TrainingError
from trainers.record import METRICS, Record


@dataclass(frozen=True)
class Config:
    lr: float = 1e-3
    data: tuple[str, ...] = ("a", "b")


def tensors(seed: int) -> dict[str, Any]:
    torch.manual_seed(seed)
    return {"trained": {"weight": torch.randn(64, 64)}, "rng": torch.get_rng_state()}


def kept(out: Path, *steps: int) -> None:
    for step in steps:
        checkpoint.write(out, step, tensors(step), {"seen": step})


def read(out: Path) -> int:
    """The step of the newest whole checkpoint, whose tensors must be that step's."""
    found = checkpoint.newest(out)
    assert found is not None
    read, facts = found
    assert torch.equal(read["trained"]["weight"], tensors(facts["step"])["trained"]["weight"])
    assert facts["seen"] == facts["step"]
    return int(facts["step"])


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    assert checkpoint.newest(tmp_path) is None
    kept(tmp_path, 5, 10, 15)
    assert checkpoint.steps(tmp_path) == [10, 15]
    assert read(tmp_path) == 15
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["000010", "000015"]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def blank(path: Path) -> None:
    """As after a loss of power: the size is right, the content never came."""
    path.write_bytes(bytes(path.stat().st_size))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


DAMAGES: list[tuple[str, Callable[[Path], object]]] = [
    (checkpoint.TENSORS, cut),
    (checkpoint.TENSORS, blank),
    (checkpoint.TENSORS, flip),
    (checkpoint.TENSORS, Path.unlink),
    (checkpoint.STATE, cut),
    (checkpoint.STATE, blank),
    (checkpoint.STATE, Path.unlink),
    (checkpoint.STATE, lambda path: path.write_text("[]")),
    (checkpoint.STATE, lambda path: path.write_text("{}")),
]


@pytest.mark.parametrize(("name", "damage"), DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(
    name: str, damage: Callable[[Path], object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept(tmp_path, 5, 10)
    damage(tmp_path / "checkpoints" / "000010" / name)
    assert read(tmp_path) == 5
    said = capsys.readouterr().out
    assert "000010 is damaged" in said
    assert said.count("\n") == 1


def test_a_run_that_passed_over_a_damaged_checkpoint_writes_it_anew(tmp_path: Path) -> None:
    kept(tmp_path, 5, 10)
    blank(tmp_path / "checkpoints" / "000010" / checkpoint.TENSORS)
    assert read(tmp_path) == 5
    kept(tmp_path, 10)
    assert read(tmp_path) == 10


def test_when_all_are_damaged_the_run_does_not_silently_begin_anew(tmp_path: Path) -> None:
    kept(tmp_path, 5, 10)
    for step in ("000005", "000010"):
        cut(tmp_path / "checkpoints" / step / checkpoint.TENSORS)
    with pytest.raises(TrainingError, match=f"no checkpoint is whole .*cut off.*delete {tmp_path}"):
        checkpoint.newest(tmp_path)


def test_what_a_killed_writer_left_is_no_checkpoint_and_is_cleared_away(tmp_path: Path) -> None:
    kept(tmp_path, 5)
    left = tmp_path / "checkpoints" / "tmp-12345"
    left.mkdir()
    (left / checkpoint.TENSORS).write_bytes(b"half")
    assert read(tmp_path) == 5
    kept(tmp_path, 10)
    assert not left.exists()


def test_weights_are_read_as_tensors_and_nothing_is_unpickled(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "owned"),)

    kept(tmp_path, 5)
    checkpoint.write(tmp_path, 10, {"trained": Hostile()}, {})
    assert read(tmp_path) == 5
    assert not (tmp_path / "owned").exists()


# Full disks --------------------------------------------------------------------------------------


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def full_as_torch_tells_it(*_: Any, **__: Any) -> None:
    raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0")


@pytest.mark.parametrize("failing", [full, full_as_torch_tells_it])
def test_a_checkpoint_that_cannot_be_written_leaves_the_last_good_one(
    failing: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", failing)
        with pytest.raises(TrainingError, match="Make room and start again: it begins anew"):
            kept(tmp_path, 5)
    kept(tmp_path, 5)
    monkeypatch.setattr(torch, "save", failing)
    with pytest.raises(
        TrainingError, match="Make room and start again: the run goes on from step 5"
    ):
        kept(tmp_path, 10)
    assert read(tmp_path) == 5
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["000005"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB; where none can be mounted, the test is skipped."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    asked = [str(mount), "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if mount is None or subprocess.run(asked, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_is_really_full_leaves_the_last_good_checkpoint(small_disk: Path) -> None:
    kept(small_disk, 5)
    large = {"trained": {"weight": torch.zeros(1024, 1024)}}
    with pytest.raises(TrainingError, match="the run goes on from step 5"):
        checkpoint.write(small_disk, 10, large, {})
    assert read(small_disk) == 5
    kept(small_disk, 10)
    assert read(small_disk) == 10


def test_a_model_that_a_full_disk_cannot_hold_is_a_clear_error(
    small_disk: Path, one: Small
) -> None:
    kept(small_disk, 5)
    (small_disk / "ballast").write_bytes(bytes(1_500_000))
    with pytest.raises(TrainingError, match=r"the model could not be written .* Make room"):
        checkpoint.finish(small_disk, one.load(), one.processor, {})
    assert not (small_disk / "model").exists()
    assert not (small_disk / checkpoint.DONE).exists()
    assert read(small_disk) == 5
    (small_disk / "ballast").unlink()
    checkpoint.finish(small_disk, one.load(), one.processor, {"kind": "sft"})
    assert (small_disk / "model" / "config.json").exists()


def test_a_tokenizer_that_a_full_disk_cannot_hold_is_a_clear_error(
    small_disk: Path, one: Small
) -> None:
    """Weights fit; tokenizers then raises what is nothing but an `Exception`."""
    room = (one.folder / "model.safetensors").stat().st_size + 100_000
    (small_disk / "ballast").write_bytes(bytes(2 * 2**20 - room))
    with pytest.raises(TrainingError, match=r"the model could not be written .* Make room"):
        checkpoint.finish(small_disk, one.load(), one.processor, {})
    assert [path.name for path in small_disk.iterdir()] == ["ballast"]


def test_what_began_with_other_weights_at_the_same_path_is_refused(tmp_path: Path) -> None:
    def same(kept: dict[str, str], now: str) -> None:
        checkpoint.same_origin(tmp_path, kept, "runs/cold/model", now)

    same({checkpoint.ORIGIN: "one"}, "one")
    for kept, now in (
        ({}, "one"),
        ({checkpoint.ORIGIN: ""}, "one"),
        ({checkpoint.ORIGIN: "one"}, ""),
    ):
        same(kept, now)  # that cannot be told
    said = f"{tmp_path} began with other weights than runs/cold/model holds now: put them back"
    with pytest.raises(TrainingError, match=said):
        same({checkpoint.ORIGIN: "one"}, "other")


def test_metrics_that_a_full_disk_cannot_hold_name_their_file(small_disk: Path) -> None:
    def fill() -> None:
        with Record(small_disk, 0, 10**6, "test", main=True) as record:
            for step in range(1, 10**6):
                record.write(step, loss=1.0, note="x" * 10_000)

    said = f"{small_disk / METRICS} could not be written: .*No space left on device. Make room"
    with pytest.raises(TrainingError, match=said):
        fill()


# Folders of runs, and finished models ------------------------------------------------------------


def test_a_folder_belongs_to_one_configuration(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert not checkpoint.claim(out, Config())
    (out / METRICS).write_text("")
    assert not checkpoint.claim(out, Config())
    with pytest.raises(
        TrainingError, match="holds a run with another data, lr: name another folder"
    ):
        checkpoint.claim(out, Config(lr=1.0, data=("a",)))


def test_a_run_goes_on_under_a_field_that_is_newer_than_it_is_at_its_default(
    tmp_path: Path,
) -> None:
    assert not checkpoint.claim(tmp_path, Config())
    (tmp_path / METRICS).write_text("")
    path = tmp_path / checkpoint.CONFIG
    older = json.loads(path.read_text())
    del older["lr"]
    path.write_text(json.dumps(older))
    with pytest.raises(TrainingError, match="another lr"):
        checkpoint.claim(tmp_path, Config(lr=1.0))
    assert not checkpoint.claim(tmp_path, Config())


def test_a_start_that_came_to_nothing_does_not_claim_the_folder(tmp_path: Path) -> None:
    assert not checkpoint.claim(tmp_path, Config(data=("a typing error",)))
    assert not checkpoint.claim(tmp_path, Config())
    (tmp_path / METRICS).write_text("")
    with pytest.raises(TrainingError, match="another data"):
        checkpoint.claim(tmp_path, Config(data=("a typing error",)))


def test_what_a_killed_start_left_does_not_claim_the_folder(tmp_path: Path) -> None:
    assert not checkpoint.claim(tmp_path, Config(data=("a typing error",)))
    (tmp_path / f"{checkpoint.CONFIG}.12345").write_text("{")  # killed before it was in its place
    assert not checkpoint.claim(tmp_path, Config())


def test_a_finished_model_is_told_by_what_is_written_last(tmp_path: Path, one: Small) -> None:
    assert not checkpoint.claim(tmp_path, Config())
    told = checkpoint.finish(tmp_path, one.load(), one.processor, {"kind": "sft"})
    assert checkpoint.claim(tmp_path, Config())
    assert json.loads((tmp_path / checkpoint.DONE).read_text()) == told
    assert told["weights_sha256"] == weights_sha256(one.folder)
    assert not list(tmp_path.glob("model-*"))


# Metrics -----------------------------------------------------------------------------------------


def test_a_run_that_resumes_cuts_off_what_it_will_do_again(tmp_path: Path) -> None:
    with Record(tmp_path, 0, 9, "test", main=True) as record:
        for step in range(1, 8):
            record.write(step, loss=float(step))
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"step": 8, "lo')  # a kill in the middle of a line
    with Record(tmp_path, 5, 9, "test", main=True) as record:
        record.write(6, loss=-6.0)
    lines = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert lines[-1]["loss"] == -6.0


def test_numbers_that_are_none_are_null(tmp_path: Path) -> None:
    with Record(tmp_path, 0, 1, "test", main=True) as record:
        record.write(1, loss=float("nan"), by_task={"maze": float("inf"), "counting": 0.5})
    (line,) = (tmp_path / METRICS).read_text().splitlines()
    assert json.loads(line, parse_constant=pytest.fail) == {
        "step": 1,
        "loss": None,
        "by_task": {"maze": None, "counting": 0.5},
    }


def test_only_the_main_process_records(tmp_path: Path) -> None:
    with Record(tmp_path, 0, 1, "test", main=False) as record:
        record.write(1, loss=1.0)
        record.advance(loss=1.0)
    assert not list(tmp_path.iterdir())


TELLING = """
import os, sys
from dagster_pipes import encode_param
from trainers.record import tell_dagster

facts = {"kind": "sft", "steps": 3, "refused": [{"id": "a#0", "length": 9}]}
facts["spent"] = {"paid": {"turns": 2}}
tell_dagster(facts)  # nobody listens: nothing happens
context = {"asset_keys": ["cold_model"], "run_id": "r", "job_name": "j", "retry_number": 0}
parts = ("code_version_by_asset_key", "provenance_by_asset_key", "partition_key")
context |= dict.fromkeys((*parts, "partition_key_range", "partition_time_window")) | {"extras": {}}
os.environ["DAGSTER_PIPES_CONTEXT"] = encode_param({"data": context})
os.environ["DAGSTER_PIPES_MESSAGES"] = encode_param({"path": sys.argv[1]})
tell_dagster(facts)
"""


def test_dagster_is_told_of_a_run_where_it_listens(tmp_path: Path) -> None:
    said, root = tmp_path / "messages", Path(__file__).parents[2]
    command = [sys.executable, "-W", "error", "-c", TELLING, str(said)]
    subprocess.run(command, cwd=root, check=True)
    told = [json.loads(line) for line in said.read_text().splitlines()]
    assert [message["method"] for message in told] == [
        "opened",
        "report_asset_materialization",
        "closed",
    ]
    metadata = told[1]["params"]["metadata"]
    assert metadata["steps"]["raw_value"] == 3
    assert metadata["refused"]["raw_value"] == [{"id": "a#0", "length": 9}]
    assert metadata["spent"] == {"raw_value": {"paid": {"turns": 2}}, "type": "json"}
