import asyncio
import io
import logging
from collections.abc import AsyncGenerator

import pytest

from pipeline import progress
from pipeline.kept import Said
from pipeline.policies import Prices
from pipeline.progress import duration, followed, told
from pipeline.spending import Spending
from pipeline.types import Failure, Stop, Trajectory, Usage


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_is_told_how_far_it_is_and_gets_every_item(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(progress, "EVERY_S", 0)
    screen = Terminal()
    assert list(told("abc", "letters", 3, screen)) == ["a", "b", "c"]
    said = screen.getvalue()
    assert said.startswith("\rletters: 1 of about 3, ")
    assert "\rletters: 3 of about 3, " in said
    assert said.count("\n") == 1
    assert said.endswith("\n")


def test_a_terminal_is_not_flooded() -> None:
    screen = Terminal()
    assert len(list(told(range(10_000), "numbers", 10_000, screen))) == 10_000
    assert screen.getvalue().count("\r") < 100


def test_a_file_is_told_nothing() -> None:
    log = io.StringIO()
    assert list(told("ab", "letters", 2, log)) == ["a", "b"]
    assert not log.getvalue()


def test_what_is_not_begun_is_not_counted() -> None:
    screen = Terminal()
    assert list(told([], "letters", 5, screen)) == []
    assert not screen.getvalue()


def follow(screen: io.StringIO, runs: list[Trajectory | Failure], spending: Spending) -> None:
    async def source() -> AsyncGenerator[Trajectory | Failure, None]:
        for run in runs:
            await asyncio.sleep(0.001)
            yield run

    async def every() -> list[Trajectory | Failure]:
        return [run async for run in followed(source(), "cold", 4, spending, screen)]

    assert asyncio.run(every()) == runs


RUNS: list[Trajectory | Failure] = [
    Trajectory("p", 0, (), Stop.ANSWERED),
    Failure("p", 1, "HTTP 500"),
    Trajectory("p", 2, (), Stop.ANSWERED),
]


def test_sampling_is_told_by_reason_with_its_pace_and_what_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(progress, "EVERY_S", 0)
    spending, screen = Spending(Prices(completion=10)), Terminal()
    spending.pay(Said("x", usage=Usage(100, 500_000)))
    spending.replay(Said("x"))
    follow(screen, RUNS, spending)
    lines = screen.getvalue().split("\r\033[K")
    assert lines[-1].startswith("cold: 3 of 4; answered 2, failed 1; 1 turns replayed; ")
    assert " tokens/s; cost 5.00; 0 s left\n" in lines[-1]
    assert lines[1].startswith("cold: 1 of 4; answered 1; ")


def test_where_there_is_no_terminal_the_log_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "EVERY_S", 0)
    monkeypatch.setattr(progress, "LOGGED_S", 0)
    caplog.set_level(logging.INFO, "drawloop")
    screen = io.StringIO()
    follow(screen, RUNS, Spending())
    assert not screen.getvalue()
    assert caplog.messages[-1].startswith("cold: 3 of 4; answered 2, failed 1; ")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (119, "119 s"), (7199, "120 min"), (7200, "2 h"), (864_000, "10 d")],
)
def test_a_duration_is_said_in_a_unit_that_fits(seconds: float, said: str) -> None:
    assert duration(seconds) == said
