"""One server's limit, rests and breaker, with a clock and chance of the test's own."""

import heapq
from collections.abc import Callable
from datetime import UTC, datetime
from math import inf
from random import Random

import pytest

from pipeline.throttle import (
    BREAKS,
    LONGEST_ASKED_S,
    LONGEST_REST_S,
    START,
    Outcome,
    Throttle,
    backoff_s,
    retry_after_s,
)


def throttle(most: int = 64) -> Throttle:
    return Throttle(most, Random(0))


def filled(one: Throttle, now: float) -> list[float]:
    """As many requests as may begin now."""
    begun = []
    while one.ready_in(now) <= 0:
        begun.append(one.admit(now))
    return begun


def failed(one: Throttle, times: int, now: float = 0.0, why: str = "") -> None:
    for _ in range(times):
        one.done(one.admit(now), now, Outcome.FAILED, why=why)


class Simulated:
    """A server that makes ``rate(n)`` tokens a second of n requests at once; each wants 50 to 150."""

    def __init__(self, one: Throttle) -> None:
        self.one, self.random = one, Random(1)
        self.left: list[tuple[float, float, float]] = []  # (tokens made by then, began, tokens)
        self.now = self.made = 0.0

    def run(self, seconds: float, rate: Callable[[int], float]) -> float:
        """The tokens a second that it made."""
        total, begun = 0.0, self.now
        while self.now < begun + seconds:
            while self.one.ready_in(self.now) <= 0:
                wanted = float(self.random.randint(50, 150))
                began = self.one.admit(self.now)
                heapq.heappush(self.left, (self.made + wanted, began, wanted))
            each = rate(len(self.left)) / len(self.left)
            done_at, began, wanted = heapq.heappop(self.left)
            self.now += (done_at - self.made) / each
            self.made = done_at
            total += wanted
            self.one.done(began, self.now, Outcome.ANSWERED, tokens=int(wanted))
        return total / (self.now - begun)


def test_at_first_few_requests_may_begin_and_the_limit_doubles_each_round() -> None:
    one = throttle()
    for wanted in (START, 2 * START, 4 * START, 64, 64):
        begun = filled(one, 0.0)
        assert len(begun) == wanted
        for began in begun:
            one.done(began, 1.0, Outcome.ANSWERED, tokens=1)


def test_after_an_overload_the_limit_is_half_and_grows_by_one_a_round() -> None:
    one = throttle()
    begun = filled(one, 0.0)
    one.done(begun.pop(), 1.0, Outcome.OVERLOADED)
    assert one.limit == START / 2
    for began in begun:
        one.done(began, 1.0, Outcome.UNKNOWN)
    for wanted in (4, 5, 6, 7):
        begun = filled(one, 2.0)
        assert abs(len(begun) - wanted) <= 1
        for began in begun:
            one.done(began, 3.0, Outcome.ANSWERED, tokens=1)


def test_many_overloads_of_one_round_cut_the_limit_once() -> None:
    one = throttle()
    for began in filled(one, 0.0):
        one.done(began, 1.0, Outcome.OVERLOADED)
    assert one.limit == START / 2


@pytest.mark.parametrize("outcome", [Outcome.OVERLOADED, Outcome.LATE])
def test_the_limit_never_falls_below_one(outcome: Outcome) -> None:
    one, now = throttle(), 0.0
    for _ in range(100):
        now += max(0.0, one.ready_in(now))
        one.done(one.admit(now), now + 1, outcome)
        now += 2
    assert one.limit == 1
    now += one.ready_in(now)
    assert len(filled(one, now)) == 1


def test_a_limit_that_nobody_needs_does_not_grow() -> None:
    one = throttle()
    for n in range(100):
        one.done(one.admit(n), n + 0.5, Outcome.ANSWERED, tokens=1)
    assert one.limit == START


def test_a_queue_at_the_server_is_found_by_its_latency_and_its_slots_stay_full() -> None:
    one = throttle(most=4096)
    server, limits, rates = Simulated(one), [], []
    server.run(60, lambda n: 30.0 * min(n, 100))
    for _ in range(100):
        rates.append(server.run(10, lambda n: 30.0 * min(n, 100)))
        limits.append(one.limit)
    assert sum(rates) / len(rates) > 0.99 * 3000
    assert max(limits) < 400


