"""Versions that differ in a filter, a seed or a mix, against counting what lies in the store."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from assets.build import build
from assets.cli import main
from assets.diff import Diff, diff
from assets.graph import NODES, address, needed, sets
from assets.sides import side
from pipeline.mix import EVERY_SPLIT
from pipeline.rows import Row
from pipeline.store import Store
from pipeline.versions import load
from tests.assets.conftest import TINY

VARIANTS = {
    "tiny": TINY,
    "longer": TINY.replace("min_turns: 2", "min_turns: 3").replace("rule: paper", "rule: none"),
    "lower": TINY.replace("min_turns: 2", "min_turns: 1"),
    "seeded": TINY.replace("seed: 5", "seed: 6"),
    "mixed": TINY.replace("counting: {}", "counting: {share: 2}, chart: {}"),
    "unbuilt": TINY.replace("wrong_answer: 0.4", "wrong_answer: 0.9"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the variants' files, and a store with the sets of all but the last."""
    folder = tmp_path_factory.mktemp("variants")
    (folder / "versions").mkdir()
    for name, text in VARIANTS.items():
        (folder / "versions" / f"{name}.yaml").write_text(text)
    store = Store.at(folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRAWLOOP_VERSIONS", str(folder / "versions"))
        for version in (load(name) for name in VARIANTS if name != "unbuilt"):
            for asset in needed(sets(), version):
                build(asset, version, store)
    return folder


@pytest.fixture
def place(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DRAWLOOP_VERSIONS", str(made / "versions"))
    monkeypatch.setenv("DRAWLOOP_DATA", str(made / "data"))
    return made


def compared(a: str, b: str) -> Diff:
    store = Store.at()
    return diff(side(a, store), side(b, store), store)


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["diff", *words])


def read(name: str, asset: str, table: str) -> list[Row]:
    """All rows of a table, by pyarrow alone."""
    folder = Path(Store.at().root) / asset / address(asset, load(name))
    return [
        row for part in sorted(folder.glob(f"{table}-*")) for row in pq.read_table(part).to_pylist()
    ]


def judged(name: str, asset: str, split: str) -> dict[tuple[str, ...], str]:
    """The verdict on every trajectory that came into a set, by its id and texts."""
    rows = [*read(name, asset, split), *read(name, asset, "rejects")]
    return {
        (row["id"], *(turn["text"] for turn in row["turns"])): row.get("reason", "kept")
        for row in rows
    }


def test_a_filter_moves_rows_between_verdicts_and_all_before_it_is_shared(place: Path) -> None:
    told = compared("tiny", "longer")
    assert [(c.path, c.a, c.b) for c in told.configuration] == [
        ("filters.cold.min_turns", 2, 3),
        ("filters.reflective.rule", "paper", "none"),
    ]
    fates = {fate.asset: fate for fate in told.assets}
    apart = [asset for asset, fate in fates.items() if not fate.shared]
    assert apart == ["cold_set", "cold_export", "reflective_set", "reflective_export"]
    assert [(c.path, c.a, c.b) for c in fates["cold_set"].decided] == [("filter.min_turns", 2, 3)]
    assert (fates["cold_export"].decided, fates["cold_export"].inputs) == ((), ("cold_set",))
    assert told.problems == ()
    assert [one.name for one in told.sets] == ["cold_set", "reflective_set"]
    for one, split in zip(told.sets, ("cold", "reflective"), strict=True):
        before, after = (judged(name, one.name, split) for name in ("tiny", "longer"))
        assert one.a == Counter(before.values())
        assert one.b == Counter(after.values())
        pairs = Counter((before[key], after[key]) for key in before)
        assert {(flow.a, flow.b): flow.count for flow in one.judged.flows} == pairs
        assert (one.judged.only_a, one.judged.only_b) == (0, 0)
        assert one.judged.changed
        moved = {key[0] for key in before if before[key] != after[key]}
        assert {name for flow in one.judged.changed for name in flow.examples} <= moved


def test_distributions_are_those_of_the_rows_that_were_kept(place: Path) -> None:
    found = {(d.of, d.what): d for d in compared("tiny", "longer").distributions}
    kept = [read(name, "cold_set", "cold") for name in ("tiny", "longer")]
    for told, rows in zip(("a", "b"), kept, strict=True):
        turns = getattr(found["cold_set", "turns"], told)
        assert turns["mean"] == pytest.approx(fmean(len(row["turns"]) for row in rows))
        boxes = [
            sum(op["type"] == "box" for turn in row["turns"] for op in turn["ops"] or ())
            for row in rows
        ]
        assert getattr(found["cold_set", "boxes"], told)["mean"] == pytest.approx(fmean(boxes))
        tasks = Counter(row["task"] for row in rows)
        assert getattr(found["cold_set", "task"], told) == pytest.approx(
            {task: count / len(rows) for task, count in tasks.items()}
        )
    excesses = [d.excess for d in compared("tiny", "longer").distributions]
    assert excesses == sorted(excesses, reverse=True)


def test_another_mix_shares_the_scenes_of_the_tasks_that_both_ask(place: Path) -> None:
    told = compared("tiny", "mixed")
    scenes = [
        {
            (row["task"], row["geometry"]): split
            for split in EVERY_SPLIT
            for row in read(name, "problems", split)
        }
        for name in ("tiny", "mixed")
    ]
    before, after = ({*side.items()} for side in scenes)
    both = Counter((split, task) for (task, _), split in before & after)
    assert sum(both.values()) > 10
    assert {(m.split, m.task): m.both for m in told.problems if m.both} == both
    assert sum(m.only_a for m in told.problems) == len({*scenes[0]} - {*scenes[1]})
    assert sum(m.only_b for m in told.problems) == len({*scenes[1]} - {*scenes[0]})
    (cold,) = [one for one in told.sets if one.name == "cold_set"]
    verdicts = [judged(name, "cold_set", "cold") for name in ("tiny", "mixed")]
    assert cold.judged.both == len({*verdicts[0]} & {*verdicts[1]}) > 0
    assert cold.judged.only_b == len({*verdicts[1]} - {*verdicts[0]})
    (tasks,) = [d for d in told.distributions if (d.of, d.what) == ("problems", "task")]
    asked = Counter(task for task, _ in scenes[1])
    assert tasks.b["chart"] == pytest.approx(asked["chart"] / asked.total())


def test_another_seed_asks_nothing_of_the_same(place: Path) -> None:
    told = compared("tiny", "seeded")
    assert [(c.path, c.a, c.b) for c in told.configuration] == [("seed", 5, 6)]
    assert sum(m.only_a for m in told.problems) == sum(m.only_b for m in told.problems) == 32
    assert not any(m.both or m.left or m.came for m in told.problems)
    assert [one.name for one in told.sets] == ["cold_set", "reflective_set", "rl_problems"]
    assert all(one.judged.both == 0 for one in told.sets)
    (rl,) = [one for one in told.sets if one.name == "rl_problems"]
    assert rl.judged.only_a == rl.judged.only_b == 6
    said = run("tiny", "seeded").stdout
    assert "No row came into both." in said


def test_sets_of_equal_contents_are_told_as_such_and_not_compared(place: Path) -> None:
    told = compared("tiny", "lower")
    (cold,) = [fate for fate in told.assets if fate.asset == "cold_set"]
    assert (cold.shared, cold.equal) == (False, True)
    assert (told.sets, told.distributions) == ((), ())
    assert "filter.min_turns (equal contents)" in run("tiny", "lower").stdout


def test_a_version_is_the_same_as_itself_as_its_file_and_as_its_build(place: Path) -> None:
    build_of = f"cold_set/{address('cold_set', load('tiny'))}"
    for other in ("tiny", str(place / "versions" / "tiny.yaml"), build_of):
        done = run("tiny", other)
        assert (done.exit_code, done.stderr) == (0, "")
        assert done.stdout.strip().splitlines() == [
            f"tiny and {other} are the same: every field, and every asset."
        ]
        assert json.loads(run("tiny", other, "--json").stdout)["same"] is True


def test_json_holds_all_that_is_printed(place: Path) -> None:
    told = json.loads(run("tiny", "mixed", "--json").stdout)
    assert {*told} == {*Diff.__slots__}
    assert told["same"] is False
    said = run("tiny", "mixed").stdout
    assert all(change["path"] in said for change in told["configuration"])
    assert all(f"{one['name']}: " in said for one in told["sets"])
    assert f"Other fields, the same of both: {told['fields_alike']}." in said
    assert sum(d["distance"] > 0.0005 for d in told["distributions"]) == sum(
        line.strip()[:2] in ("0.", "1.") for line in said.splitlines()
    )


def test_an_edited_version_is_compared_with_its_earlier_build_by_address(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = address("cold_set", load("tiny"))
    shutil.copytree(place / "versions", tmp_path / "versions")
    (tmp_path / "versions" / "tiny.yaml").write_text(VARIANTS["longer"])
    monkeypatch.setenv("DRAWLOOP_VERSIONS", str(tmp_path / "versions"))
    for name in (earlier[:8], f"cold_set/{earlier}", f"cold_set/{earlier[:5]}"):
        told = compared(name, "tiny")
        assert told.a == f"cold_set/{earlier}"
        assert [fate.asset for fate in told.assets] == [
            "problems", "teacher_trajectories", "cold_set",
        ]  # fmt: skip
        assert [(c.path, c.a, c.b) for c in told.configuration] == [
            ("filters.cold.min_turns", 2, 3)
        ]
        assert [one.name for one in told.sets] == ["cold_set"]
        assert told.sets[0].judged.changed == compared("lower", "longer").sets[0].judged.changed


def test_a_builds_recipe_is_told_by_the_paths_of_version_files(place: Path) -> None:
    exports = [f"rl_export/{address('rl_export', load(name))}" for name in ("tiny", "mixed")]
    of_builds = {c.path: (c.a, c.b) for c in compared(*exports).configuration}
    of_versions = {c.path: (c.a, c.b) for c in compared("tiny", "mixed").configuration}
    assert {
        **of_versions,
        "generators.tasks.chart": of_builds["generators.tasks.chart"],
    } == of_builds


def test_what_is_not_built_is_named_and_the_rest_is_compared(place: Path) -> None:
    done = run("tiny", "unbuilt")
    assert done.exit_code == 0
    assert "reflective_model.policy.rates.wrong_answer  0.4  0.9" in done.stdout
    assert "Built of A alone, and so not compared: reflective_model, rl_trajectories" in done.stdout
    assert "`drawloop build unbuilt` makes what B lacks." in done.stdout
    assert compared("tiny", "unbuilt").sets == ()


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("nope", "no version 'nope': there are longer, lower, mixed, seeded, tiny, unbuilt"),
        ("cold_set/nope", "'cold_set/nope' names no build"),
        ("cold_set/00000000", "no version and no build 'cold_set/00000000'"),
        ("00000000", "`drawloop status` what is built and where"),
        ("elsewhere.yaml", "elsewhere.yaml is no version file"),
    ],
)
def test_what_is_nowhere_is_said_in_a_line(place: Path, word: str, said: str) -> None:
    done = run("tiny", word)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("drawloop: ")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_address_that_two_builds_begin_with_is_refused_with_both(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(place / "data" / "cold_set", tmp_path / "cold_set")
    monkeypatch.setenv("DRAWLOOP_DATA", str(tmp_path))
    one = address("cold_set", load("tiny"))
    other = one[:6] + ("0" if one[6] != "0" else "1") * 10
    shutil.copytree(tmp_path / "cold_set" / one, tmp_path / "cold_set" / other)
    done = run("tiny", one[:6])
    assert done.exit_code == 2
    assert "starts 2 addresses" in done.stderr
    assert all(f"cold_set/{name}" in done.stderr for name in (one, other))
    assert side(one[:7], Store.at()).name == f"cold_set/{one}"


def test_sides_without_a_common_asset_are_refused(place: Path) -> None:
    store = Store.at()
    a, b = side("tiny", store), side("longer", store)
    models = replace(a, addresses={"cold_model": a.addresses["cold_model"]})
    problems = replace(b, addresses={"problems": b.addresses["problems"]})
    with pytest.raises(Exception, match="no asset in common"):
        diff(models, problems, store)


def test_no_picture_is_read(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_: list[tuple[str, ...]] = []
    rows: Callable[..., Iterator[Row]] = Store.rows

    def watched(
        store: Store, asset: str, at: str, table: str, columns: Sequence[str] | None = None
    ) -> Any:
        read_.append(tuple(columns or ("everything",)))
        return rows(store, asset, at, table, columns)

    monkeypatch.setattr(Store, "rows", watched)
    compared("tiny", "mixed")
    assert len(read_) > 20
    assert not {name for columns in read_ for name in columns} & {"images", "everything"}


def test_every_asset_of_the_graph_has_its_part_in_a_comparison(place: Path) -> None:
    assert [fate.asset for fate in compared("tiny", "seeded").assets] == [*NODES][:-1]
