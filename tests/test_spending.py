from types import SimpleNamespace

import pytest

from pipeline.kept import Said
from pipeline.policies import Prices
from pipeline.spending import Spending, added, cost, prices_of
from pipeline.types import Usage

USED = Usage(1_000_000, 200_000, 400_000, 3, 2, 1)


def prices(prompt: float, completion: float, cached: float | None = None) -> Prices:
    return Prices(prompt=prompt, completion=completion, cached=cached)


def test_cost_is_that_of_fresh_cached_and_written_tokens() -> None:
    assert cost(USED, prices(2, 10, 0.5)) == pytest.approx(0.6 * 2 + 0.4 * 0.5 + 0.2 * 10)
    assert cost(USED, prices(2, 10)) == pytest.approx(2 + 2), "cached ones cost as the others"


def test_prices_are_those_that_a_version_gives() -> None:
    given = prices(1, 2, 0.1)
    assert prices_of(SimpleNamespace(prices=given)) == given
    assert prices_of(SimpleNamespace(prices=None)) is None
    assert prices_of(SimpleNamespace()) is None


def test_what_was_paid_replayed_and_asked_in_vain_is_added_up_apart() -> None:
    spending = Spending(prices(2, 10, 0.5))
    for _ in range(2):
        spending.pay(Said("x", usage=USED))
    spending.replay(Said("x", usage=USED))
    spending.fail(Usage(1_000_000, 0, 0, 1, 5, 4))
    facts = spending.facts()
    assert facts["paid"] == {
        "turns": 2, "prompt_tokens": 2_000_000, "completion_tokens": 400_000,
        "cached_tokens": 800_000, "pictures": 6, "requests": 4, "retries": 2,
    }  # fmt: skip
    assert (facts["replayed"]["turns"], facts["replayed"]["requests"]) == (1, 2)
    assert (facts["in_vain"]["turns"], facts["in_vain"]["retries"]) == (1, 4)
    assert facts["cost"] == pytest.approx(2 * 3.4 + 2.0), "what failed was paid, too"
    assert facts["cost_replayed"] == pytest.approx(3.4)
    assert facts["tokens_per_second"] > 0


def test_a_backend_that_counts_nothing_leaves_no_facts() -> None:
    spending = Spending()
    spending.pay(Said("x"))
    spending.replay(Said("x"))
    assert spending.facts() == {}
    assert spending.cost is None


def test_pieces_of_work_are_added_up_as_one() -> None:
    one, other = Spending(prices(2, 10, 0.5)), Spending(prices(1, 1))
    one.pay(Said("x", usage=USED))
    other.pay(Said("x", usage=USED))
    other.replay(Said("x", usage=USED))
    whole = added([one.facts(), other.facts()])
    assert whole["paid"]["turns"] == 2
    assert whole["paid"]["completion_tokens"] == 400_000
    assert whole["replayed"] == other.facts()["replayed"]
    assert whole["in_vain"]["turns"] == 0
    assert whole["cost"] == pytest.approx(3.4 + 1.2)
    assert whole["cost_replayed"] == pytest.approx(1.2)
    assert "prices" not in whole
    unpriced = Spending()
    unpriced.pay(Said("x", usage=USED))
    assert "cost" not in added([one.facts(), unpriced.facts()])
