"""Turns that are asked for once: a `Policy` around another, which says again what it said before.

Guarantees: a turn is asked for again only if something changed that decides it, which is all that
its key is made of: who the policy is and how it samples, every message it is shown, the identity of
every picture in them, the ids of its earlier turns, problem and sample; on a hit nothing is drawn,
and the turn is the same to the last bit; a turn is kept before anyone acts on it; one that could not
be had is not tried again until its failure is forgotten.
Does not: know what a policy's identity is (whoever makes it says so), or stop two processes from
asking for the same turn at the same time: then the first answer holds for both.
"""

import hashlib
import json
import time
from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, zip_longest
from typing import Any

from pipeline import canvas
from pipeline.batching import Batching
from pipeline.canvas import RENDERER
from pipeline.grammar import clean
from pipeline.kept import Kept, Said
from pipeline.protocol import PROTOCOL, Family, Picture, opening, replies
from pipeline.rollout import Limits, read_turn
from pipeline.spending import Spending
from pipeline.types import Fault, Policy, PolicyError, Problem, State, Stop, Turn

KEY = 1  # raise it when a key is made of other things


class Replayed:
    """What a policy says, kept and replayed.

    Args:
        identity: all that decides what it says to a state, as JSON can hold it: the model and its
            revision or the hash of its weights, the sampling's numbers, the seed.
        spending: what is asked, replayed and asked in vain is added to it.
    """

    def __init__(
        self,
        policy: Policy,
        identity: Mapping[str, Any],
        kept: Kept,
        limits: Limits,
        family: Family,
        spending: Spending | None = None,
    ) -> None:
        self.policy, self.limits, self.family = policy, limits, family
        self.spending = spending or Spending()
        self._kept, self._number = kept, kept.policy(identity)
        versions = {"key": KEY, "protocol": PROTOCOL, "renderer": RENDERER}
        facts = {**versions, "unit": family.unit, "coordinates": family.coordinates}
        told = json.dumps([facts, dict(identity)], sort_keys=True)
        self._start = hashlib.sha256(told.encode())
        self._opened: tuple[Problem | None, hashlib._Hash] = (None, self._start)
        self._last: tuple[State | None, hashlib._Hash] = (None, self._start)

    async def act(self, state: State) -> Turn:
        """The next turn, asked for only if it is not kept.

        Raises:
            PolicyError: if it cannot be had, or could not the last time.
            ReplayError: if the file of turns is damaged or cannot be written.
        """
        key = self.key(state)
        said = self._kept.turn(key)
        if said is None:
            said = await self._asked(state, key)
        else:
            self.spending.replay(said)
            if await self._sat_in():
                await self._kept.go_along()
        return read_turn(
            state,
            said.text,
            self.family,
            truncated=said.truncated,
            ids=said.ids,
            logprobs=said.logprobs,
            usage=said.usage,
        )

    def forget_failures(self) -> None:
        """What could not be had is asked for again."""
        self._kept.forget_failures(self._number)

    async def _asked(self, state: State, key: bytes) -> Said:
        room = hashlib.sha256(key + str(self.limits.max_context).encode()).digest()[:16]
        if (reason := self._kept.failure(room)) is not None:
            await self._sat_in()
            raise PolicyError(reason)
        start = time.monotonic()
        try:
            turn = await self.policy.act(state)
        except PolicyError as error:
            self.spending.fail(error.usage)
            where = (state.problem.id, state.sample, len(state.turns))
            self._kept.fail(room, self._number, *where, str(error))
            raise
        cut = isinstance(turn.parsed, Fault) and turn.parsed.reason is Stop.TRUNCATED
        took = time.monotonic() - start
        said = Said(clean(turn.text), cut, turn.ids, turn.logprobs, turn.usage, took)
        self.spending.pay(said)
        return await self._kept.keep(key, self._number, said)

    async def _sat_in(self) -> bool:
        """Whether what is known has waited for its batch, as what others say hangs on that."""
        if isinstance(self.policy, Batching):
            await self.policy.sit_in()
            return True
        return False

    def said(self, state: State) -> Said | None:
        """The turn after a state as it came, if it is kept."""
        return self._kept.turn(self.key(state))

    def key(self, state: State) -> bytes:
        """16 bytes that name all that decides the turn after a state.

        Each turn adds to what named the state before it; the last two of those are at hand, for a
        trajectory that is replayed is so at one go, and its problem's other samples after it.
        """
        before, chain = self._last
        known = len(before.turns) if before is not None and _leads_to(before, state) else 0
        chain = chain.copy() if known else self._opening(state)
        told = islice(zip_longest(state.turns, self._replies(state)), known, None)
        for number, (turn, reply) in enumerate(told, start=known):
            _add(chain, turn.text)
            ids = () if turn.ids is None else (1, *turn.ids)  # prompts are made of them, if known
            chain.update(array("q", (len(ids), *ids)).tobytes())
            if reply is not None:
                self._show(chain, state, reply)
            chain.update(number.to_bytes(4))
        self._last = state, chain
        return chain.digest()[:16]

    def _opening(self, state: State) -> "hashlib._Hash":
        """What names a state before its first turn."""
        problem = state.problem
        asked, digest = self._opened
        if asked is not problem:
            digest = self._start.copy()
            _add(digest, problem.id)
            sizes = tuple(image.size for image in problem.images)
            for message in opening(problem.question, problem.options, sizes, self.family):
                _add(digest, message.role)
                self._show(digest, state, message.parts)
            self._opened = problem, digest
        chain = digest.copy()
        chain.update(state.sample.to_bytes(8))
        return chain

    def _replies(self, state: State) -> Iterator[tuple[str | Picture, ...]]:
        return replies(state, self.limits.turns(state.problem))

    def _show(self, chain: "hashlib._Hash", state: State, parts: Sequence[str | Picture]) -> None:
        """Adds a message to the model: its texts, and the identities of its pictures."""
        chain.update(len(parts).to_bytes(4))
        for part in parts:
            if isinstance(part, Picture):
                _add(chain, canvas.identity(state.problem, state.views[part.k - 1]))
            else:
                _add(chain, part)


def _leads_to(before: State, state: State) -> bool:
    """Whether a state is another one, gone on with."""
    return (
        before.problem is state.problem
        and before.sample == state.sample
        and len(before.turns) > 0
        and before.turns == state.turns[: len(before.turns)]
    )


def _add(chain: "hashlib._Hash", text: str) -> None:
    """A text with its length: none can be taken for two others."""
    written = text.encode("utf-8", "surrogatepass")
    chain.update(len(written).to_bytes(8))
    chain.update(written)
