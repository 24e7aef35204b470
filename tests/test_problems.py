"""Problems of a version: as many as asked for, unique, split, and the same with any workers."""

from collections import Counter
from dataclasses import replace
from itertools import islice
from random import Random

import pytest

from pipeline import problems
from pipeline.images import read
from pipeline.problems import NotEnough, check, fingerprints, orders, sample
from pipeline.sources.photos import Photos
from pipeline.types import Kind, Problem, Size, Verdict
from pipeline.versions import Version, load, parse
from tests.conftest import plain_problem

TEXT = """
description: for tests
seed: 3
canvas: {smallest: 112, largest: 140}
problems:
  tasks: {counting: {share: 2}, maze: {difficulty: [0, 0.3]}}
  splits: {skills: 6, cold: 9, reflective: 6, rl: 6, evaluation: 6}
teacher: {policy: {kind: oracle}, sampling: {samples: 1}}
cold_model: {policy: {kind: oracle}, sampling: {samples: 1}}
reflective_model: {policy: {kind: oracle}, sampling: {samples: 2}}
filters: {reflective: {rule: paper}}
"""


def version(text: str = TEXT) -> Version:
    return parse("test", text)


def test_every_split_gets_as_many_as_it_asks_for_in_the_shares_of_the_mix() -> None:
    rows = [(split, p) for split, p, verdict in sample(version()) if verdict.keep]
    assert Counter(split for split, _ in rows) == {
        "skills": 6, "cold": 9, "reflective": 6, "rl": 6, "evaluation": 6,
    }  # fmt: skip
    assert Counter(p.task for split, p in rows if split == "cold") == {"counting": 6, "maze": 3}


def test_ids_are_unique_and_name_task_split_and_index() -> None:
    ids = [p.id for _, p, _ in sample(version())]
    assert len(set(ids)) == len(ids)
    assert "counting-cold-000000" in ids


def test_sides_are_multiples_of_the_patch_unit_within_the_canvas() -> None:
    for _, problem, _ in sample(version()):
        assert {side for image in problem.images for side in image.size} <= {112, 140}


def test_any_number_of_workers_gives_the_same_problems() -> None:
    big = TEXT.replace("skills: 6", "skills: 60")
    assert list(sample(version(big), workers=2)) == list(sample(version(big), workers=1))


def test_a_version_that_only_filters_differently_asks_the_same_problems() -> None:
    other = version(TEXT.replace("rule: paper", "rule: strict"))
    assert [p for _, p, _ in sample(other)] == [p for _, p, _ in sample(version())]
    reseeded = version(TEXT.replace("seed: 3", "seed: 4"))
    assert [p for _, p, _ in sample(reseeded)] != [p for _, p, _ in sample(version())]


def test_growing_one_split_leaves_the_others_as_they_were() -> None:
    grown = version(TEXT.replace("cold: 9", "cold: 12"))
    before = {p.id: p for s, p, _ in sample(version()) if s != "cold"}
    after = {p.id: p for s, p, _ in sample(grown) if s != "cold"}
    assert before == after


def test_a_scene_that_a_split_has_claimed_is_dropped_in_every_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = problems.make

    def few(order: problems.Order) -> object:
        same = replace(order, split="x", size=Size(112, 112), difficulty=0.5)
        return replace(made(replace(same, index=order.index % 4)), id=order.id)

    monkeypatch.setattr(problems, "make", few)
    small = version(
        TEXT.replace(
            "skills: 6, cold: 9, reflective: 6, rl: 6, evaluation: 6",
            "skills: 0, cold: 2, reflective: 0, rl: 0, evaluation: 3",
        )
    )
    rows = list(sample(small))
    assert {v.reason for s, _, v in rows if not v.keep and s == "cold"} == {"in_other_split"}
    owners: dict[bytes, str] = {}
    for split, problem, verdict in rows:
        for mark in fingerprints(problem) if verdict.keep else ():
            assert owners.setdefault(mark, split) == split


UNSEEN = TEXT.replace("evaluation: 6}", "evaluation: 6, unseen_task: 5, unseen_size: 4}").replace(
    "  splits:",
    "  unseen: {tasks: {views: {difficulty: [0, 0.2]}}, canvas: {smallest: 168, largest: 196}}\n"
    "  splits:",
)


