"""The gallery of a built version: every trajectory once, with its verdict; as asset and command."""

import json
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from assets import gallery as hung
from assets.build import Built, build
from assets.checks import checks_of
from assets.cli import main
from assets.exhibit import exhibit
from assets.graph import NODES, address
from assets.inputs import Inputs
from assets.report import metadata
from pipeline.store import Store, StoreError
from pipeline.versions import Version, parse
from tests.assets.conftest import TINY, build_all
from tests.test_gallery import read

ALL = tuple(hung.STAGES)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store.at(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def built(store: Store) -> dict[str, Built]:
    return build_all(parse("tiny", TINY), store)


def words(folder: Path) -> list[dict[str, str]]:
    """The facets of every row of a page."""
    index = read(folder / "data/index.js")
    return [
        {name: some[value] for (name, _, some), value in zip(index["facets"], row, strict=False)
         if isinstance(value, int)}
        for row in index["rows"]
    ]  # fmt: skip


def test_the_asset_shows_every_trajectory_once_and_keeps_its_promises(
    built: dict[str, Built], store: Store
) -> None:
    made = built["gallery"]
    shown = [(row["stage"], row["writer"], row["id"]) for row in made.rows("shown")]
    assert len(shown) == 6 + 8 * 3 + 8 * 3 + 6 * 4 + 4 * 4 * 2
    once = [one for one in shown if one[0] != "evaluation"]  # there a double says the same often
    assert len(once) == len(set(once))
    for stage, asset in (("cold", "teacher_trajectories"), ("rl", "rl_trajectories")):
        made_of = [row["id"] for row in built[asset].rows("trajectories", ["id"])]
        assert sorted(id_ for s, _, id_ in shown if s == stage) == sorted(made_of)
    assert all(check(made).passed for check in checks_of("gallery"))
    folder = store.local("gallery", made.address)
    assert len(words(folder)) == len(shown)
    assert (folder / "index.html").is_file()


def test_verdicts_and_reasons_are_those_of_the_sets(built: dict[str, Built], store: Store) -> None:
    told = words(store.local("gallery", built["gallery"].address))
    for stage, asset in (("cold", "cold_set"), ("reflective", "reflective_set")):
        counts = dict(built[asset].manifest.facts["yield"])
        mine = [row for row in told if row["stage"] == stage]
        assert sum(row["verdict"] == "kept" for row in mine) == counts.pop("kept")
        seen = [row["reason"] for row in mine if row["verdict"] == "dropped"]
        assert {reason: seen.count(reason) for reason in seen} == counts
    assert {row["verdict"] for row in told if row["stage"] == "evaluation"} == {"not judged"}


def test_a_cap_is_told_and_counts_trajectories_of_a_stage(
    built: dict[str, Built], store: Store, tmp_path: Path
) -> None:
    version = built["gallery"].version
    made = exhibit([version], store, ALL, 5, tmp_path / "page")
    assert made.shown == 5 * 5
    notes = read(tmp_path / "page/data/index.js")["notes"]
    assert notes[1].startswith("tiny, cold: the first 5 of 24 trajectories.")


def test_a_cut_evaluation_shows_every_model_alike(
    built: dict[str, Built], store: Store, tmp_path: Path
) -> None:
    made = exhibit([built["gallery"].version], store, ("evaluation",), 12, tmp_path / "page")
    told = Counter(row["writer"] for row in words(tmp_path / "page"))
    whole = Counter(
        f"{row['model']}{', greedy' if row['greedy'] else ''}"
        for row in built["evaluation"].rows("trajectories", ["model", "greedy"])
    )
    assert made.shown == told.total() == 12 < whole.total()
    assert told.keys() == whole.keys()
    assert all(abs(told[name] - there * 12 / whole.total()) < 1 for name, there in whole.items())
    (note,) = read(tmp_path / "page/data/index.js")["notes"]
    assert "the first 12 of 32 trajectories, of every model alike" in note
    assert "`drawloop gallery tiny --stage evaluation` makes a page of all" in note


def test_small_stages_leave_their_part_of_the_page_to_others(built: dict[str, Built]) -> None:
    version, inputs = built["gallery"].version, built["gallery"].inputs
    there = {stage: hung.count(version, inputs, stage) for stage in hung.STAGES}
    assert hung.shares(version, inputs, sum(there.values())) == there
    assert hung.shares(version, inputs, 86) == {
        "skills": 6, "cold": 20, "reflective": 20, "rl": 20, "evaluation": 20,
    }  # fmt: skip
    for most in range(0, 200, 7):
        shown = hung.shares(version, inputs, most)
        assert sum(shown.values()) == min(most, sum(there.values()))
        assert all(shown[stage] <= there[stage] for stage in there)


def test_an_asset_that_is_cut_keeps_its_promises_and_says_so(
    built: dict[str, Built], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hung, "MOST", 40)
    made = build("gallery", built["gallery"].version, store)
    assert made.manifest.tables["shown"] == 40
    assert all(check(made).passed for check in checks_of("gallery"))
    shown = metadata(made)
    assert "the first 9 of 32 trajectories, of every model alike" in shown["left out"].value
    page = shown["page"].value
    assert page == (Path(made.path) / "index.html").as_uri()


def test_what_is_not_built_is_left_out_and_named(
    store: Store, built: dict[str, Built], tmp_path: Path
) -> None:
    other = parse("other", TINY.replace("min_turns: 2", "min_turns: 3"))
    build("cold_set", other, store)
    made = exhibit([built["gallery"].version, other], store, ("cold", "rl"), 0, tmp_path / "page")
    assert made.missing == ()  # both share what RL is made of
    longer = parse("longer", TINY.replace("min_turns: 2", "min_turns: 4"))
    made = exhibit([longer], store, ("cold", "rl"), 0, tmp_path / "page")
    assert made.missing == ("longer: cold",)
    with pytest.raises(StoreError, match=r"longer has nothing of cold yet: drawloop build longer"):
        exhibit([longer], store, ("cold",), 0, tmp_path / "page")


def test_two_versions_meet_on_the_problems_that_they_share(
    store: Store, built: dict[str, Built], tmp_path: Path
) -> None:
    other = parse("other", TINY.replace("min_turns: 2", "min_turns: 3"))
    build("cold_set", other, store)
    exhibit([built["gallery"].version, other], store, ("cold",), 0, tmp_path / "page")
    told = words(tmp_path / "page")
    verdicts = [[r["reason"] for r in told if r["version"] == name] for name in ("tiny", "other")]
    assert len(verdicts[0]) == len(verdicts[1]) == 24
    assert verdicts[0] != verdicts[1]
    assert len(read(tmp_path / "page/data/index.js")["problems"]) == 8


def test_rows_out_of_the_order_of_problems_are_a_loud_fault(built: dict[str, Built]) -> None:
    problems = built["gallery"].inputs.problems("cold", pictures=False)
    stray = iter([{"problem_id": "nobody", "sample": 0}])
    with pytest.raises(ValueError, match="'nobody' have no problem"):
        list(hung._beside(problems, [stray]))


def test_a_new_page_or_a_new_decision_moves_the_gallery_and_nothing_else(
    tiny: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {asset: address(asset, tiny) for asset in NODES}
    monkeypatch.setattr(hung, "MOST", 7)
    moved = {asset for asset in NODES if address(asset, tiny) != before[asset]}
    assert moved == {"gallery"}


def test_the_command_says_where_the_page_is(
    built: dict[str, Built], store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "versions").mkdir()
    (tmp_path / "versions/tiny.yaml").write_text(TINY)
    monkeypatch.setenv("DRAWLOOP_VERSIONS", str(tmp_path / "versions"))
    monkeypatch.setenv("DRAWLOOP_DATA", store.root)
    ask = CliRunner().invoke
    done = ask(main, ["gallery", "tiny", "--stage", "cold", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["shown"] == 24
    assert Path(told["page"]).is_file()
    assert Path(told["page"]).parent == Path(store.root) / "galleries/tiny"
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine").touch()
    for words_, said in (
        (["tiny", "--to", str(tmp_path / "full")], "is no gallery: name another place with --to"),
        (["nope"], "no version 'nope'"),
    ):
        done = ask(main, ["gallery", *words_])
        assert done.exit_code == 2
        assert said in done.stderr
        assert done.stderr.count("\n") == 1


def test_turns_are_read_without_what_nobody_looks_at(built: dict[str, Built]) -> None:
    inputs = built["gallery"].inputs
    assert isinstance(inputs, Inputs)
    row = next(inputs.rows("cold_set", "cold", hung.GRADED))
    assert not {"ids", "logprobs"} & row["turns"][0].keys()
