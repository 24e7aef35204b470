"""A little of `tests.kill`: builds that are killed are complete or absent, and end as one left alone."""

import json
from pathlib import Path

import pytest

from pipeline.store import Store
from tests.kill import differences, hashes, torn, trial
from tests.test_store import said, write


@pytest.mark.slow
def test_builds_whose_whole_process_group_is_killed_end_with_equal_bytes(tmp_path: Path) -> None:
    assert trial(tmp_path, "tiny", 5, 1, "--sets") == []


def test_what_is_torn_is_seen(tmp_path: Path) -> None:
    store = Store.at(tmp_path)
    for address in ("whole", "cut", "bare", "lying"):
        write(store, [said(n) for n in range(9)], address=address)
    (tmp_path / "asset").rename(tmp_path / "problems")
    assert list(torn(tmp_path)) == []
    part = tmp_path / "problems" / "cut" / "rows-00000.parquet"
    part.write_bytes(part.read_bytes()[:-1])
    (tmp_path / "problems" / "bare" / "manifest.json").unlink()
    lying = tmp_path / "problems" / "lying" / "manifest.json"
    lying.write_text(json.dumps({**json.loads(lying.read_text()), "tables": {"rows": 8}}))
    bare, cut, lie = torn(tmp_path)
    assert bare == "problems/bare has no manifest"
    assert cut == "problems/cut/rows-00000.parquet has another hash"
    assert "problems/lying/manifest.json is no manifest" in lie


def test_files_that_differ_are_named(tmp_path: Path) -> None:
    for name in ("asset/a/part", "runs/b/part", "tmp/c/part"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(name)
    calm = hashes(tmp_path)
    assert list(calm) == ["asset/a/part"], "what writers and trainers leave is their own"
    assert differences(calm, calm) == []
    assert differences(calm, {"asset/b/part": ""}) == [
        "asset/a/part differs",
        "asset/b/part differs",
    ]


def test_only_how_long_a_training_took_may_differ(tmp_path: Path) -> None:
    def trained(name: str, seconds: float, loss: float) -> dict[str, str]:
        folder = tmp_path / name / "cold_model" / "address"
        folder.mkdir(parents=True)
        row = {"step": 1, "loss": loss, "seconds": seconds}
        (folder / "metrics.jsonl").write_text(json.dumps(row) + "\n")
        parts = {"metrics.jsonl": {"sha256": f"{seconds}"}, "model": {"sha256": "same"}}
        (folder / "manifest.json").write_text(json.dumps({"parts": parts}))
        return hashes(tmp_path / name)

    calm = trained("calm", 1.0, 0.5)
    assert differences(calm, trained("slower", 2.0, 0.5)) == []
    assert differences(calm, trained("other", 1.0, 0.6)) == [
        "cold_model/address/metrics.jsonl differs"
    ]
