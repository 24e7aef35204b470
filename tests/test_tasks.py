"""What every task and source must hold; a new one is tested by being in its registry."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from pipeline import reward, skills
from pipeline.problems import check
from pipeline.protocol import FAMILIES
from pipeline.reward import Rules
from pipeline.rollout import Limits, retrace
from pipeline.sources import SOURCES
from pipeline.tasks import TASKS
from pipeline.types import Box, Kind, Line, Problem, Step
from tests.conftest import box, plain_problem

FAMILY = FAMILIES["qwen2.5-vl"]
Sampler = Callable[..., Problem]


def sampler(name: str) -> Sampler:
    def sample(
        key: object,
        side: int = 112,
        tall: int = 0,
        difficulty: float = 0.5,
        wording: str = "varied",
    ) -> Problem:
        size = {"width": side, "height": tall or side, "difficulty": difficulty, "wording": wording}
        if name in TASKS:
            return TASKS[name]()(**size).sample(Random(f"test/{key}"))  # type: ignore[arg-type]
        made = SOURCES[name]()(**size, unit=28)  # type: ignore[arg-type]
        return made.sample(Random(f"test/{key}"), "evaluation")

    return sample


every_maker = pytest.mark.parametrize(
    "sample", [sampler(n) for n in (*TASKS, *SOURCES)], ids=[*TASKS, *SOURCES]
)
every_task = pytest.mark.parametrize("sample", [sampler(n) for n in TASKS], ids=list(TASKS))


@every_maker
@pytest.mark.parametrize("difficulty", [0.0, 0.5, 1.0])
def test_gold_scores_full_marks_from_the_real_grader(sample: Sampler, difficulty: float) -> None:
    for key in range(12):
        problem = sample(key, difficulty=difficulty)
        told = skills.gold(problem, Limits(), FAMILY)
        score = reward.score(problem, told, retrace(problem, told), Rules())
        assert (score.correct, score.format) == (1, 1)
        assert score.draw == pytest.approx(1)


@every_maker
def test_problems_can_be_asked_and_their_truth_lies_on_their_pictures(sample: Sampler) -> None:
    for key in range(12):
        problem = sample(key)
        assert check(problem).keep, check(problem)
        assert problem.scene is not None
        assert problem.conclusion
        gold = [op for step in problem.gold for op in step.ops]
        assert gold
        assert len(set(gold)) == len(gold)
        for op in (*gold, *problem.scene.objects):
            width, height = problem.images[op.k - 1].size
            (x1, y1), (x2, y2) = op.p
            if isinstance(op, Box):
                assert 0 <= x1 < x2 <= width
                assert 0 <= y1 < y2 <= height
            else:
                assert isinstance(op, Line)
                assert op.p[0] != op.p[1]


@every_maker
def test_the_same_key_gives_the_same_bytes_and_another_key_another_problem(sample: Sampler) -> None:
    assert sample("a") == sample("a")
    assert sample("a") != sample("b")


@every_task
def test_neighbouring_difficulties_do_not_share_a_scene(sample: Sampler) -> None:
    assert sample("a", difficulty=0.2).scene != sample("a", difficulty=0.9).scene


@every_maker
def test_one_and_two_turn_skills_alternate_within_a_task(sample: Sampler) -> None:
    problems = [replace(sample(key), id=str(key)) for key in range(6)]
    told = list(skills.trajectories(problems, Limits(), FAMILY))
    assert [len(t.turns) for t in told] == [2, 1, 2, 1, 2, 1]


@every_maker
def test_both_kinds_of_answer_occur(sample: Sampler) -> None:
    assert {sample(key).kind for key in range(30)} == set(Kind)


@every_maker
def test_plain_wording_always_asks_in_the_first_phrasing_and_varied_does_not(
    sample: Sampler,
) -> None:
    def first_words(wording: str) -> set[str]:
        return {" ".join(sample(k, wording=wording).question.split()[:3]) for k in range(30)}

    assert len(first_words("varied")) > len(first_words("plain"))


@every_task
@pytest.mark.parametrize(("side", "tall"), [(112, 112), (112, 1000), (1000, 112), (1000, 1000)])
def test_any_canvas_from_112_to_1000_px_works(sample: Sampler, side: int, tall: int) -> None:
    problem = sample("size", side, tall)
    assert {image.size for image in problem.images} == {(side, tall)}


def test_gold_that_cannot_be_told_is_our_fault_and_raises() -> None:
    off = plain_problem(gold=(Step("Here.", (box(300, 300, 400, 400),)),))
    twice = plain_problem(gold=(Step("Here.", (box(1, 1, 9, 9), box(1, 1, 9, 9))),))
    for problem in (off, twice):
        with pytest.raises(skills.GoldError, match="its gold solution ends"):
            list(skills.trajectories([problem, problem], Limits(), FAMILY))
