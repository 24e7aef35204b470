"""Exports of a version: listed in its file, written into the store, or to a folder outside."""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from assets.build import build, find
from assets.checks import checks_of, exports_whole, nothing_lost, parts_intact
from assets.cli import main
from assets.exports import to_folder
from assets.graph import NODES, address, needed, sets
from assets.report import metadata
from pipeline.exporters.wanted import wanted
from pipeline.store import Store
from pipeline.versions import Version, VersionError, parse
from tests.assets.conftest import TINY

LISTED = """
exports:
  - {format: trl-sft, sets: [skills, cold]}
  - {format: vilasr-rl, sets: [rl]}
  - {format: ms-swift, sets: [cold], family: qwen3-vl, max_tokens: 700}
"""


def built(version: Version, store: Store) -> None:
    for asset in needed(sets(), version):
        build(asset, version, store)


def test_a_version_lists_its_exports_and_they_lie_in_the_store(store: Store) -> None:
    version = parse("tiny", TINY + LISTED)
    built(version, store)
    made = build("framework_exports", version, store)
    names = ["trl-sft-skills", "trl-sft-cold", "vilasr-rl-rl", "ms-swift-cold-qwen3-vl"]
    rows = list(made.rows("written"))
    assert [row["folder"] for row in rows] == names
    for name in names:
        assert (Path(made.path) / name / "README.md").is_file()
        assert (Path(made.path) / name / "report.json").is_file()
    assert json.loads(rows[3]["omitted"])["too_long"] > 0
    for check in (nothing_lost, parts_intact, exports_whole):
        assert check(made).passed, check(made).said
    shown = metadata(made)
    assert f"{made.path}/trl-sft-cold" in shown["written"].value
    assert "too_long" in shown["written"].value


def test_listing_exports_moves_no_other_asset(tiny: Version) -> None:
    listed = parse("tiny", TINY + LISTED)
    moved = [asset for asset in NODES if address(asset, tiny) != address(asset, listed)]
    assert moved == ["framework_exports"]


def test_a_version_that_lists_none_has_an_empty_asset(tiny: Version, store: Store) -> None:
    made = build("framework_exports", tiny, store)
    assert list(made.rows("written")) == []
    assert nothing_lost(made).passed
    assert exports_whole(made).passed


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{format: trl, sets: [cold]}", "no format 'trl'; there are native, trl-sft"),
        ("{format: trl-grpo, sets: [cold]}", "trl-grpo takes rl, and not cold"),
        ("{format: trl-sft, sets: []}", "exports[0].sets"),
        ("{format: trl-sft, sets: [cold], family: llava}", "no family 'llava'"),
    ],
)
def test_a_wrong_line_is_refused_with_what_is_allowed(line: str, said: str) -> None:
    with pytest.raises(VersionError) as refused:
        parse("tiny", f"{TINY}\nexports: [{line}]\n")
    assert said.replace("[0]", ".0") in str(refused.value) or said in str(refused.value)


def test_pixels_of_another_grid_are_refused_when_the_version_is_read() -> None:
    text = TINY.replace("seed: 5", "seed: 5\nfamily: qwen3-vl").replace("112,", "128,")
    with pytest.raises(VersionError, match="build the version anew with family qwen"):
        parse("tiny", text + "exports: [{format: trl-sft, sets: [cold], family: qwen2.5-vl}]")


NATIVE = ("skills_export", "cold_export", "reflective_export", "rl_export")


def test_a_native_export_can_be_pushed_as_it_lies_in_the_store(
    tiny: Version, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datasets import load_dataset

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    built(tiny, store)
    for asset in NATIVE:
        made = build(asset, tiny, store)
        page = (Path(made.path) / "README.md").read_text()
        assert all(check(made).passed for check in checks_of(asset))
        loaded = load_dataset(made.path, split="train", cache_dir=str(tmp_path / "cache"))
        assert len(loaded) == made.manifest.tables["train"] > 0
        front = yaml.safe_load(page.split("---\n")[1])
        named = [column["name"] for column in front["dataset_info"]["features"]]
        assert named == loaded.column_names
        assert f"| rows written | {len(loaded)} |" in page
        assert f"| {asset} | {len(loaded)} | none |" in page
        assert made.address in page


def test_versions_that_share_an_export_share_its_card(tiny: Version, tmp_path: Path) -> None:
    other = parse("other", TINY.replace("for tests", "of another name"))
    pages = []
    for version, name in ((tiny, "a"), (other, "b")):
        built(version, Store.at(tmp_path / name))
        made = build("cold_export", version, Store.at(tmp_path / name))
        pages.append((Path(made.path) / "README.md").read_bytes())
    assert pages[0] == pages[1]


def test_an_export_built_before_it_had_a_card_is_still_whole(
    tiny: Version, store: Store, tmp_path: Path
) -> None:
    built(tiny, store)
    made = build("cold_export", tiny, store)
    (Path(made.path) / "README.md").unlink()
    place = Path(made.path) / "manifest.json"
    told = json.loads(place.read_text())
    del told["parts"]["README.md"]
    place.write_text(json.dumps(told))
    before = find("cold_export", tiny, store)
    assert before is not None
    assert before.manifest.data_version == made.manifest.data_version
    assert all(check(before).passed for check in checks_of("cold_export"))
    assert store.incomplete("cold_export", made.address) == []
    chosen = wanted(format="native", sets=("cold",))
    to_folder(tiny, "cold", chosen, store, made.address, tmp_path / "out")
    assert (tmp_path / "out" / "README.md").is_file()


def test_the_command_writes_a_folder_outside_the_store(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "versions").mkdir()
    (tmp_path / "versions" / "tiny.yaml").write_text(TINY)
    monkeypatch.setenv("DRAWLOOP_VERSIONS", str(tmp_path / "versions"))
    words = [
        "export",
        "tiny",
        "--format",
        "trl-sft",
        "--set",
        "cold",
        "--to",
        str(tmp_path / "out"),
    ]
    early = CliRunner().invoke(main, words)
    assert early.exit_code == 2
    assert "tiny has no cold_export yet: drawloop build --sets tiny" in early.stderr
    built(parse("tiny", TINY), store)
    done = CliRunner().invoke(main, words)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "for TRL 1.16" in done.stdout
    assert "omitted: none" in done.stdout
    again = CliRunner().invoke(main, words)
    assert again.exit_code == 2
    assert "is not empty: name another folder, or say --overwrite" in again.stderr
    script = CliRunner().invoke(main, [*words, "--overwrite", "--json", "--max-tokens", "600"])
    told = json.loads(script.stdout)
    assert told["read"] == told["written"] + told["omitted"]["too_long"]
    assert (tmp_path / "out" / "README.md").is_file()
    for wrong, said in (
        (["--set", "gold"], "'skills', 'cold', 'reflective' or 'rl'"),
        (["--max-tokens", "-1"], "greater than or equal to 0"),
        (["--set", "rl"], "trl-sft takes skills, cold, reflective, and not rl"),
        (["--format", "trl"], "no format 'trl'"),
        (["--family", "llava"], "no family 'llava'"),
        (["--processor", str(tmp_path / "nowhere")], "nowhere"),
    ):
        refused = CliRunner().invoke(main, [*words, "--overwrite", *wrong])
        assert refused.exit_code == 2, refused.output
        assert said in refused.stderr
        assert refused.stderr.count("\n") == 1
