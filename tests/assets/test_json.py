"""What commands say to scripts: JSON alone on stdout, and exit codes that tell."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from assets.build import build
from assets.cli import main
from pipeline.store import Store
from pipeline.versions import Version
from tests.assets.conftest import TINY


@pytest.fixture(autouse=True)
def versions(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "versions"
    folder.mkdir()
    (folder / "tiny.yaml").write_text(TINY)
    monkeypatch.setenv("DRAWLOOP_VERSIONS", str(folder))
    return folder


def ask(*words: str) -> Result:
    return CliRunner().invoke(main, [*words])


def test_versions_are_listed_and_a_refused_one_is_told_beside_them(versions: Path) -> None:
    told = json.loads(ask("list", "--json").stdout)
    assert told == [
        {"name": "tiny", "description": "for tests", "problems": 32, "mix": ["counting", "maze"]}
    ]
    (versions / "broken.yaml").write_text("seed: [")
    done = ask("list", "--json")
    assert done.exit_code == 2
    assert [line["name"] for line in json.loads(done.stdout)] == ["tiny"]
    assert "broken.yaml" in done.stderr


def test_what_may_be_pruned_is_told_and_deleted_only_when_that_is_asked(
    versions: Path, tiny: Version, store: Store
) -> None:
    assert json.loads(ask("prune", "--json").stdout) == []
    made = build("problems", tiny, store)
    (versions / "tiny.yaml").write_text(TINY.replace("seed: 5", "seed: 6"))
    (stale,) = json.loads(ask("prune", "--json").stdout)
    assert stale["path"] == made.path
    assert stale["bytes"] > 1000
    assert Path(made.path).exists()
    assert json.loads(ask("prune", "--json", "--yes").stdout) == [stale]
    assert not Path(made.path).exists()


def test_a_gallery_that_a_person_asked_for_is_not_pruned(tiny: Version, store: Store) -> None:
    build("problems", tiny, store)
    build("drawing_skills", tiny, store)
    done = ask("gallery", "tiny", "--stage", "skills")
    assert done.exit_code == 0, done.output
    assert json.loads(ask("prune", "--json").stdout) == []
    assert "6 trajectories" in done.stdout
