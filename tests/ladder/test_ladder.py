"""The ladder: its arms are versions, records hold what was measured, the report says what holds."""

import json
from pathlib import Path
from typing import Any

import pytest

import ladder.__main__ as command
from assets import checks
from assets.graph import address
from assets.launch import TrainerFailed
from ladder.arms import (
    ARMS,
    COLD,
    GRPO,
    LONGER,
    MORE_GRPO,
    REFLECTIVE,
    RL,
    VERSION,
    Arm,
    derived,
)
from ladder.measure import (
    CannotMeasure,
    Measuring,
    Record,
    identity,
    key,
    make,
    measure,
    version_of,
)
from ladder.report import report
from pipeline import teachers
from pipeline.policies import Stage
from pipeline.protocol import FAMILIES
from pipeline.store import Store
from pipeline.teachers.oracle import Oracle, Rates
from pipeline.types import Policy
from pipeline.versions import Version, load, parse
from tests.assets.conftest import TRAINING, lay_base
from tests.assets.pretend import Pretending
from tests.conftest import ByTheBatch

BY_NAME = {arm.name: arm for arm in ARMS}


@pytest.fixture
def using(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Measuring:
    monkeypatch.setenv("DRAWLOOP_WEIGHTS", str(tmp_path / "weights"))
    lay_base(tmp_path / "weights")

    def speak(stage: Stage, version: Version, seed: int) -> Policy:
        rates = Rates(slip=0.4, wrong_answer=0.3)
        return ByTheBatch(Oracle(rates, seed, version.limits, version.wire, 1024))

    monkeypatch.setitem(teachers.TEACHERS, "checkpoint", speak)
    text = TRAINING.replace("rule: paper", "rule: strict")
    main = parse(
        "small", text.replace("smallest: 140, largest: 140", "smallest: 160, largest: 168")
    )
    return Measuring(main, Store.at(tmp_path / "data"), lambda line: None, Pretending())


# Arms --------------------------------------------------------------------------------------------


@pytest.fixture
def bases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRAWLOOP_WEIGHTS", str(tmp_path))
    for family in FAMILIES:
        lay_base(tmp_path, family.encode(), family=family)


@pytest.mark.usefixtures("bases")
@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_every_arm_is_a_version_whose_model_is_another_than_the_recipe_s(arm: Arm) -> None:
    main = load(VERSION)
    version = derived(main, arm.changes, 0)
    assert version.policy(arm.seat) is not None
    if arm.changes and not arm.like:
        assert address(arm.seat, version) != address(arm.seat, main)


def test_arms_share_what_they_agree_in() -> None:
    main = load(VERSION)
    for arm in ARMS:
        version = derived(main, arm.changes, 0)
        if "Qwen3" in arm.name or arm.name == MORE_GRPO:
            continue
        assert address("problems", version) == address("problems", main)
        if "text only" not in arm.name and arm.name != LONGER:
            assert address("cold_model", version) == address("cold_model", main)
    no_reflection = derived(main, BY_NAME["cold + GRPO"].changes, 0)
    assert address("rl_export", no_reflection) != address("rl_export", main)  # by cold's pass rates


@pytest.mark.usefixtures("bases")
def test_no_two_arms_are_one() -> None:
    main = load(VERSION)
    keys = [key(arm, 0, main) for arm in ARMS]
    assert len(set(keys)) == len(ARMS)


def test_a_repetition_trains_anew_on_the_same_problems() -> None:
    main = load(VERSION)
    other = derived(main, {}, 1)
    assert address("cold_model", other) != address("cold_model", main)
    assert address("cold_export", other) == address("cold_export", main)


def test_the_ladder_is_as_large_as_it_says() -> None:
    splits = load(VERSION).problems.splits
    learnt = sum(splits[name] for name in ("skills", "cold", "reflective", "rl"))
    assert learnt == 4000
    assert splits["evaluation"] == 500


def test_a_field_that_no_version_has_is_refused() -> None:
    with pytest.raises(ValueError, match="beer"):
        derived(load(VERSION), {"cold_model.policy.beer": 1}, 0)


def test_held_out_problems_are_known_whatever_there_is_to_learn_from_beside_them(
    using: Measuring,
) -> None:
    def known(changes: dict[str, Any]) -> str:
        return identity(make("problems", derived(using.main, changes, 0), using))

    assert known({RL: using.main.problems.splits["rl"] + 3}) == known({})
    assert known({"seed": 12}) != known({})


# Measuring ---------------------------------------------------------------------------------------


def test_a_record_holds_what_was_measured(using: Measuring) -> None:
    record = measure(BY_NAME[COLD], 0, using)
    assert record["key"] == key(BY_NAME[COLD], 0, using.main)
    assert record["problems"] == identity(make("problems", using.main, using))
    assert record["solved"] == [2] * 4  # who pretends answers with the gold solution
    assert record["greedy"] == [1] * 4
    assert record["wide"] == [8] * 4
    assert record["numbers"]["solved"] == 1
    assert record["numbers"]["needless"] == 0
    counts = record["numbers"]["by_turns"].values()
    assert [sum(of) for of in zip(*counts, strict=True)] == [8, 8]
    assert set(record["numbers"]["task"]) == {"counting", "maze"}
    assert set(record["sets"]) == {"cold_set"}
    assert record["sets"]["cold_set"]["kept"] > 0
    (training,) = record["trained"].items()
    assert training == (
        "cold_model", {"seconds": 16.0, "curve": [{"step": 8, "validation_loss": 0.4}]},
    )  # fmt: skip


def test_reinforcement_leaves_its_curve_and_all_trainings_their_seconds(using: Measuring) -> None:
    record = measure(BY_NAME[GRPO], 0, using)
    assert [*record["trained"]] == ["cold_model", "reflective_model", "grpo_model"]
    curve = record["trained"]["grpo_model"]["curve"]
    assert [at["step"] for at in curve] == [1, 2, 3, 4, 5, 6]
    assert curve[-1]["reward"] == pytest.approx(6 / 9)
    assert set(record["sets"]) == {"cold_set", "reflective_set", "rl_problems"}


def test_another_repetition_way_of_asking_or_base_is_another_record(
    using: Measuring, tmp_path: Path
) -> None:
    arm, main = BY_NAME[COLD], using.main
    keys = [
        key(arm, 0, main),
        key(arm, 1, main),
        key(arm, 0, derived(main, {"evaluation.samples": 3}, 0)),
        key(arm, 0, derived(main, {"problems.splits.evaluation": 5}, 0)),
    ]
    lay_base(tmp_path / "weights", b"other weights")
    assert len({*keys, key(arm, 0, main)}) == 5


@pytest.mark.parametrize(
    ("name", "made", "table"),
    [
        ("cold + rejection-sampled, same size", "reflective_set", "reflective"),
        ("text only: cold", "cold_set", "cold"),
    ],
)
def test_an_arm_may_keep_as_many_as_the_recipe_does(
    using: Measuring, name: str, made: str, table: str
) -> None:
    ours = make(made, version_of(BY_NAME[name], 0, using), using).manifest
    theirs = make(made, derived(using.main, {}, 0), using).manifest
    assert ours.tables[table] == theirs.tables[table] > 0
    assert ours.facts["yield"]["over_limit"] > 0


def test_an_arm_as_large_as_an_empty_set_cannot_be_measured(using: Measuring) -> None:
    never = derived(using.main, {"filters.cold.min_turns": 100}, 0)
    empty = Measuring(never, using.store, using.tell, using.launch)
    with pytest.raises(CannotMeasure, match=r"cold set .* is empty"):
        version_of(Arm("", "cold_model", like="cold"), 0, empty)


def test_problems_that_a_base_saw_are_not_measured_on(
    using: Measuring, monkeypatch: pytest.MonkeyPatch
) -> None:
    def base_disjoint(built: Any) -> checks.Finding:
        return checks.Finding(False, "shared: all")

    monkeypatch.setitem(checks.CHECKS, "problems", (base_disjoint,))
    with pytest.raises(CannotMeasure, match="base_disjoint: shared: all"):
        measure(BY_NAME[COLD], 0, using)


# The command -------------------------------------------------------------------------------------


@pytest.fixture
def files(using: Measuring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(command, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(command, "REPORT", tmp_path / "ladder.md")
    monkeypatch.setattr(command, "load", lambda name: using.main)
    monkeypatch.setenv("DRAWLOOP_LADDER", str(tmp_path / "data"))
    return tmp_path


def test_what_was_measured_is_kept_and_not_measured_again(files: Path) -> None:
    trainers = Pretending()
    wanted = ["--arms", COLD, "base", "--repetitions", "0"]
    command.main(wanted, trainers)
    asked = len(trainers.asked)
    assert set(json.loads((files / "results.json").read_text())) == {"base, 0", "cold, 0"}
    assert "|cold|1|100.0" in (files / "ladder.md").read_text()
    command.main(wanted, trainers)
    command.main(["--report"], trainers)
    assert len(trainers.asked) == asked


def test_a_record_of_another_version_is_measured_again_and_not_reported_before(
    files: Path, using: Measuring, monkeypatch: pytest.MonkeyPatch
) -> None:
    command.main(["--arms", COLD, "base", "--repetitions", "0"], Pretending())
    other = derived(using.main, {"cold_model.policy.lr": 5e-3}, 0)
    monkeypatch.setattr(command, "load", lambda name: other)
    command.main(["--report"], Pretending())
    text = (files / "ladder.md").read_text()
    assert "|base|1|" in text
    assert "|cold|1|" not in text
    command.main(["--arms", COLD, "--repetitions", "0"], Pretending())
    assert "|cold|1|" in (files / "ladder.md").read_text()


def test_an_arm_that_cannot_be_measured_is_said_and_does_not_end_the_others(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arms = ["--arms", "base", GRPO, COLD, "--repetitions", "0"]
    command.main(arms, Pretending(failing=("trainers.grpo",)))
    assert set(json.loads((files / "results.json").read_text())) == {"base, 0", "cold, 0"}
    assert f"{GRPO}, 0 cannot be measured: sft: no row" in capsys.readouterr().out
    command.main(["--arms", "Qwen3-VL: cold"], Pretending())  # its base is not there
    assert "the tiny base is not whole" in capsys.readouterr().out


def test_our_own_faults_are_not_taken_for_results(files: Path) -> None:
    def broken(module: str, config: Path) -> None:
        raise KeyError(module)

    with pytest.raises(KeyError):
        command.main(["--arms", COLD, "--repetitions", "0"], broken)
    assert not (files / "results.json").exists()
    assert issubclass(TrainerFailed, Exception)


# The report --------------------------------------------------------------------------------------


def record(arm: str, solved: list[int], repetition: int = 0, **numbers: Any) -> Record:
    known: dict[str, Any] = dict.fromkeys(
        ("correct", "draw", "format", "paper", "strict", "helped", "turns", "boxes", "needless",
         "lines", "tokens"), 1.0,
    )  # fmt: skip
    known |= {"solved": sum(solved) / 4 / len(solved), "stops": {"answered": 1.0}}
    known |= {"task": {"maze": 0.5}, "kind": {"choice": 0.5, "number": 0.4}}
    return {
        "arm": arm, "repetition": repetition, "key": "", "problems": "p", "date": "2026-01-01",
        "machine": "paper", "cores": 2, "samples": 4, "solved": solved, "greedy": [1] * len(solved),
        "numbers": {**known, **numbers}, "sets": {"cold_set": {"kept": 3, "wrong": 4}},
        "trained": {"cold_model": {"seconds": 660.0, "curve": [{"step": 3, "validation_loss": 0.5}]}},
        "wide": [2 * n for n in solved],
    }  # fmt: skip


def lines(records: list[Record]) -> dict[str, str]:
    """Rows of all tables by their first cell; the last of those that share it."""
    text = report(records, "for tests", "A note.")
    cells = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return {first: "|".join(rest) for first, *rest in cells}


def test_what_was_looked_for_holds_or_falls_short_by_a_number() -> None:
    cold = record(COLD, [1, 2, 1, 2] * 25, strict=0.1)
    full = record(GRPO, [2, 3, 2, 3] * 25, draw=0.9)
    reflective = record(REFLECTIVE, [1, 1, 1, 1] * 25, strict=0.15)
    found = lines([cold, full, reflective])
    assert "+25.0 [+25.0, +25.0]|holds" in found["GRPO over cold"]
    assert "-12.5" in found["reflective against cold"]
    assert found["reflective against cold"].endswith("short by 9.5")
    assert found["`strict` reflection, cold → reflective"].endswith("does not hold")
    assert found["S_draw, before → after GRPO"] == "no lower|1.000 → 0.900 (-10 %)|does not hold"
    assert found["pass@8 − pass@1, before → after GRPO"].endswith("75.0 → 37.5 points|holds")
    assert found["minutes of training from base to GRPO on 2 cores, at most"] == "20|11.0|holds"


def test_a_gain_that_may_be_none_does_not_hold() -> None:
    found = lines([record(COLD, [0, 4] * 2), record(GRPO, [4, 1] * 2)])["GRPO over cold"]
    assert "+12.5 [" in found
    assert found.endswith("does not hold")


def test_reflection_that_was_never_there_has_not_doubled() -> None:
    found = lines([record(COLD, [1], strict=0.0), record(REFLECTIVE, [1], strict=0.0)])
    assert found["`strict` reflection, cold → reflective"].endswith("0.000 → 0.000|does not hold")


def test_the_paper_s_orderings_are_looked_at_where_its_reward_is() -> None:
    with_stage = record(f"{GRPO}, w_draw = 0", [2] * 4, paper=0.5, turns=4, boxes=2, lines=1)
    without = record("cold + GRPO, w_draw = 0", [2] * 4, paper=0.1, turns=5, boxes=1, lines=2)
    before = record(REFLECTIVE, [1] * 4, boxes=3, kind={"choice": 0.45, "number": 0.2})
    found = lines([with_stage, without, before])
    stage = "without the reflective stage"
    assert found[f"`paper` reflection, {stage}"] == "−96 %|0.500 → 0.100 (-80 %)|same direction"
    assert found[f"turns, {stage}"].endswith("other direction")
    assert found[f"boxes, {stage}"].endswith("same direction")
    assert found[f"lines, {stage}"].endswith("same direction")
    assert found[f"accuracy, {stage}"].endswith("holds")
    assert found["boxes, without RL"] == "+159 %|2.000 → 3.000 (+50 %)|same direction"
    assert found["number answers, without RL"] == "−9 points|-20.0 points|same direction"
    assert found["numbers lose more than choices, without RL"] == "yes|yes|same direction"


def test_differences_pair_the_repetitions_that_both_have() -> None:
    records = [record(COLD, [2] * 10, n) for n in (0, 1)]
    records += [record(REFLECTIVE, [n] * 10, n) for n in (1, 2)]
    found = lines(records)
    assert found["cold + reflective − cold"] == "-25.0 [-25.0, -25.0]|1"


def test_other_problems_are_never_paired() -> None:
    other = {**record(REFLECTIVE, [4] * 10), "problems": "others"}
    assert "cold + reflective − cold" not in lines([record(COLD, [2] * 10), other])


def test_what_is_not_measured_is_named() -> None:
    text = report([record(COLD, [1, 2], 1)], "for tests", "A note.")
    assert "Not measured (repetitions)" in text
    assert "cold + GRPO (3)" in text
    assert "cold (2)" in text


def test_trajectories_are_told_by_their_turns_over_the_repetitions_that_tell_them() -> None:
    told = [
        record(COLD, [1], n, by_turns=of)
        for n, of in enumerate(({"2": [30, 20], "4": [10, 0]}, {"1": [5, 0], "2": [35, 5]}))
    ]
    text = report([*told, record(COLD, [1], 2), record(REFLECTIVE, [1])], "for tests", "A note.")
    assert "|cold|2|0.062: 0.0|0.812: 38.5|–|0.125: 0.0|" in text
    assert "A note." in text


def test_pass_at_8_is_read_from_eight_samples() -> None:
    text = report([record(COLD, [1, 0, 4, 0])], "for tests", "A note.")  # wide: 2, 0, 8 and 0 of 8
    assert "|cold|31.2|50.0|18.8|" in text
    assert "Measured\n2026-01-01 on paper." in text
