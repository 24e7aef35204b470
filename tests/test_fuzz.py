"""A little of `tests.fuzz`, every time: broken turns and pictures come to typed results."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.grammar import parse
from pipeline.protocol import FAMILIES
from pipeline.types import Fault
from tests import fuzz
from tests.fuzz import attack, picture_case, picture_result, turn_case, turn_result


@settings(max_examples=400)
@given(st.randoms(use_true_random=False))
def test_a_broken_turn_comes_to_a_typed_result(rng: Random) -> None:
    turn_result(turn_case(rng))


@settings(max_examples=200)
@given(st.randoms(use_true_random=False))
def test_a_broken_picture_is_read_or_refused(rng: Random) -> None:
    picture_result(picture_case(rng))


@pytest.mark.parametrize("name", fuzz.SPOKEN)
def test_the_turns_that_are_broken_were_whole(name: str) -> None:
    for text in fuzz.turns(FAMILIES[name]):
        parsed = parse(text)
        assert not isinstance(parsed, Fault)
        assert parsed.lenient == ()


def test_the_pictures_that_are_broken_were_whole() -> None:
    assert {picture_result(data) for data in fuzz.pictures()} == {"read"}


def test_breaking_spares_some_and_spoils_others() -> None:
    seen = attack("turns", 1500, turn_case, turn_result, seed=1)
    assert seen.wrong == []
    expected = {"Step → goes on", "Step → bad_op", "Step → repeated_op", "Answer → answered"}
    assert expected | {"Fault → malformed"} == set(seen.results)
    assert 0 < seen.slowest < fuzz.SLOW["turns"]


def test_the_same_seed_breaks_alike() -> None:
    assert turn_case(Random(3)) == turn_case(Random(3))
    assert picture_case(Random(3)) == picture_case(Random(3))


def test_what_is_looked_for_is_found() -> None:
    def stumbling(case: str) -> str:
        raise KeyError(case)

    seen = attack("turns", 3, lambda rng: "text", stumbling, seed=0)
    assert len(seen.wrong) == 3
    assert "KeyError" in seen.wrong[0]
