"""How hard one server may be driven: its limit of requests at once, its rests, its breaker.

Guarantees: the limit grows by one a round while the server keeps up, twice as fast at the start;
it is cut by half when the server says that it is overloaded or does not answer in time, and by a
fifth when answers come more slowly and no more of them do; once a round at most. A rest that the
server asks for is kept, up to a cap. After several faults in a row the breaker opens: nothing is
sent for a while, then one probe. Time and chance come from outside: the same calls, the same
decisions.
Does not: wait, or know of other servers (`servers` does).
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from math import inf, isfinite, log
from random import Random

START = 8  # requests at once, before anything is known of a server
CUT, TRIM = 0.5, 0.8  # what is left of the limit after an overload; after latency rose in vain
BREAKS = 8  # faults in a row that open the breaker
FIRST_REST_S, LONGEST_REST_S = 1.0, 60.0  # of an open breaker; doubled each time a probe fails
LONGEST_ASKED_S = 120.0  # that a server may make us rest by Retry-After
BACKOFF_S, LONGEST_BACKOFF_S = 0.5, 60.0  # of a turn that is tried again
WINDOW = 32  # answers at least, over which pace and rate are taken
SLOWER, NO_FASTER = 1.5, 1.1  # × the pace (s a token); × the rate (tokens a second)
STEP = 1.5  # limits within this factor are one level, whose pace and rate are remembered


class Outcome(StrEnum):
    """What became of a request, as far as its server is to blame."""

    ANSWERED = "answered"
    OVERLOADED = "overloaded"  # 429, 503, 529: alive, and asked too much
    LATE = "late"  # no answer in time
    FAILED = "failed"  # none that can be used
    BARRED = "barred"  # it will not serve us as things are: key, certificate, model
    UNKNOWN = "unknown"  # given up by us, or the request itself was at fault


@dataclass(slots=True)
class _Window:
    since: float
    wanted: float  # answers
    answers: int = 0
    tokens: int = 0
    seconds: float = 0.0  # of all answers together
    busy: bool = True  # whether the limit was what held requests back, throughout


class Throttle:
    """One server's. ``now`` is always seconds of one monotonic clock.

    A request begins with `admit`, where `ready_in` is 0, and ends with `done`.
    """

    def __init__(self, most: int, random: Random, now: float = 0.0) -> None:
        self.most = most
        self.limit = float(min(START, most))
        self.in_flight = 0
        self.why = ""  # the last fault, in words
        self.barred = False
        self._random = random
        self._rest_until = 0.0
        self._faults = 0  # in a row
        self._opened = 0  # times in a row that the breaker opened
        self._opened_at = -inf
        self._probing = False
        self._cut_at = self._full_at = -inf
        self._slow_start = True
        self._window = self._opened_window(now)
        self._levels: dict[int, tuple[float, float]] = {}  # level of limit → pace, rate

    @property
    def open(self) -> bool:
        """Whether the breaker is open: then one probe at a time is let through, after a rest."""
        return self._opened > 0

    @property
    def load(self) -> float:
        """Requests under way, as a share of the limit."""
        return self.in_flight / self.limit

    def ready_in(self, now: float) -> float:
        """Seconds until a request may begin; infinite while only the end of another can allow it."""
        full = self._probing if self.open else self.in_flight + 1 > max(1.0, self.limit)
        return inf if full else max(0.0, self._rest_until - now)

    def admit(self, now: float) -> float:
        """Begins a request: when it did."""
        assert self.ready_in(now) <= 0, "a request that may not begin yet"
        self.in_flight += 1
        self._probing = self.open
        if self.in_flight + 1 > self.limit:
            self._full_at = now
        return now

    def done(
        self,
        began: float,
        now: float,
        outcome: Outcome,
        *,
        tokens: int = 0,
        rest_s: float | None = None,
        why: str = "",
    ) -> None:
        """Ends a request; ``rest_s`` is how long the server asks to be left alone."""
        full = self._full_at >= began  # it was the limit that held requests back
        self.in_flight -= 1
        if rest_s is not None:
            self._rest_until = max(self._rest_until, now + min(rest_s, LONGEST_ASKED_S))
        if outcome is Outcome.UNKNOWN:
            self._probing &= began < self._opened_at
            return
        if outcome is Outcome.ANSWERED:
            self._answered(began, now, tokens, full)
            return
        self.why = why
        if outcome in (Outcome.OVERLOADED, Outcome.LATE):
            self._cut(began, now, CUT)
        if outcome is Outcome.OVERLOADED:  # and so alive
            self._close()
        elif began >= self._opened_at:
            self._fault(now, outcome)

    def _answered(self, began: float, now: float, tokens: int, full: bool) -> None:
        self._close()
        if full:
            self.limit += 1.0 if self._slow_start else 1 / self.limit
            self.limit = min(self.limit, float(self.most))
        window = self._window
        window.answers, window.tokens = window.answers + 1, window.tokens + max(1, tokens)
        window.seconds += now - began
        window.busy &= full
        if window.answers >= window.wanted and now > window.since:
            self._compare(began, now, window)
            self._window = self._opened_window(now)

    def _opened_window(self, now: float) -> _Window:
        return _Window(now, max(WINDOW, self.limit))  # a round of answers, or more

    def _compare(self, began: float, now: float, window: _Window) -> None:
        """Trims the limit if answers are slower than at some lower limit and there are no more."""
        if not window.busy:
            return
        level = int(log(self.limit, STEP))
        pace, rate = window.seconds / window.tokens, window.tokens / (now - window.since)
        lower = [known for at, known in self._levels.items() if at <= level]
        if any(pace > SLOWER * p and rate < NO_FASTER * r for p, r in lower):
            self._cut(began, now, TRIM)
        before = self._levels.get(level, (pace, rate))
        self._levels[level] = (0.7 * before[0] + 0.3 * pace, 0.7 * before[1] + 0.3 * rate)

    def _cut(self, began: float, now: float, share: float) -> None:
        """Lowers the limit, unless the request was sent before the last time."""
        if began >= self._cut_at:
            self.limit = max(1.0, self.limit * share)
            self._cut_at, self._slow_start = now, False
            self._window = self._opened_window(now)

    def _fault(self, now: float, outcome: Outcome) -> None:
        self._faults += 1
        self.barred = outcome is Outcome.BARRED
        if self._faults >= BREAKS or self.open or self.barred:
            rest = min(FIRST_REST_S * 2**self._opened, LONGEST_REST_S)
            self._rest_until = max(self._rest_until, now + rest * self._random.uniform(0.5, 1.0))
            self._opened, self._opened_at = min(self._opened + 1, 32), now
            self._probing = False

    def _close(self) -> None:
        self._faults, self._opened, self._probing, self.barred = 0, 0, False, False


def backoff_s(attempt: int, random: Random) -> float:
    """How long a turn waits before it is tried again: anything up to a bound that doubles."""
    return random.uniform(0.0, min(LONGEST_BACKOFF_S, BACKOFF_S * 2.0 ** min(attempt, 32)))


def retry_after_s(value: str | None, now: datetime | None = None) -> float | None:
    """A Retry-After header in seconds from now: a number, or an HTTP date. None: nothing sensible."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            when = parsedate_to_datetime(value)
        except (ValueError, TypeError, OverflowError):
            return None
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        seconds = (when - (now or datetime.now(UTC))).total_seconds()
    return max(0.0, seconds) if isfinite(seconds) else None
