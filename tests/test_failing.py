import asyncio
from collections.abc import AsyncGenerator

import pytest

from pipeline.failing import TooManyFailures, within
from pipeline.types import Failure, Stop, Trajectory

Run = Trajectory | Failure
GOOD, BAD = Trajectory("p", 0, (), Stop.ANSWERED), Failure("p", 0, "HTTP 500")


def passed(runs: list[Run], most: float, after: int) -> tuple[list[Run], list[str]]:
    """What came through, and what became of what it came from."""
    through: list[Run] = []
    said: list[str] = []

    async def source() -> AsyncGenerator[Run, None]:
        try:
            for run in runs:
                yield run
        finally:
            said.append("closed")

    async def every() -> None:
        try:
            async for run in within(source(), most, after):
                through.append(run)  # noqa: PERF401  what came before the error counts
        except TooManyFailures as error:
            said.append(str(error))

    asyncio.run(every())
    return through, said


def test_a_share_that_is_allowed_passes() -> None:
    runs: list[Run] = [GOOD, BAD] * 50
    assert passed(runs, 0.5, 2) == (runs, ["closed"])


def test_one_more_stops_it_and_what_is_running() -> None:
    runs: list[Run] = [GOOD, BAD, GOOD, BAD, BAD, GOOD]
    through, (closed, said) = passed(runs, 0.5, 2)
    assert (through, closed) == (runs[:5], "closed")
    assert said.startswith(
        "3 of 5 trajectories failed, more than the 50% that failures.most allows"
    )
    assert "HTTP 500" in said
    assert "--retry-failed" in said


def test_few_are_not_judged() -> None:
    runs: list[Run] = [BAD] * 19
    assert passed(runs, 0.5, 20)[0] == runs
    through, _ = passed([BAD] * 30, 0.5, 20)
    assert len(through) == 20


@pytest.mark.parametrize(("most", "seen"), [(0.0, 1), (1.0, 30)])
def test_none_or_all_may_be_allowed(most: float, seen: int) -> None:
    assert len(passed([BAD] * 30, most, 1)[0]) == seen
