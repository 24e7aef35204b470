"""The graph: what an asset's address depends on, what it holds, and what its checks find."""

import dataclasses
import json
from collections import Counter
from pathlib import Path

import pytest

from assets import bodies, checks, report
from assets.bodies import TABLES
from assets.build import Built, build, find
from assets.checks import checks_of
from assets.graph import NODES, address
from assets.inputs import REJECTS
from assets.report import line, metadata
from pipeline import canvas, reward, rollout, rows
from pipeline.decisions import Decision
from pipeline.images import read
from pipeline.reward import Rules
from pipeline.store import Store, StoreError
from pipeline.teachers.oracle import Rates
from pipeline.types import Op, Step, Stop, Trajectory, Turn
from pipeline.versions import Version, parse
from tests.assets.conftest import TINY, build_all, digests
from tests.conftest import box, plain_problem
from tests.conftest import line as way


def moved(text: str) -> set[str]:
    """Assets whose address an edit of the version file moves, short of the gallery of them all."""
    before, after = parse("tiny", TINY), parse("tiny", text)
    changed = {asset for asset in NODES if address(asset, before) != address(asset, after)}
    return changed - {"gallery"}


def test_a_filter_moves_its_set_and_export_and_nothing_before_them() -> None:
    assert moved(TINY.replace("min_turns: 2", "min_turns: 3")) == {"cold_set", "cold_export"}
    assert moved(TINY.replace("rule: paper", "rule: strict")) == {
        "reflective_set",
        "reflective_export",
    }


def test_what_shapes_a_set_moves_it_and_weights_move_its_export_alone() -> None:
    cold = "filters: {cold: {min_turns: 2"
    for asked in ("per_problem: 1", "balance: {task: 1.5}", "least_draw: 0.2", "limit: 5"):
        assert moved(TINY.replace(cold, f"{cold}, {asked}")) == {"cold_set", "cold_export"}
    assert moved(TINY.replace(cold, f"{cold}, weigh: [task]")) == {"cold_export"}


def test_a_decision_moves_the_set_that_it_is_about_and_is_recorded(
    whole: dict[str, Built], stocked: Store
) -> None:
    kept = [row["id"] for row in whole["cold_set"].rows("cold", ["id"])]
    rejects = whole["cold_set"].rows("rejects", ["id", "reason"])
    wrong = [row["id"] for row in rejects if row["reason"] not in [*map(str, Stop)]]
    said = {kept[0]: Decision(False, "dull"), wrong[0]: Decision(True)}
    said["maze-cold-999999#0"] = Decision(True)
    version = parse("tiny", TINY, said)
    again = build_all(version, stocked)
    changed = {name for name in whole if whole[name].address != again[name].address}
    assert changed == {"cold_set", "cold_export", "gallery"}
    found = again["cold_set"]
    assert found.manifest.facts["by_hand"] == {
        "accepted": [wrong[0]], "rejected": [kept[0]],
        "not_applied": [], "no_such": ["maze-cold-999999#0"],
    }  # fmt: skip
    now = {row["id"] for row in found.rows("cold", ["id"])}
    assert now == {*kept, wrong[0]} - {kept[0]}
    details = {row["id"]: row["detail"] for row in found.rows("rejects", ["id", "detail"])}
    assert details[kept[0]] == "dull"
    assert all(check(found).passed for check in checks_of("cold_set"))


def test_weighed_rows_carry_weights_that_are_one_on_the_whole(stocked: Store) -> None:
    weighed = TINY.replace("filters: {cold: {", "filters: {cold: {weigh: [task, answer], ")
    exported = build_all(parse("tiny", weighed), stocked)["cold_export"]
    rows_ = list(exported.rows("train", ["task", "answer", "weight"]))
    counts = Counter((row["task"], row["answer"]) for row in rows_)
    mean = len(rows_) / len(counts)
    assert len({row["weight"] for row in rows_}) > 1
    for row in rows_:
        assert row["weight"] == pytest.approx(min(5, mean / counts[row["task"], row["answer"]]))


