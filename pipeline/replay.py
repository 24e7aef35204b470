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
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipeline import canvas
from pipeline.canvas import RENDERER
from pipeline.kept import Kept, Said
from pipeline.protocol import PROTOCOL, Family, Picture, clean, render
from pipeline.rollout import Limits, read_turn
from pipeline.spending import Spending
from pipeline.types import Fault, Policy, PolicyError, State, Stop, Turn

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

    async def act(self, state: State) -> Turn:
        """The next turn, asked for only if it is not kept.

        Raises:
            PolicyError: if it cannot be had, or could not the last time.
            ReplayError: if the file of turns is damaged or cannot be written.
        """
        key = self.key(state)
        said = self._kept.turn(key)
        if said is not None:
            self.spending.replay(said)
        else:
            said = await self._asked(state, key)
        turn = read_turn(
            state,
            said.text,
            self.family,
            truncated=said.truncated,
            ids=said.ids,
            logprobs=said.logprobs,
        )
        return turn if said.usage is None else replace(turn, usage=said.usage)

    async def _asked(self, state: State, key: bytes) -> Said:
        room = hashlib.sha256(key + str(self.limits.max_context).encode()).digest()[:16]
        if (reason := self._kept.failure(room)) is not None:
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

    def said(self, state: State) -> Said | None:
        """The turn after a state as it came, if it is kept."""
        return self._kept.turn(self.key(state))

    def key(self, state: State) -> bytes:
        """16 bytes that name all that decides the turn after a state."""
        digest, problem = self._start.copy(), state.problem
        facts: list[Any] = [problem.id, state.sample, len(state.turns)]
        for message in render(state, self.family, self.limits.turns(problem)):
            facts.append(message.role)
            for part in message.parts:
                if isinstance(part, Picture):
                    facts.append([canvas.identity(problem, state.views[part.k - 1])])
                else:
                    facts.append(part)
        digest.update(json.dumps(facts).encode())
        for turn in state.turns:  # prompts are made of them where they are known
            digest.update(b"-" if turn.ids is None else array("q", (len(turn.ids), *turn.ids)))
        return digest.digest()[:16]
