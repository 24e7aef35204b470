"""Problems of an RL export: each once an epoch, in an order that only the seed decides."""

from pathlib import Path

import pytest

from tests.trainers.conftest import Small
from tests.trainers.test_grpo import rl_export
from trainers.asked import Asked
from trainers.exported import WrongData


@pytest.fixture
def asked(one: Small, tmp_path: Path) -> Asked:
    return Asked([rl_export(tmp_path, one, 7)], one.name)


def test_every_problem_is_asked_once_an_epoch_and_each_epoch_has_its_own_order(
    asked: Asked,
) -> None:
    ids = [problem.id for step in range(7) for problem in asked.step(step, 2, seed=3)]
    first, second = ids[:7], ids[7:]
    assert len({*first}) == 7
    assert {*first} == {*second}
    assert first != second


def test_the_order_is_the_seed_s(asked: Asked, one: Small, tmp_path: Path) -> None:
    again = Asked([rl_export(tmp_path / "again", one, 7)], one.name)
    orders = [
        [p.id for p in a.step(0, 7, seed)] for a, seed in ((asked, 1), (again, 1), (asked, 2))
    ]
    assert orders[0] == orders[1] != orders[2]


def test_a_problem_comes_with_its_pictures_and_its_limits(asked: Asked) -> None:
    (problem,) = asked.step(0, 1, seed=0)
    assert all(image.png.startswith(b"\x89PNG") for image in problem.images)
    assert asked.turns == {"plain": 4}
    assert asked.max_images == 42


def test_a_folder_that_is_no_export_is_named(one: Small, tmp_path: Path) -> None:
    with pytest.raises(WrongData, match="has no manifest"):
        Asked([str(tmp_path)], one.name)
