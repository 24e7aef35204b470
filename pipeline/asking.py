"""Who sits in a seat, ready to be asked: through the turns that are kept, where asking costs.

Guarantees: a backend is started when its first turn is due that is not kept, and so not at all when
everything is; it is closed when nobody asks any more, however that came: its engine is ended, its
connections are gone, and only then the file of turns is closed.
"""

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

from pipeline import spending, teachers
from pipeline.batching import BATCH, Answering, Batching, Outcome
from pipeline.kept import Kept
from pipeline.policies import Stage
from pipeline.protocol import Family
from pipeline.replay import Replayed
from pipeline.rollout import Limits
from pipeline.spending import Spending
from pipeline.store import Store
from pipeline.types import Closing, Policy, State, Turn
from pipeline.versions import Version

TURNS = "turns.sqlite"


def turns_file(store: Store) -> Path:
    """Where a store's turns are kept: in ``$DRAWLOOP_REPLAY``, else beside its assets, in replay/;
    those of an object store in its local cache."""
    given = os.environ.get("DRAWLOOP_REPLAY")
    return (Path(given) if given else store.desk / "replay") / TURNS


@asynccontextmanager
async def asking(
    stage: Stage, version: Version, seat: str, store: Store
) -> AsyncIterator[tuple[Policy, Spending]]:
    """The policy of a stage, and what it spends while it is asked.

    Raises:
        NoBackend: if no backend runs policies of that kind; from `act`, where its turns are kept.
        ReplayError: if the file of turns is damaged, foreign or cannot be written.
    """
    seed = version.model_seed(seat)
    if stage.policy.kind in teachers.CHEAP:
        yield teachers.policy(stage, version, seed), Spending()
        return

    def make() -> Policy:
        return teachers.policy(stage, version, seed)

    async with asked_once(make, stage, seed, version.limits, version.wire, store) as policy:
        yield policy, policy.spending


@asynccontextmanager
async def asked_once(
    make: Callable[[], Policy],
    stage: Stage,
    seed: int,
    limits: Limits,
    family: Family,
    store: Store,
) -> AsyncIterator[Replayed]:
    """A policy that costs something, through the turns of a store; made when it is first asked.

    Raises:
        ReplayError: if the file of turns is damaged, foreign or cannot be written.
    """
    identity = teachers.identity(stage, seed)
    assert identity is not None, "what is cheap is not kept"
    spent = Spending(spending.prices_of(stage.policy))
    with Kept.at(turns_file(store)) as turns:
        async with aclosing(_Late(make)) as late:
            batched = stage.policy.kind in teachers.BATCHED
            asked = Batching(late.answers, BATCH) if batched else late
            yield Replayed(asked, identity, turns, limits, family, spent)


class _Late:
    """A policy that is made when it is first asked."""

    def __init__(self, make: Callable[[], Policy]) -> None:
        self._make, self._made = make, list[Policy]()

    async def act(self, state: State) -> Turn:
        return await self._policy().act(state)

    def answers(self, states: Sequence[State]) -> Sequence[Outcome]:
        made = self._policy()
        assert isinstance(made, Answering), "its kind is said to answer by the batch"
        return made.answers(states)

    def _policy(self) -> Policy:
        if not self._made:
            self._made.append(self._make())
        return self._made[0]

    async def aclose(self) -> None:
        while self._made:
            if isinstance(made := self._made.pop(), Closing):
                await made.aclose()
