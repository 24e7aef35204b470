"""Who sits in a seat, ready to be asked: through the turns that are kept, where asking costs.

Guarantees: a backend is started when its first turn is due that is not kept, and so not at all when
everything is.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline import spending, teachers
from pipeline.kept import Kept
from pipeline.policies import Stage
from pipeline.replay import Replayed
from pipeline.spending import Spending
from pipeline.store import Store
from pipeline.types import Policy, State, Turn
from pipeline.versions import Version

TURNS = "turns.sqlite"


def turns_file(store: Store) -> Path:
    """Where a store's turns are kept: in ``$DRAWLOOP_REPLAY``, else beside its assets, in replay/;
    those of an object store in its local cache."""
    given = os.environ.get("DRAWLOOP_REPLAY")
    return (Path(given) if given else store.desk / "replay") / TURNS


@contextmanager
def asking(
    stage: Stage, version: Version, seat: str, store: Store
) -> Iterator[tuple[Policy, Spending]]:
    """The policy of a stage, and what it spends while it is asked.

    Raises:
        NoBackend: if no backend runs policies of that kind; from `act`, where its turns are kept.
        ReplayError: if the file of turns is damaged, foreign or cannot be written.
    """
    seed, spent = version.model_seed(seat), Spending(spending.prices_of(stage.policy))
    identity = teachers.identity(stage, seed)
    if identity is None:
        yield teachers.policy(stage, version, seed), spent
        return
    late = _Late(lambda: teachers.policy(stage, version, seed))
    with Kept.at(turns_file(store)) as kept:
        yield Replayed(late, identity, kept, version.limits, version.wire, spent), spent


class _Late:
    """A policy that is made when it is first asked."""

    def __init__(self, make: Callable[[], Policy]) -> None:
        self._make, self._made = make, list[Policy]()

    async def act(self, state: State) -> Turn:
        if not self._made:
            self._made.append(self._make())
        return await self._made[0].act(state)