def test_unseen_splits_hold_other_tasks_and_other_sizes_and_leave_the_rest_as_it_was() -> None:
    kept = [(split, p) for split, p, verdict in sample(version(UNSEEN)) if verdict.keep]
    tasks = {split: Counter(p.task for s, p in kept if s == split) for split, _ in kept}
    assert tasks["unseen_task"] == {"views": 5}
    assert tasks["unseen_size"] == {"counting": 3, "maze": 1}
    for split, problem in kept:
        sides = {side for image in problem.images for side in image.size}
        assert sides <= ({168, 196} if split == "unseen_size" else {112, 140})
    usual = [(split, p) for split, p in kept if split not in ("unseen_task", "unseen_size")]
    before = [(split, p) for split, p, verdict in sample(version()) if verdict.keep]
    assert sorted(usual, key=lambda one: one[1].id) == sorted(before, key=lambda one: one[1].id)


def test_a_source_s_unseen_sizes_come_from_the_pictures_held_for_evaluation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    regions: list[str] = []

    class Spied(Photos):
        def sample(self, rng: Random, split: str) -> Problem:
            regions.append(split)
            return super().sample(rng, split)

    monkeypatch.setitem(problems.SOURCES, "photos", lambda: Spied)
    wide = "canvas: {smallest: 168, largest: 224}"
    text = (
        UNSEEN.replace("tasks: {counting: {share: 2}, maze: {difficulty: [0, 0.3]}}",
                       "sources: {photos: {}}")
        .replace("{smallest: 168, largest: 196}", "{smallest: 252, largest: 280}")
        .replace("canvas: {smallest: 112, largest: 140}", wide)
    )  # fmt: skip
    for order in islice(orders(version(text), "unseen_size"), 4):
        problem = problems.make(order)
        assert problem.id.startswith("photos-unseen_size-")
    assert regions == ["evaluation"] * 4


def test_a_mix_that_runs_dry_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    same = replace(plain_problem(), scene=None)
    monkeypatch.setattr(problems, "make", lambda order: replace(same, id=order.id))
    with pytest.raises(
        NotEnough, match=r"split 'evaluation': 1 different problems in 24 tries, 6 wanted"
    ):
        list(sample(version()))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"answer": ""}, "no_answer"),
        ({"answer": "  "}, "no_answer"),
        ({"answer": "D"}, "answer_out_of_range"),
        ({"answer": "a"}, "answer_out_of_range"),
        ({"answer": "AB"}, "answer_out_of_range"),
        ({"question": " "}, "no_question"),
        ({"options": ("cat", "Cat ")}, "options_not_unique"),
        ({"options": ("cat",)}, "number_of_options"),
        ({"options": tuple(map(str, range(27)))}, "number_of_options"),
        ({"options": ()}, "number_of_options"),
        ({"kind": Kind.NUMBER}, "options_of_a_number"),
        ({"kind": Kind.NUMBER, "options": (), "answer": "many"}, "answer_is_no_number"),
        ({"kind": Kind.NUMBER, "options": (), "answer": "1e999"}, "answer_is_no_number"),
    ],
)  # fmt: skip
def test_a_problem_that_cannot_be_graded_is_dropped_with_its_reason(
    changes: dict[str, object], reason: str
) -> None:
    verdict = check(plain_problem(**changes))
    assert (verdict.keep, verdict.reason) == (False, reason)


def test_a_problem_without_pictures_is_dropped() -> None:
    assert check(replace(plain_problem(), images=())) == Verdict(False, "no_picture")
    assert check(plain_problem()).keep


def test_a_bad_problem_of_a_source_lands_in_the_rejects_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = problems.make

    def sometimes(order: problems.Order) -> object:
        return replace(made(order), answer="") if order.index == 1 else made(order)

    monkeypatch.setattr(problems, "make", sometimes)
    rows = list(sample(version()))
    dropped = [(p.id, v.reason) for _, p, v in rows if not v.keep]
    assert len(dropped) == 10  # one of each task in each split
    assert {reason for _, reason in dropped} == {"no_answer"}
    assert sum(v.keep for _, _, v in rows) == 33


def test_the_mix_of_every_shipped_version_is_endless() -> None:
    for name in ("mini", "oracles", "photos", "paper"):
        asked = orders(load(name), "cold")
        assert len({next(asked).id for _ in range(50)}) == 50


def test_a_source_s_broken_picture_lands_in_the_rejects_with_its_reason_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = problems.make

    def sometimes(order: problems.Order) -> object:
        if order.index == 1:
            read(b"")
        return made(order)

    monkeypatch.setattr(problems, "make", sometimes)
    rows = list(sample(version()))
    dropped = {p.id: v for _, p, v in rows if not v.keep}
    assert dropped["maze-cold-000001"] == Verdict(False, "picture_empty", "0 bytes")
    assert len(dropped) == 10
    assert sum(v.keep for _, _, v in rows) == 33
