"""Comparing as plain data, against counting by hand and against scipy."""

from collections import Counter
from random import Random
from statistics import fmean, median

import pytest
from scipy.stats import ks_2samp

from pipeline import compare
from pipeline.compare import Asked, Change, Judged, Met, Tally


def test_fields_that_differ_are_told_by_their_path_and_nothing_is_no_field() -> None:
    a = {"seed": 1, "wire": {"unit": 28, "rates": {}}, "sides": (1, 2), "base": None}
    b = {"seed": 1, "wire": {"unit": 32, "rates": {"slip": 0.5}}, "sides": [1, 2]}
    assert compare.changes(a, b) == [
        Change("wire.unit", 28, 32),
        Change("wire.rates.slip", None, 0.5),
    ]
    assert compare.changes(a, a) == []


def test_problems_are_matched_by_scene_whatever_their_split_and_id() -> None:
    def asked(split: str, name: str, scene: str) -> Asked:
        return Asked(split, "maze", name, scene.encode())

    a = [asked("cold", "m-1", "p"), asked("cold", "m-2", "q"), asked("rl", "m-3", "r")]
    b = [asked("cold", "m-1", "p"), asked("cold", "m-9", "r"), asked("rl", "m-2", "new")]
    met, same = compare.meet(a, b)
    assert met == [
        Met("cold", "maze", only_a=1, only_b=0, both=1, left=0, came=1),
        Met("rl", "maze", only_a=0, only_b=1, both=0, left=1, came=0),
    ]
    assert same == {compare.digest("m-1")}


def test_many_problems_are_counted_as_sets_count_them() -> None:
    rng = Random(1)
    sides = []
    for _ in range(2):
        scenes = rng.sample(range(400), 300)
        sides.append([
            Asked(rng.choice(["cold", "rl"]), "maze", str(n), str(n).encode()) for n in scenes
        ])  # fmt: skip
    places = [{asked.scene: asked.split for asked in side} for side in sides]
    met, _ = compare.meet(*sides)
    for one in met:
        mine, theirs = ({s for s, at in p.items() if at == one.split} for p in places)
        assert one.both == len(mine & theirs)
        assert one.only_a == len(mine - {*places[1]})
        assert one.only_b == len(theirs - {*places[0]})
        assert one.left == len((mine & {*places[1]}) - theirs)
        assert one.came == len((theirs & {*places[0]}) - mine)


def test_verdicts_are_paired_by_key_and_the_first_ids_are_the_examples() -> None:
    rng, verdicts = Random(2), ["kept", "wrong", "format"]
    sides = [
        [Judged(str(n).encode(), f"t{n}", rng.choice(verdicts)) for n in range(start, start + 80)]
        for start in (0, 20)
    ]
    before, after = ({row.id: row.verdict for row in side} for side in sides)
    pairs = Counter((before[name], after[name]) for name in before if name in after)
    told = compare.flows(*sides)
    assert {(flow.a, flow.b): flow.count for flow in told.flows} == pairs
    assert (told.only_a, told.only_b, told.both) == (20, 20, 60)
    assert [flow.count for flow in told.flows] == sorted(pairs.values(), reverse=True)
    for flow in told.flows:
        named = [
            row.id for row in sides[1] if (before.get(row.id), row.verdict) == (flow.a, flow.b)
        ]
        assert flow.examples == tuple(named[: compare.EXAMPLES])
    changed = {(flow.a, flow.b): flow.count for flow in told.changed}
    assert changed == {pair: count for pair, count in pairs.items() if pair[0] != pair[1]}
    assert 0 < len(changed) < len(pairs)


def test_the_distance_of_shares_is_what_would_have_to_change() -> None:
    a, b = Tally({"maze": 3, "views": 1}), Tally({"maze": 1, "chart": 1})
    assert compare.total_variation(a, b) == pytest.approx(0.5)  # 75, 25, 0 % and 50, 0, 50 %
    assert compare.total_variation(a, Tally({"maze": 6, "views": 2})) == 0
    assert compare.total_variation(a, Tally({"wires": 5})) == 1


def test_numbers_have_scipys_distance_and_the_textbook_mean_and_median() -> None:
    rng = Random(3)
    for sizes in ((1, 1), (2, 7), (40, 61), (200, 200)):
        a, b = ([round(rng.gauss(n, 2), 1) for _ in range(size)] for n, size in enumerate(sizes))
        (told,) = compare.distributions(
            "set", *(compare.tally(("turns", value) for value in side) for side in (a, b))
        )
        assert told.numbers
        assert (told.count_a, told.count_b) == sizes
        assert told.distance == pytest.approx(ks_2samp(a, b).statistic)
        assert told.a == pytest.approx({"mean": fmean(a), "median": median(a)})
        assert told.b == pytest.approx({"mean": fmean(b), "median": median(b)})


@pytest.mark.parametrize("numbers", [False, True])
def test_what_chance_alone_would_do_is_what_it_does_in_a_simulation(numbers: bool) -> None:
    rng = Random(4)
    values = [float(n) for n in range(500)] if numbers else list("abcdefg")
    measure = compare.gap if numbers else compare.total_variation
    apart, told = [], []
    for _ in range(200):
        a, b = Tally(rng.choices(values, k=60)), Tally(rng.choices(values, k=90))
        apart.append(measure(a, b))
        told.append(compare.by_chance(a, b, numbers))
    assert fmean(told) == pytest.approx(fmean(apart), rel=0.1)


def test_what_only_one_side_has_is_as_far_away_as_can_be_and_unknown_values_do_not_count() -> None:
    seen = compare.tally([("draw", 0.5), ("draw", None), ("task", "maze")])
    assert seen == {"draw": {0.5: 1}, "task": {"maze": 1}}
    told = {d.what: d for d in compare.distributions("cold_set", seen, {})}
    assert {name: (d.count_a, d.count_b, d.distance) for name, d in told.items()} == {
        "draw": (1, 0, 1), "task": (1, 0, 1),
    }  # fmt: skip
    assert (told["draw"].b, told["task"].b) == ({}, {})
