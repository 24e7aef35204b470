"""Turns that are answered many at a time: dynamic batching.

Guarantees: those who wait are answered together, at most so many at once, in the order in which they
came; who is answered with whom hangs on nothing but what was answered before. What is known already
takes a place, too, and changes nothing for the others. Who has given up is not asked.
Does not: know how turns are made, or wait until every batch is full: one is asked when for a moment
nobody has come, so that turns which are due at the same time, and so are alike long, stay together.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from pipeline.types import PolicyError, State, Turn

BATCH = 64  # turns that a model in this process makes at once

Outcome = Turn | PolicyError


@runtime_checkable
class Answering(Protocol):
    """Makes turns many at a time."""

    def answers(self, states: Sequence[State]) -> Sequence[Outcome]:
        """The turn after each state, or why there is none. At least one is asked for."""
        ...


class Batching:
    """A `Policy` that asks for turns by the batch.

    Args:
        answers: as `Answering.answers`. It is called in the event loop, which waits for it.
        most: that are answered at once.
    """

    def __init__(self, answers: Callable[[Sequence[State]], Sequence[Outcome]], most: int) -> None:
        self._answers, self._most = answers, most
        self._waiting: list[tuple[State | None, asyncio.Future[Outcome | None]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def act(self, state: State) -> Turn:
        """The next turn, made together with all others that are due.

        Raises:
            PolicyError: if there is none.
        """
        answer = await self._placed(state)
        if isinstance(answer, PolicyError):
            raise answer
        assert answer is not None
        return answer

    async def sit_in(self) -> None:
        """Takes the place in a batch of a turn that is known, and comes back when it is answered.

        A model's numbers differ in their last bits with the batch that they are computed in. A run
        that goes on after a kill asks in the batches of an undisturbed one only if those who need
        no answer any more come and go as if they did.
        """
        await self._placed(None)

    async def _placed(self, state: State | None) -> Outcome | None:
        future: asyncio.Future[Outcome | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((state, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        worker = self._worker
        either: set[asyncio.Future[Any]] = {future, worker}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not future.done():
                worker.result()  # raises what broke it
            return await future
        finally:
            future.cancel()  # if it is not done, nobody waits for it any more

    async def _work(self) -> None:
        """Answers those waiting until nobody is, each time when no more have come for a tick."""
        while self._waiting:
            count = -1
            while count != len(self._waiting):
                count = len(self._waiting)
                await asyncio.sleep(0)
            waiting = [one for one in self._waiting if not one[1].done()]
            due, self._waiting = waiting[: self._most], waiting[self._most :]
            asked = [state for state, _ in due if state is not None]
            answers = iter(self._answers(asked) if asked else ())
            for state, future in due:
                future.set_result(None if state is None else next(answers))
            await asyncio.sleep(0)