def test_a_model_moves_what_it_samples_and_what_is_made_of_that() -> None:
    assert moved(TINY.replace("slip: 0.4", "slip: 0.5")) == {
        "cold_model", "reflective_trajectories", "reflective_set", "reflective_export", "evaluation",
    }  # fmt: skip


def test_a_task_or_a_seed_moves_everything_but_the_models_that_are_given() -> None:
    given = {"base_model", "cold_model", "reflective_model", "grpo_model", "gallery"}
    given.add("framework_exports")  # none are listed
    assert moved(TINY.replace("seed: 5", "seed: 6")) == set(NODES) - given
    assert moved(TINY.replace("counting: {}", "counting: {share: 2}")) == set(NODES) - given


def test_how_it_is_evaluated_moves_the_evaluation_alone() -> None:
    assert moved(TINY + "evaluation: {samples: 9}") == {"evaluation"}


def test_a_name_or_a_description_moves_nothing() -> None:
    assert moved(TINY.replace("for tests", "of something else")) == set()
    assert address("rl_export", parse("a", TINY)) == address("rl_export", parse("b", TINY))


def test_every_asset_is_built_and_every_check_passes(whole: dict[str, Built]) -> None:
    assert [*whole] == [*NODES]
    for asset, made in whole.items():
        for check in checks_of(asset):
            finding = check(made)
            assert finding.passed, f"{asset}.{check.__name__}: {finding.said}"
            assert check.__doc__


def test_what_goes_into_a_set_comes_out_kept_or_dropped_with_its_reason(
    whole: dict[str, Built],
) -> None:
    cold = whole["cold_set"]
    kept, dropped = list(cold.rows("cold")), list(cold.rows(REJECTS))
    sampled = {row["id"] for row in whole["teacher_trajectories"].rows("trajectories")}
    assert len(kept) + len(dropped) == len(sampled) == 24
    assert {row["id"] for row in (*kept, *dropped)} == sampled
    assert all(row["reason"] for row in dropped)
    assert all(
        row["solved"] and row["format"] == 1 and row["stop"] == Stop.ANSWERED for row in kept
    )
    assert line(cold).dropped == Counter(row["reason"] for row in dropped)
    assert dropped, "a filter that never drops is no filter"
    assert kept


def test_faults_are_told_to_a_teacher_and_end_what_a_student_does(store: Store) -> None:
    text = TINY.replace("max_context: 6144", "max_context: 6144, on_fault: tell")
    text = text.replace(
        "{kind: oracle}, sampling", "{kind: oracle, rates: {malformed: 0.3}}, sampling"
    )
    text = text.replace("slip: 0.4", "malformed: 0.3")
    made = build_all(parse("tiny", text), store)

    def gone_on(asset: str) -> int:
        told = made[asset].rows("trajectories", ["turns"])
        return sum(any(turn["kind"] == "fault" for turn in row["turns"][:-1]) for row in told)

    assert gone_on("teacher_trajectories") > 0
    assert gone_on("reflective_trajectories") == 0


def test_an_exported_row_rebuilds_problem_trajectory_and_observations(
    whole: dict[str, Built],
) -> None:
    exported = list(whole["reflective_export"].rows("train"))
    assert exported
    for row in exported:
        problem, trajectory = rows.problem(row), rows.trajectory(row)
        state = rollout.retrace(problem, trajectory)
        score = reward.score(problem, trajectory, state, Rules())
        assert (score.total, score.draw) == (row["total"], row["draw"])
        for view in state.views:
            assert canvas.picture(problem, view).size == problem.images[view.base - 1].size


