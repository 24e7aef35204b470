"""What a set kept, and what it dropped and why, is there to be looked at."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from imageio.v3 import imread

from assets.build import Built
from assets.cli import main
from pipeline.store import Store
from tests.assets.conftest import TINY


@pytest.fixture
def built(
    whole: dict[str, Built], stocked: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, int]:
    """The version `tiny` in the store; the yield of its cold set."""
    (tmp_path / "versions").mkdir()
    (tmp_path / "versions" / "tiny.yaml").write_text(TINY)
    monkeypatch.setenv("DRAWLOOP_VERSIONS", str(tmp_path / "versions"))
    counts: dict[str, int] = whole["cold_set"].manifest.facts["yield"]
    return counts


def look(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["look", "tiny", *words])
    return result.exit_code, result.output


def test_every_reason_has_as_many_to_look_at_as_it_counts(
    built: dict[str, int], store: Store
) -> None:
    assert len(built) > 2
    for reason, count in built.items():
        words = [] if reason == "kept" else ["--reason", reason]
        code, said = look("cold_set", "-n", "100", *words)
        pictures = sorted((Path(store.desk) / "look" / "tiny" / reason).glob("*.png"))
        assert (code, len(pictures)) == (0, count)
        verdict = "→ kept" if reason == "kept" else f"→ dropped: {reason}"
        assert said.count(verdict) == count
        assert all(str(path) in said for path in pictures)
        assert imread(pictures[0]).ndim == 3


def test_a_reason_that_dropped_nothing_is_refused_with_those_that_did(
    built: dict[str, int],
) -> None:
    code, said = look("cold_set", "--reason", "ugly")
    assert code == 2
    assert "cold_set dropped nothing as 'ugly'; there are" in said
    assert all(f"{reason} {count}" in said for reason, count in built.items() if reason != "kept")
    assert look("grid_set")[0] == 2
