"""Workers: how many are asked for, and what is said when one is lost."""

import os
import signal

import pytest

from pipeline.crew import CrewError, crew, done, workers


def kill_itself(piece: int) -> int:
    if piece == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return piece


def doubled(piece: int) -> int:
    return 2 * piece


@pytest.mark.parametrize("many", [1, 2])
def test_results_come_in_the_order_of_the_pieces(many: int) -> None:
    with crew(many) as pool:
        assert list(done(pool, doubled, range(20), 4)) == [2 * n for n in range(20)]


def test_a_worker_that_is_killed_is_told_of_with_the_remedy() -> None:
    with crew(2) as pool, pytest.raises(CrewError, match="set DRAWLOOP_WORKERS to fewer"):
        list(done(pool, kill_itself, range(8), 4))


@pytest.mark.parametrize(("said", "many"), [("3", 3), ("0", os.cpu_count()), ("", os.cpu_count())])
def test_workers_are_as_many_as_the_environment_says_else_one_a_core(
    said: str, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRAWLOOP_WORKERS", said)
    assert workers() == many


@pytest.mark.parametrize("said", ["two", "-1", "1.5", "²"])
def test_a_number_of_workers_that_is_none_is_refused(
    said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRAWLOOP_WORKERS", said)
    with pytest.raises(CrewError, match=r"DRAWLOOP_WORKERS is .*: set it to a number"):
        workers()
