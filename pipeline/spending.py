"""What sampling took: asked and paid for, replayed, and asked in vain; its pace, and what it cost."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pipeline.kept import Said
from pipeline.policies import Prices
from pipeline.types import Usage

MILLION = 1_000_000
NOTHING = Usage()


def prices_of(policy: Any) -> Prices | None:
    """Those that a version gives for a policy, if its kind has any."""
    return getattr(policy, "prices", None)


def cost(usage: Usage, prices: Prices) -> float:
    """Of tokens, in the currency of the prices; cached ones as the others where no price is theirs."""
    cached = prices.prompt if prices.cached is None else prices.cached
    fresh = usage.prompt_tokens - usage.cached_tokens
    prompt = fresh * prices.prompt + usage.cached_tokens * cached
    return (prompt + usage.completion_tokens * prices.completion) / MILLION


class Spending:
    """Turns and usage, added up as they come. Its clock runs from when it is made."""

    def __init__(self, prices: Prices | None = None) -> None:
        self.prices = prices
        self.paid, self.replayed, self.in_vain = NOTHING, NOTHING, NOTHING
        self.turns_paid = self.turns_replayed = self.turns_in_vain = 0
        self._start = time.monotonic()

    def pay(self, said: Said) -> None:
        self.turns_paid += 1
        self.paid += said.usage or NOTHING

    def replay(self, said: Said) -> None:
        self.turns_replayed += 1
        if said.usage is not None:
            self.replayed += said.usage

    def fail(self, usage: Usage) -> None:
        self.turns_in_vain += 1
        self.in_vain += usage

    @property
    def seconds(self) -> float:
        return max(time.monotonic() - self._start, 1e-6)

    @property
    def pace(self) -> float:
        """Tokens a second that were written for this piece of work, replayed ones apart."""
        return self.paid.completion_tokens / self.seconds

    @property
    def cost(self) -> float | None:
        """Of what was asked now, in vain or not; None where the version gives no prices."""
        return None if self.prices is None else cost(self.paid + self.in_vain, self.prices)

    def facts(self) -> dict[str, Any]:
        """For a manifest; nothing where the backend counts nothing: then they would only be timing.

        What was paid, replayed and asked in vain hangs on what happened, and so does the time: two
        builds of equal rows may differ in them.
        """
        if self.paid == self.replayed == self.in_vain == NOTHING:
            return {}
        told = {
            "paid": {"turns": self.turns_paid, **asdict(self.paid)},
            "replayed": {"turns": self.turns_replayed, **asdict(self.replayed)},
            "in_vain": {"turns": self.turns_in_vain, **asdict(self.in_vain)},
            "seconds": round(self.seconds, 3),
            "tokens_per_second": round(self.pace, 3),
        }
        if self.prices is not None:
            told["prices"] = self.prices.model_dump()
            told["cost"] = round(cost(self.paid + self.in_vain, self.prices), 6)
            told["cost_replayed"] = round(cost(self.replayed, self.prices), 6)
        return told


def added(several: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The `Spending.facts` of pieces of work, one after the other, as those of one.

    Their costs are added where all have prices, which may not be the same and are not told.
    """
    sides = ("paid", "replayed", "in_vain")
    told: dict[str, Any] = {
        side: {name: sum(one[side][name] for one in several) for name in several[0][side]}
        for side in sides
    }
    told["seconds"] = round(sum(one["seconds"] for one in several), 3)
    pace = told["paid"]["completion_tokens"] / max(told["seconds"], 1e-6)
    told["tokens_per_second"] = round(pace, 3)
    if all("cost" in one for one in several):
        for name in ("cost", "cost_replayed"):
            told[name] = round(sum(one[name] for one in several), 6)
    return told
