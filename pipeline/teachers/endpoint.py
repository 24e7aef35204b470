"""Any server that speaks OpenAI's chat completions, or many of them.

Guarantees: a turn is asked for until it is there, its retries are spent or no server answers; then
it is a `PolicyError` with the last reason. Each attempt goes through `servers`, so that no server is
driven harder than it can bear. What is sampled is seeded by problem, sample and turn, for servers
that heed seeds. The key is in the requests' header and nowhere else.
Does not: keep a model's own ids in the prompt. The server writes the turns so far anew from their
text: use a policy in process where that matters.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from pipeline import chat, protocol, tokens
from pipeline.client import Client, Secret, Trouble, trusted
from pipeline.protocol import Family
from pipeline.rollout import Limits, check_length, read_turn
from pipeline.sending import Pictures
from pipeline.servers import AllDown, Servers
from pipeline.throttle import Outcome, backoff_s
from pipeline.types import PolicyError, State, Turn, Usage

if TYPE_CHECKING:
    from pipeline.policies import EndpointPolicy, Sampling

TOGETHER = 8  # samples of a problem in one session: they share the pictures and the question


@dataclass(frozen=True, slots=True)
class _Lent:
    """What lives as long as one event loop."""

    loop: asyncio.AbstractEventLoop
    servers: Servers
    clients: tuple[Client, ...]


class Endpoint:
    """A `Policy` over the servers of an `EndpointPolicy`.

    Args:
        key: what authorises us; None: nothing does.
    """

    def __init__(
        self,
        policy: "EndpointPolicy",
        sampling: "Sampling",
        limits: Limits,
        family: Family,
        seed: int,
        key: str | None = None,
    ) -> None:
        self.policy, self.sampling, self.limits = policy, sampling, limits
        self.family, self.seed = family, seed
        self._key = Secret(key)
        self._pictures = Pictures(policy.encoding, policy.quality, policy.folder)
        self._life: AsyncGenerator[_Lent, None] | None = None
        self._lent: _Lent | None = None

    async def act(self, state: State) -> Turn:
        """The next turn.

        Raises:
            PolicyError: if the prompt alone is longer than the limits' context, or no server gave
                an answer that can be used.
        """
        most = self.limits.turns(state.problem)
        length = tokens.estimate(state, self.family, most)
        check_length(length, self.limits)
        lent = await self._here()
        random, used, why = Random(f"{self.seed}/backoff/{state.due}"), Usage(), ""
        for attempt in range(self.policy.retries + 1):
            if attempt and why:
                await asyncio.sleep(backoff_s(attempt - 1, random))
            used += Usage(requests=1, retries=int(attempt > 0), pictures=len(state.views))
            try:
                said = await self._asked(lent, state, length)
            except AllDown as error:
                not_sent = Usage(requests=-1, retries=-int(attempt > 0), pictures=-len(state.views))
                raise PolicyError(self._key.out_of(str(error)), used + not_sent) from None
            except Trouble as trouble:
                why = str(trouble) if trouble.outcome is not Outcome.BARRED else ""
                if trouble.final or attempt == self.policy.retries:
                    tried = f" ({attempt + 1} times)" if attempt else ""
                    raise PolicyError(f"{trouble}{tried}", used) from None
            else:
                return self._turn(state, said, used)
        raise AssertionError("the last attempt returns or raises")

    async def aclose(self) -> None:
        """Closes the connections."""
        if self._life is not None:
            await self._life.aclose()
        self._life = self._lent = None

    async def _asked(self, lent: _Lent, state: State, length: int) -> chat.Said:
        """One request, from its turn in the queue to the answer."""
        session = self._session(state)
        ticket = await lent.servers.enter(session)
        outcome, written, rest_s, why = Outcome.UNKNOWN, 0, None, ""
        try:
            body = await self._body(state)
            client = lent.clients[ticket.server]
            said = self._read(await client.ask(body, session, self.policy.timeout_s), length)
            outcome, written = Outcome.ANSWERED, said.completion_tokens
            return said
        except Trouble as trouble:
            outcome, rest_s, why = trouble.outcome, trouble.rest_s, str(trouble)
            raise
        finally:
            lent.servers.leave(ticket, outcome, tokens=written, rest_s=rest_s, why=why)

    def _read(self, body: bytes, length: int) -> chat.Said:
        asked = self.policy
        most = self.sampling.max_tokens
        try:
            said = chat.answer(body, chat.Expected(asked.model, asked.token_ids, most, length))
        except chat.Unusable as error:
            why = chat.brief(self._key.out_of(str(error)))
            raise Trouble(why, Outcome.FAILED, final=error.final) from None
        if self._key.within(said.text):
            raise Trouble("the answer holds the key it was asked with", Outcome.FAILED)
        return said

    async def _body(self, state: State) -> bytes:
        asked, sampling = self.policy, self.sampling
        fields: dict[str, object] = {
            **asked.extra,
            "model": asked.model,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            asked.limit_as: sampling.max_tokens,
            "seed": self._number(state.due),
        }
        if asked.token_ids:
            fields |= {"return_token_ids": True, "logprobs": True}
        messages = protocol.render(state, self.family, self.limits.turns(state.problem))
        return chat.request(messages, await self._pictures.urls(state), fields)

    def _number(self, due: str) -> int:
        digest = hashlib.sha256(f"{self.seed}/endpoint/{due}".encode()).digest()
        return int.from_bytes(digest[:4], "big") >> 1  # 31 bits, as every server takes

    def _session(self, state: State) -> str:
        some = f"{self.seed}/{state.problem.id}/{state.sample // TOGETHER}"
        return hashlib.sha256(some.encode()).hexdigest()[:32]

    def _turn(self, state: State, said: chat.Said, used: Usage) -> Turn:
        return read_turn(
            state,
            said.text,
            self.family,
            truncated=said.truncated,
            ids=said.ids,
            logprobs=said.logprobs,
            usage=used + Usage(said.prompt_tokens, said.completion_tokens, said.cached_tokens),
        )

    async def _here(self) -> _Lent:
        """The servers and clients of the loop that runs; closed when it ends, if not before."""
        if self._lent is None or self._lent.loop is not asyncio.get_running_loop():
            self._life = self._lend()
            self._lent = await anext(self._life)
        return self._lent

    async def _lend(self) -> AsyncGenerator[_Lent, None]:
        """A generator, because a loop closes those that are open when it shuts down."""
        asked, trust = self.policy, trusted()
        clients = tuple(Client(url, self._key, trust) for url in asked.servers)
        chance = Random(f"{self.seed}/servers")
        servers = Servers(asked.servers, asked.in_flight, asked.patience_s, chance)
        try:
            yield _Lent(asyncio.get_running_loop(), servers, clients)
        finally:
            for client in clients:
                await client.close()