def test_a_server_that_gets_slower_but_does_more_is_given_more() -> None:
    one = throttle(most=256)
    Simulated(one).run(240, lambda n: 30.0 * n / (1 + n / 128))  # three times as slow at 256
    assert one.limit > 230


def test_a_server_that_others_use_as_well_is_given_less() -> None:
    one = throttle(most=64)
    server = Simulated(one)
    server.run(120, lambda n: 30.0 * n)
    assert one.limit == 64
    lowest = 64.0
    for _ in range(60):
        server.run(10, lambda n: 6.0 * n)
        lowest = min(lowest, one.limit)
    assert lowest < 0.8 * 64


def test_a_rest_that_is_asked_for_is_kept_for_all_and_has_a_cap() -> None:
    one = throttle()
    first, second = one.admit(0.0), one.admit(0.0)
    one.done(first, 1.0, Outcome.OVERLOADED, rest_s=5.0)
    assert one.ready_in(1.0) == 5.0
    assert one.ready_in(6.0) == 0.0
    one.done(second, 1.0, Outcome.OVERLOADED, rest_s=10**6)
    assert one.ready_in(1.0) == LONGEST_ASKED_S


def test_the_breaker_opens_after_faults_in_a_row_and_lets_one_probe_through() -> None:
    one = throttle()
    failed(one, BREAKS - 1)
    one.done(one.admit(0.0), 0.0, Outcome.ANSWERED, tokens=1)
    failed(one, BREAKS - 1)
    assert not one.open
    failed(one, 1, why="broken")
    assert one.open
    assert one.why == "broken"
    rest = one.ready_in(0.0)
    assert 0 < rest < inf
    probe = one.admit(rest)
    assert one.ready_in(rest) == inf
    one.done(probe, rest + 1, Outcome.ANSWERED, tokens=1)
    assert not one.open
    assert one.ready_in(rest + 1) == 0


def test_each_probe_that_fails_doubles_the_rest_up_to_a_cap() -> None:
    one, now, rests = throttle(), 0.0, []
    failed(one, BREAKS)
    for _ in range(12):
        rests.append(one.ready_in(now))
        now += rests[-1]
        one.done(one.admit(now), now, Outcome.FAILED)
    assert all(0.5 * 2**n <= rest <= 2**n for n, rest in enumerate(rests[:6]))
    assert max(rests) <= LONGEST_REST_S


def test_what_was_sent_before_the_breaker_opened_is_not_taken_for_the_probe() -> None:
    one = throttle()
    early = [one.admit(0.0) for _ in range(5)]
    for _ in range(BREAKS):
        one.done(early.pop() if len(early) > 2 else one.admit(0.0), 0.5, Outcome.FAILED)
    now = 0.5 + one.ready_in(0.5)
    probe = one.admit(now)
    one.done(early.pop(), now, Outcome.FAILED)
    one.done(early.pop(), now, Outcome.UNKNOWN)
    assert one.ready_in(now) == inf  # the probe is still out
    one.done(probe, now, Outcome.UNKNOWN)
    assert one.ready_in(now) == 0  # it told nothing: another


def test_a_server_that_bars_us_opens_at_once() -> None:
    one = throttle()
    one.done(one.admit(0.0), 0.0, Outcome.BARRED, why="no such model")
    assert one.open
    assert one.barred


def test_an_overloaded_server_is_alive() -> None:
    one = throttle()
    for n in range(3 * BREAKS):
        one.done(one.admit(float(n)), float(n), Outcome.OVERLOADED)
    assert not one.open


def test_backoff_is_anything_up_to_a_bound_that_doubles_and_the_same_for_the_same_chance() -> None:
    for attempt, most in ((0, 0.5), (1, 1.0), (3, 4.0), (50, 60.0)):
        drawn = [backoff_s(attempt, Random(n)) for n in range(2000)]
        assert drawn == [backoff_s(attempt, Random(n)) for n in range(2000)]
        assert 0 <= min(drawn) < 0.05 * most
        assert 0.95 * most < max(drawn) <= most
        assert abs(sum(drawn) / 2000 - most / 2) < 0.05 * most


NOW = datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("Wed, 25 Nov 2026 12:00:30 GMT", 30.0),
        ("Wed, 25 Nov 2026 11:00:00 GMT", 0.0),
        ("Wednesday, 25-Nov-26 12:00:10 GMT", 10.0),
        ("soon", None),
        ("", None),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after_s(value, NOW) == seconds
