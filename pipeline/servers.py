"""Many servers as one: which of them a turn goes to, and when.

Guarantees: turns with the same session go to the same server while it is well and not overrun, so
that it finds their prompts and pictures in its caches; a session without a server gets the one that
has least to do; when a server's breaker opens, those that wait for it go elsewhere. Turns wait in
the order in which they came, without polling. While every server is down they wait, but not longer
than ``patience_s``, and not at all where each refuses us as we are.
Does not: send anything, or try anything again.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Sequence
from math import inf
from random import Random

from pipeline.throttle import Outcome, Throttle

REMEMBERED = 65_536  # sessions whose server is known
OVERRUN = 3.0  # × its limit, waiting or under way: a session leaves if another server is idle


class AllDown(Exception):
    """No server answers; the message says why, for each."""


class Ticket:
    """A request that has begun."""

    __slots__ = ("began", "server")

    def __init__(self, server: int, began: float) -> None:
        self.server, self.began = server, began


class Servers:
    """Of one event loop. ``names`` are told in errors; ``most`` requests at once go to each."""

    def __init__(self, names: Sequence[str], most: int, patience_s: float, random: Random) -> None:
        self.names = tuple(names)
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self.throttles = [Throttle(most, random, now) for _ in names]
        self._patience_s = patience_s
        self._waiting: list[deque[asyncio.Future[Ticket | None]]] = [deque() for _ in names]
        self._timers: list[asyncio.TimerHandle | None] = [None for _ in names]
        self._sessions: OrderedDict[str, int] = OrderedDict()
        self._down_since = inf  # when the last breaker opened; no server has answered since
        self._giving_up: asyncio.TimerHandle | None = None

    async def enter(self, session: str) -> Ticket:
        """Waits until a request may begin.

        Raises:
            AllDown: if none may for longer than the patience.
        """
        while True:
            server = self._choose(session)
            waiting, now = self._waiting[server], self._loop.time()
            if not waiting and self.throttles[server].ready_in(now) <= 0:
                return Ticket(server, self.throttles[server].admit(now))
            if self._lost(now):
                raise AllDown(self._reasons())
            place: asyncio.Future[Ticket | None] = self._loop.create_future()
            waiting.append(place)
            self._pump(server)
            try:
                if (ticket := await place) is not None:
                    return ticket
            except asyncio.CancelledError:
                self._return(place)
                raise

    def _return(self, place: asyncio.Future[Ticket | None]) -> None:
        """Gives back what somebody was let in with who had gone by then."""
        if place.done() and not place.cancelled() and place.exception() is None:
            ticket = place.result()
            if ticket is not None:
                self.leave(ticket, Outcome.UNKNOWN)

    def leave(
        self,
        ticket: Ticket,
        outcome: Outcome,
        *,
        tokens: int = 0,
        rest_s: float | None = None,
        why: str = "",
    ) -> None:
        """Ends a request; what became of it decides how its server is treated."""
        now = self._loop.time()
        throttle = self.throttles[ticket.server]
        throttle.done(ticket.began, now, outcome, tokens=tokens, rest_s=rest_s, why=why)
        if throttle.open:
            self._went_down(ticket.server, now)
        elif self._down_since < inf:
            self._came_back()
        self._pump(ticket.server)

    def _choose(self, session: str) -> int:
        """The server of a session; another one where that is down or overrun."""
        now = self._loop.time()
        for n, throttle in enumerate(self.throttles):
            if throttle.open and throttle.ready_in(now) <= 0 and not self._waiting[n]:
                return n  # somebody has to find out whether it is well again
        known = self._sessions.get(session)
        up = [n for n, throttle in enumerate(self.throttles) if not throttle.open]
        if not up:  # where the next probe may be sent first
            soon = [throttle.ready_in(now) for throttle in self.throttles]
            return min(range(len(soon)), key=lambda n: (soon[n], len(self._waiting[n])))
        if known not in up or (self._load(known) > OVERRUN and min(map(self._load, up)) < 1):
            known = min(up, key=self._load)
        self._sessions[session] = known
        self._sessions.move_to_end(session)
        if len(self._sessions) > REMEMBERED:
            self._sessions.popitem(last=False)
        return known

    def _load(self, server: int) -> float:
        throttle = self.throttles[server]
        return (throttle.in_flight + len(self._waiting[server])) / throttle.limit

    def _pump(self, server: int) -> None:
        """Lets those in that may begin now, and sees to it that the next ones are thought of."""
        waiting, throttle = self._waiting[server], self.throttles[server]
        now = self._loop.time()
        while waiting:
            if waiting[0].done():  # given up
                waiting.popleft()
            elif (ready := throttle.ready_in(now)) <= 0:
                waiting.popleft().set_result(Ticket(server, throttle.admit(now)))
                if throttle.open:  # a probe, which may hang: another server may be well sooner
                    self._disperse(server)
                    return
            else:
                if ready < inf and self._timers[server] is None:
                    self._timers[server] = self._loop.call_later(ready, self._rested, server)
                return

    def _rested(self, server: int) -> None:
        self._timers[server] = None
        self._pump(server)

    def _went_down(self, server: int, now: float) -> None:
        if not all(throttle.open for throttle in self.throttles):
            self._disperse(server)  # to the others
            return
        if self._down_since == inf:
            self._down_since = now
            self._giving_up = self._loop.call_later(self._patience_s, self._give_up)
        if self._lost(now):
            self._give_up()

    def _came_back(self) -> None:
        self._down_since = inf
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None
        for server, throttle in enumerate(self.throttles):
            if throttle.open:
                self._disperse(server)

    def _disperse(self, server: int) -> None:
        """Those who wait for a server choose anew, in their order."""
        places, self._waiting[server] = self._waiting[server], deque()
        for place in places:
            if not place.done():
                place.set_result(None)

    def _lost(self, now: float) -> bool:
        if self._down_since == inf:
            return False
        barred = all(throttle.barred for throttle in self.throttles)
        return barred or now >= self._down_since + self._patience_s

    def _give_up(self) -> None:
        for places in self._waiting:
            while places:
                if not (place := places.popleft()).done():
                    place.set_exception(AllDown(self._reasons()))

    def _reasons(self) -> str:
        said = (f"{n}: {t.why}" for n, t in zip(self.names, self.throttles, strict=True))
        return "no server answers; " + "; ".join(said)
