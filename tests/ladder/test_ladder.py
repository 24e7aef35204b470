"""The ladder: its arms are versions, records hold what was measured, the report says what holds."""

from pathlib import Path
from typing import Any

import pytest

from assets import models
from assets.graph import address
from ladder.arms import ARMS, VERSION, Arm, derived
from ladder.measure import Measuring, Record, key, make, measure, version_of
from ladder.report import report
from pipeline import teachers
from pipeline.protocol import FAMILIES
from pipeline.store import Store
from pipeline.teachers.oracle import Oracle, Rates
from pipeline.types import Policy
from pipeline.versions import Stage, Version, load, parse
from tests.assets.conftest import TRAINING, lay_base
from tests.assets.pretend import Pretending

BY_NAME = {arm.name: arm for arm in ARMS}


@pytest.fixture
def using(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Measuring:
    monkeypatch.setenv("DRAWLOOP_WEIGHTS", str(tmp_path / "weights"))
    lay_base(tmp_path / "weights")

    def speak(stage: Stage, version: Version, seed: int) -> Policy:
        rates = Rates(slip=0.4, wrong_answer=0.3)
        return Oracle(rates, seed, version.limits, version.wire, 1024)

    monkeypatch.setitem(teachers.TEACHERS, "checkpoint", speak)
    main = parse("small", TRAINING.replace("rule: paper", "rule: strict"))
    return Measuring(main, Store.at(tmp_path / "data"), {}, lambda line: None, Pretending())


# Arms --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_every_arm_is_a_version_whose_model_is_another_than_the_recipe_s(
    arm: Arm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRAWLOOP_WEIGHTS", str(tmp_path))
    for family in FAMILIES:
        lay_base(tmp_path, family.encode(), family=family)
    main = load(VERSION)
    version = derived(main, arm.changes, 0)
    assert version.policy(arm.seat) is not None
    if arm.changes:
        assert address(arm.seat, version) != address(arm.seat, main)


def test_arms_share_what_they_agree_in() -> None:
    main = load(VERSION)
    for arm in ARMS:
        version = derived(main, arm.changes, 0)
        if "Qwen3" in arm.name:
            continue
        assert address("problems", version) == address("problems", main)
        if "text only" not in arm.name:
            assert address("cold_model", version) == address("cold_model", main)
    no_reflection = derived(main, BY_NAME["cold + GRPO"].changes, 0)
    assert address("rl_export", no_reflection) == address("rl_export", main)


def test_a_repetition_trains_anew_on_the_same_problems() -> None:
    main = load(VERSION)
    other = derived(main, {}, 1)
    assert address("cold_model", other) != address("cold_model", main)
    assert address("cold_export", other) == address("cold_export", main)


def test_the_ladder_is_as_large_as_it_says() -> None:
    splits = load(VERSION).problems.splits
    learnt = sum(splits[name] for name in ("skills", "cold", "reflective", "rl"))
    assert learnt == 4200
    assert splits["evaluation"] == 500


def test_a_field_that_no_version_has_is_refused() -> None:
    with pytest.raises(ValueError, match="beer"):
        derived(load(VERSION), {"cold_model.policy.beer": 1}, 0)


# Measuring ---------------------------------------------------------------------------------------


def test_a_record_holds_what_was_measured_and_is_found_again(using: Measuring) -> None:
    arm = BY_NAME["cold"]
    version = version_of(arm, 0, using)
    record = measure(arm, 0, version, using)
    assert record["key"] == key(arm, version)
    assert record["solved"] == [2] * 4  # who pretends answers with the gold solution
    assert record["greedy"] == [1] * 4
    assert record["wide"] == [8] * 4
    assert record["numbers"]["solved"] == 1
    assert record["numbers"]["needless"] == 0
    assert set(record["numbers"]["task"]) == {"counting", "maze"}
    assert record["sets"]["cold_set"]["kept"] > 0
    assert record["curve"] == [{"step": 8, "validation_loss": 0.4}]
    places = set(record["made_from"])
    assert f"cold_model/{address('cold_model', version)}" in places
    assert not any(place.startswith("reflective") for place in places)


def test_another_repetition_way_of_asking_or_base_is_another_record(
    using: Measuring, tmp_path: Path
) -> None:
    arm = BY_NAME["cold"]
    keys = [key(arm, derived(using.main, changes, n)) for n, changes in (
        (0, {}), (1, {}), (0, {"evaluation.samples": 3}), (0, {"problems.splits.evaluation": 5}),
    )]  # fmt: skip
    lay_base(tmp_path / "weights", b"other weights")
    keys.append(key(arm, derived(using.main, {}, 0)))
    assert len(set(keys)) == 5


def test_a_sized_arm_keeps_as_many_as_the_recipe_does(using: Measuring) -> None:
    arm = BY_NAME["cold + rejection-sampled, same size"]
    version = version_of(arm, 0, using)
    ours = make("reflective_set", version, using).manifest
    theirs = make("reflective_set", derived(using.main, {}, 0), using).manifest
    assert ours.tables["reflective"] == theirs.tables["reflective"] > 0
    assert ours.facts["yield"]["over_limit"] > 0


def test_reinforcement_leaves_its_curve(using: Measuring) -> None:
    arm = BY_NAME["cold + GRPO"]
    record = measure(arm, 0, version_of(arm, 0, using), using)
    assert [line["step"] for line in record["curve"]] == [1, 2, 3, 4, 5, 6]
    assert record["curve"][-1]["reward"] == pytest.approx(6 / 9)
    assert record["model"].startswith("grpo_model/")
    assert models.TRAINERS["grpo_model"] == "grpo"


# The report --------------------------------------------------------------------------------------


def record(arm: str, solved: list[int], repetition: int = 0, **numbers: float) -> Record:
    known: dict[str, Any] = dict.fromkeys(
        ("correct", "draw", "format", "paper", "strict", "helped", "turns", "boxes", "needless",
         "lines", "tokens"), 1.0,
    )  # fmt: skip
    known |= {"solved": sum(solved) / 4 / len(solved), "stops": {"answered": 1.0}}
    known |= {"task": {"maze": 0.5}, "kind": {"choice": 0.5, "number": 0.4}}
    return {
        "arm": arm, "repetition": repetition, "key": "", "model": "", "made_from": {"a": 90.0},
        "date": "2026-01-01", "machine": "paper", "samples": 4, "solved": solved,
        "greedy": [1] * len(solved),
        "numbers": {**known, **numbers}, "sets": {"cold_set": {"kept": 3, "wrong": 4}}, "curve": [],
        "wide": [2 * n for n in solved],
    }  # fmt: skip


def lines(records: list[Record]) -> dict[str, str]:
    """Rows of all tables by their first cell; the last of those that share it."""
    text = report(records, "for tests")
    cells = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return {first: "|".join(rest) for first, *rest in cells}


def test_what_was_looked_for_holds_or_falls_short_by_a_number() -> None:
    cold = record("cold", [1, 2, 1, 2] * 25, strict=0.1)
    full = record("cold + reflective + GRPO", [2, 3, 2, 3] * 25, draw=0.9)
    reflective = record("cold + reflective", [1, 1, 1, 1] * 25, strict=0.15)
    found = lines([cold, full, reflective])
    assert "+25.0 [+25.0, +25.0]|holds" in found["GRPO over cold"]
    assert "-12.5" in found["reflective against cold"]
    assert found["reflective against cold"].endswith("short by 9.5")
    assert found["`strict` reflection, cold → reflective"].endswith("does not hold")
    assert found["S_draw, reflective → GRPO"].endswith("does not hold")


def test_a_gain_that_may_be_none_does_not_hold() -> None:
    cold = record("cold", [0, 4] * 2)
    full = record("cold + reflective + GRPO", [4, 1] * 2)
    found = lines([cold, full])["GRPO over cold"]
    assert "+12.5 [" in found
    assert found.endswith("interval")


def test_differences_pair_the_repetitions_that_both_have() -> None:
    records = [record("cold", [2] * 10, n) for n in (0, 1)]
    records += [record("cold + reflective", [n] * 10, n) for n in (1, 2)]
    found = lines(records)
    assert found["cold + reflective − cold"] == "-25.0 [-25.0, -25.0]|1"


def test_what_is_not_measured_is_named() -> None:
    text = report([record("cold", [1, 2], 1)], "for tests")
    assert "Not measured yet" in text
    assert "cold + GRPO (3)" in text
    assert "cold (2)" in text


def test_pass_at_8_is_read_from_eight_samples() -> None:
    text = report([record("cold", [1, 0, 4, 0])], "for tests")  # wide: 2, 0, 8 and 0 of 8
    assert "|cold|31.2|50.0|18.8|" in text
    assert "Measured 2026-01-01 on paper." in text
