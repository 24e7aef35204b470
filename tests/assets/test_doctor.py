"""The doctor: each thing that can be wrong is found, named, and given a remedy."""

import json
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from click.testing import CliRunner

from assets import doctor
from assets.cli import main
from assets.doctor import OK, PROBLEM, WARNING, Finding
from tests.assets.conftest import TINY

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place where everything is as it must be, and room for it."""
    for name in ("home", "versions", "data"):
        (tmp_path / name).mkdir()
    (tmp_path / "home/dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    (tmp_path / "versions/tiny.yaml").write_text(TINY)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DRAWLOOP_VERSIONS", str(tmp_path / "versions"))
    monkeypatch.setenv("DRAWLOOP_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(doctor, "ROOM_GB", (0, 0))
    return tmp_path


def found(what: str) -> list[Finding]:
    return [finding for finding in doctor.examine() if finding.what == what]


def test_a_healthy_place_has_no_problem_and_exit_code_0() -> None:
    done = CliRunner().invoke(main, ["doctor"])
    assert done.exit_code == 0, done.output
    assert "ok       dagster.yaml" in done.output
    told = json.loads(CliRunner().invoke(main, ["doctor", "--json"]).stdout)
    assert {line["state"] for line in told} <= {OK, WARNING}
    assert {"python", "package numpy", "gpu", "vllm", "disk", "data", "versions"} <= {
        line["what"] for line in told
    }


def test_every_finding_that_is_not_ok_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "version", missing)
    monkeypatch.setattr(doctor, "ROOM_GB", (10**9, 10**9))
    bad = [finding for finding in doctor.examine() if finding.state != OK]
    assert len(bad) > 10
    assert all(finding.remedy for finding in bad)
    done = CliRunner().invoke(main, ["doctor"])
    assert done.exit_code == 1
    assert "problem  disk" in done.output


def missing(name: str) -> str:
    raise PackageNotFoundError(name)


def test_packages_are_compared_with_what_the_project_requires(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor, "version", lambda name: "0.1")
    (numpy,) = found("package numpy")
    assert numpy.state == PROBLEM
    assert numpy.seen.startswith("0.1; needed: ")
    assert 'pip install "numpy' in numpy.remedy
    (torch,) = found("package torch")
    assert torch.state == WARNING  # the sets are built without it
    assert not found("package pytest")


def test_a_backfill_that_would_wait_for_ever_is_foreseen(healthy: Path) -> None:
    settings = healthy / "home/dagster.yaml"
    settings.write_text("telemetry: {enabled: false}\n")
    (finding,) = found("dagster.yaml")
    assert (finding.state, "queued for a daemon" in finding.seen) == (WARNING, True)
    settings.write_text("{[")
    assert found("dagster.yaml")[0].state == PROBLEM
    settings.write_text("run_coordinator: 3")
    assert found("dagster.yaml")[0].state == WARNING
    settings.unlink()
    assert found("dagster.yaml")[0].state == PROBLEM


def test_a_home_that_is_missing_relative_or_not_set_is_told(
    healthy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(healthy / "gone"))
    assert found("dagster home")[0].remedy == f"mkdir -p {healthy / 'gone'}"
    monkeypatch.setenv("DAGSTER_HOME", "here")
    assert "no absolute path" in found("dagster home")[0].seen
    monkeypatch.delenv("DAGSTER_HOME")
    assert found("dagster home")[0].remedy.startswith("export DAGSTER_HOME=/")


def test_a_broken_version_file_and_an_empty_folder_are_problems(healthy: Path) -> None:
    (healthy / "versions/broken.yaml").write_text("seed: [")
    bad, good = found("versions")
    assert (bad.state, good.state) == (PROBLEM, OK)
    assert "broken.yaml" in bad.seen
    assert "\n" not in bad.seen
    for file in (healthy / "versions").iterdir():
        file.unlink()
    assert found("versions")[0].state == PROBLEM


def test_data_that_cannot_be_written_is_a_problem_and_a_store_that_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DRAWLOOP_DATA", "/proc/nothing")
    assert found("data")[0].state == PROBLEM
    monkeypatch.setenv("DRAWLOOP_DATA", "nope://x")
    assert found("data")[0].state == PROBLEM


def test_a_gpu_that_torch_was_not_built_for_is_told(
    healthy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = healthy / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'H100, 81559 MiB'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(healthy))
    assert found("gpu") == [Finding("gpu", OK, "H100, 81559 MiB")]
    monkeypatch.setattr(doctor, "version", lambda name: "2.13.0+cpu")
    assert "torch==2.13.0" in found("cuda")[0].remedy
    monkeypatch.setattr(doctor, "version", lambda name: "2.13.0")
    assert found("cuda")[0].state == OK