def test_the_same_version_gives_the_same_bytes_with_one_worker_and_with_two(
    tiny: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.problems.ALONE", 0)
    monkeypatch.setenv("DRAWLOOP_WORKERS", "1")
    one = digests(build_all(tiny, Store.at(tmp_path / "one")))
    monkeypatch.setenv("DRAWLOOP_WORKERS", "2")
    two = digests(build_all(tiny, Store.at(tmp_path / "two")))
    assert one == two


def test_an_export_says_what_its_texts_were_written_for_and_all_it_was_made_from(
    whole: dict[str, Built],
) -> None:
    made = whole["reflective_export"]
    row = next(made.rows("train"))
    assert (row["family"], row["max_images"]) == ("qwen2.5-vl", 42)
    assert row["max_turns"] == (20 if row["task"] == "maze" else 10)
    lineage = made.manifest.facts["lineage"]
    recipes = {recipe["asset"]: recipe for recipe in lineage.values()}
    assert set(recipes) == {
        "reflective_export", "reflective_set", "reflective_trajectories", "cold_model", "problems",
    }  # fmt: skip
    policy = recipes["reflective_trajectories"]["decided_by"]["stage"]["policy"]
    assert policy["rates"]["slip"] == 0.4
    assert policy["rates"]["notice"] == Rates().notice  # as left, not only what was set
    assert recipes["reflective_set"]["decided_by"]["score"]["solved_at"] == 0.9


def test_problems_that_are_fewer_than_asked_are_found(tiny: Version, store: Store) -> None:
    built = build("problems", tiny, store)
    assert checks.nothing_lost(built).passed
    more = parse("tiny", TINY.replace("cold: 8", "cold: 9"))
    assert not checks.nothing_lost(dataclasses.replace(built, version=more)).passed


def test_what_is_built_is_found_and_not_built_again(
    tiny: Version, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find("problems", tiny, store) is None
    first = build("problems", tiny, store)
    monkeypatch.setattr(bodies.problems, "sample", None)  # would break a second building
    assert build("problems", tiny, store).manifest == first.manifest


def test_two_versions_with_another_filter_share_their_problems(whole: dict[str, Built]) -> None:
    store = whole["problems"].inputs.store
    other = parse("other", TINY.replace("min_turns: 2", "min_turns: 3"))
    shared = {asset for asset in NODES if find(asset, other, store) is not None}
    assert set(NODES) - shared == {"cold_set", "cold_export", "gallery"}


def test_the_manifest_says_how_an_asset_was_made(tiny: Version, store: Store) -> None:
    made = build("problems", tiny, store)
    with store.files.open_input_stream(f"{made.path}/manifest.json") as stream:
        content = json.loads(stream.read())
    facts = content["facts"]
    assert facts["recipe"]["decided_by"]["tasks"] == {"counting": "1", "maze": "1"}
    assert facts["renderer"] == canvas.RENDERER
    assert facts["yield"]["kept"] == 32
    assert set(content["tables"]) == set(TABLES["problems"])


def test_a_lost_row_a_wrong_count_and_a_damaged_part_are_found(
    tiny: Version, stocked: Store
) -> None:
    built = build("cold_set", tiny, stocked)
    facts = {**built.manifest.facts, "yield": {"kept": 1, "wrong": 23}}
    lying = dataclasses.replace(built, manifest=dataclasses.replace(built.manifest, facts=facts))
    assert not checks.nothing_lost(lying).passed
    part = Path(built.path) / "cold-00000.parquet"
    part.write_bytes(part.read_bytes()[:-1] + b"?")
    finding = checks.parts_intact(built)
    assert not finding.passed
    assert "cold-00000.parquet" in finding.said


@pytest.mark.parametrize("counts", [None, 3, {"kept": "many"}, {"kept": -1}, {"kept": True}])
def test_a_manifest_that_counts_nothing_is_named_with_the_remedy(
    counts: object, tiny: Version, store: Store
) -> None:
    built = build("problems", tiny, store)
    path = Path(built.path) / "manifest.json"
    content = json.loads(path.read_text())
    content["facts"]["yield"] = counts
    path.write_text(json.dumps(content))
    with pytest.raises(StoreError, match=r"manifest\.json counts no rows .*; delete its folder"):
        find("problems", tiny, store)


PLACED = [  # marks on a problem of one picture of 224 × 224 px; does each lie on it?
    (box(10, 10, 60, 60), True),
    (box(10, 10, 60, 60, k=2), False),
    (box(10, 10, 60, 60, k=0), False),
    (box(10, 10, 225, 60), False),
    (box(10, 10, 10, 60), False),
    (way(10, 10, 300, 10), True),
    (way(230, 10, 300, 10), False),
]


@pytest.mark.parametrize(("op", "lies"), PLACED)
def test_a_mark_off_its_picture_or_on_one_that_is_not_there_is_found(op: Op, lies: bool) -> None:
    good = box(100, 100, 140, 140)
    turns = tuple(Turn("", Step("So.", (drawn,))) for drawn in (op, good))
    told = Trajectory("plain-1", 0, turns, Stop.TOO_MANY_TURNS)
    placed = checks._placed(plain_problem(), told)
    assert [size is not None and checks._lies_on(one, size) for one, size in placed] == [lies, True]


def test_an_observation_is_there_for_the_step_after_it_and_not_before() -> None:
    steps = [Step("So.", (box(10 * k, 10, 60, 60, k=k),)) for k in (1, 2, 4)]
    told = Trajectory("plain-1", 0, tuple(Turn("", step) for step in steps), Stop.TOO_MANY_TURNS)
    placed = checks._placed(plain_problem(), told)
    assert [size is not None for _, size in placed] == [True, True, False]


def test_unbalanced_letters_are_found() -> None:
    fair = Counter({(4, letter): 100 for letter in "ABCD"})
    assert checks._beyond_chance(fair) == []
    assert (4, "A") in checks._beyond_chance(fair + Counter({(4, "A"): 100}))


def test_pages_get_numbers_plots_and_a_contact_sheet_that_is_small(
    whole: dict[str, Built],
) -> None:
    shown = {asset: metadata(made) for asset, made in whole.items()}
    for asset in (
        "problems",
        "drawing_skills",
        "teacher_trajectories",
        "cold_set",
        "reflective_set",
    ):
        sheet = shown[asset]["contact sheet"].value
        assert sheet.startswith("![](data:image/webp;base64,")
        assert len(sheet) < 150_000
    assert len(shown["cold_set"]["dropped by reason"].value) < 1000  # shown in place up to there
    assert len(shown["cold_set"]["score of all that came in"].value) < 1000
    assert "malformed" in shown["teacher_trajectories"]["stop reasons"].value
    assert shown["cold_set"]["rows in"] == 24


def test_the_sheet_of_problems_shows_one_of_every_task_with_the_text_of_its_answer(
    whole: dict[str, Built],
) -> None:
    shown = list(report._of_every_task(whole["problems"]))
    tasks = whole["problems"].version.problems.tasks
    assert sorted(problem.task for problem in shown) == sorted(tasks)
    assert all(problem.id.split("-")[1] == "cold" for problem in shown)
    choices = [problem for problem in shown if problem.options]
    assert choices
    for problem in choices:
        letter, text = problem.answer, problem.options[ord(problem.answer) - ord("A")]
        assert report._asks(problem) == f"{problem.question} → {letter}. {text}"


def test_scores_are_counted_up_to_the_upper_end_of_a_bin(whole: dict[str, Built]) -> None:
    counts = report._scores(whole["cold_set"])
    totals = [
        row["total"] for table in ("cold", "rejects") for row in whole["cold_set"].rows(table)
    ]
    assert counts["≤ 2"] == sum(1.75 < total <= 2 for total in totals) > 0
    assert counts["0"] == sum(total == 0 for total in totals)
    assert sum(counts.values()) == len(totals)


def test_a_picture_that_is_refused_is_in_the_rejects_and_in_the_count(
    tiny: Version, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = bodies.problems.make

    def sometimes(order: bodies.problems.Order) -> object:
        if order.index == 1:
            read(b"GIF89a")
        return made(order)

    monkeypatch.setattr(bodies.problems, "make", sometimes)
    built = build("problems", tiny, store)
    rejected = list(built.rows(REJECTS, ["problem_id", "split", "reason"]))
    assert {row["reason"] for row in rejected} <= {"picture_truncated", "picture_not_a_picture"}
    assert "counting-cold-000001" in {row["problem_id"] for row in rejected}
    for check in checks_of("problems"):
        assert check(built).passed
