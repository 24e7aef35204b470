"""The commands of the tutorials run as they stand there, in order, in an empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.store import Store
from pipeline.versions import load

ROOT = Path(__file__).parent.parent
BLOCKS = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)


def run(page: str, place: Path) -> str:
    """What the commands of a page print; a failing one fails the test."""
    text = (ROOT / "docs" / page).read_text()
    script = "set -e\n" + "".join(BLOCKS.findall(text))
    # `drawloop` and `python` as they are after `source .venv/bin/activate`.
    (place / "bin").mkdir()
    for name, says in (("python", ""), ("drawloop", '-c "from assets.cli import main; main()"')):
        (place / "bin" / name).write_text(f'#!/bin/sh\nexec {sys.executable} {says} "$@"\n')
        (place / "bin" / name).chmod(0o755)
    (place / "work").mkdir()
    told = {
        **os.environ,
        "PATH": f"{place / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "VIRTUAL_ENV": str(ROOT / "weights"),
        "HF_HUB_OFFLINE": "1",
    }
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=place / "work",
        env=told,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


def yields(place: Path, version: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, int]]:
    """What was kept and dropped, by asset."""
    monkeypatch.setenv("DRAWLOOP_VERSIONS", str(place / "work" / "versions"))
    from assets.build import find
    from assets.graph import NODES

    store = Store.at(place / "work" / "data")
    built = {asset: find(asset, load(version), store) for asset in NODES}
    return {name: one.manifest.facts["yield"] for name, one in built.items() if one is not None}


@pytest.mark.slow
def test_own_pictures_become_a_version_and_are_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = run("own-pictures.md", tmp_path)
    found = yields(tmp_path, "desk", monkeypatch)
    assert found["problems"] == {"kept": 11, "picture_missing": 1}
    assert found["cold_set"]["kept"] > 0
    assert (tmp_path / "work" / "runs" / "desk" / "done.json").is_file()
    assert "picture_missing 1" in told


@pytest.mark.slow
def test_vilasrs_data_becomes_a_curated_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = run("vilasr-data.md", tmp_path)
    found = yields(tmp_path, "curated", monkeypatch)
    assert found["cold_set"] == {"kept": 10, "bad_op": 1, "malformed": 1}
    assert found["problems"]["unknown_question_type"] == 1
    assert found["problems"]["picture_missing"] == 1
    assert "unknown_question_type 1" in told
