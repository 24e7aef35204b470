"""Problems keep clear of near-duplicates, of what is evaluated on, and of external sets."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from assets.graph import NODES, address
from pipeline import problems
from pipeline.external import ExternalError
from pipeline.images import Pixels, decode, encode, png
from pipeline.mix import EVALUATED
from pipeline.problems import Clear, sample
from pipeline.types import KEPT, Problem
from pipeline.versions import Version, parse
from tests.conftest import plain_problem
from tests.test_problems import TEXT

DROP = TEXT.replace("problems:\n", "problems:\n  near_duplicates: drop\n")


def noise(seed: int) -> Pixels:
    """A picture with structure at every scale, unlike that of any other seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (8, 8, 3), np.uint8)
    return np.kron(coarse, np.ones((28, 28, 1), np.uint8))


def photo(name: str, pixels: Pixels, **changes: object) -> Problem:
    """A problem on a picture whose scene nobody knows."""
    return plain_problem(id=name, images=(encode(pixels),), scene=None, gold=(), **changes)


def brighter(pixels: Pixels) -> Pixels:
    return np.clip(pixels.astype(int) + 6, 0, 255).astype(np.uint8)


def beside(tmp_path: Path, **more: object) -> Version:
    """A version that keeps clear of a set of two rows, one of them without its picture."""
    (tmp_path / "a.png").write_bytes(png(noise(1)))
    rows = [{"q": "How many?", "pic": "a.png"}, {"q": "And here?", "pic": "gone.png"}]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "bench.jsonl").write_text(lines)
    where = {"path": str(tmp_path / "bench.jsonl"), "question": "q", "pictures": ["pic"], **more}
    return parse(
        "test", TEXT.replace("problems:\n", f"problems:\n  clear_of: [{json.dumps(where)}]\n")
    )


def test_of_near_duplicates_the_first_stays_and_another_question_is_no_duplicate() -> None:
    clear = Clear(parse("test", DROP))
    assert clear.verdict("cold", photo("p1", noise(1))) == KEPT
    found = clear.verdict("skills", photo("p2", brighter(noise(1))))
    assert (found.keep, found.reason) == (False, "near_duplicate")
    assert "p1" in found.detail
    asks_else = photo("p3", brighter(noise(1)), question="How many animals are there in all?")
    assert clear.verdict("skills", asks_else) == KEPT
    assert clear.verdict("skills", photo("p4", noise(2))) == KEPT


def test_nothing_is_looked_for_unless_a_version_asks() -> None:
    clear = Clear(parse("test", TEXT))
    for name in ("p1", "p2"):
        assert clear.verdict("cold", photo(name, noise(1))) == KEPT


@pytest.mark.parametrize("split", EVALUATED)
def test_what_is_evaluated_on_is_kept_clear_of_by_a_wider_margin(split: str) -> None:
    cut = noise(3)[5:-5, 5:-5]
    near, clear = photo("p2", cut), Clear(parse("test", DROP))
    assert clear.verdict("cold", photo("p1", noise(3))) == KEPT
    close = clear.verdict("cold", near)
    clear = Clear(parse("test", DROP))
    assert clear.verdict(split, photo("p1", noise(3))) == KEPT
    wide = clear.verdict("cold", near)
    assert (wide.keep, wide.reason) == (False, "contaminated")
    assert close.reason in ("", "near_duplicate")


def test_an_external_set_is_kept_clear_of_whatever_is_asked_and_its_rows_are_counted(
    tmp_path: Path,
) -> None:
    version = beside(tmp_path)
    clear = Clear(version)
    assert clear.read == {str(tmp_path / "bench.jsonl"): {"picture_missing": 1, "read": 1}}
    found = clear.verdict("evaluation", photo("p1", brighter(noise(1))))
    assert (found.keep, found.reason) == (False, "contaminated")
    assert "bench.jsonl: bench.jsonl:1" in found.detail
    assert clear.verdict("evaluation", photo("p2", noise(2))) == KEPT
    milder = Clear(beside(tmp_path, same_question=True))
    assert milder.verdict("evaluation", photo("p1", noise(1))) == KEPT
    same = photo("p1", noise(1), question="How many?")
    assert milder.verdict("evaluation", same).reason == "contaminated"


def test_a_set_that_is_not_there_or_lacks_a_column_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ExternalError, match="no column 'text'"):
        Clear(beside(tmp_path, question="text"))
    version = beside(tmp_path)
    (tmp_path / "bench.jsonl").unlink()
    with pytest.raises(ExternalError, match=r"bench\.jsonl is not there"):
        address("problems", version)


def test_a_set_of_which_no_row_can_be_compared_with_is_refused(tmp_path: Path) -> None:
    version = beside(tmp_path)
    (tmp_path / "a.png").unlink()
    with pytest.raises(ExternalError, match=r"none of its rows .*\(picture_missing 2\): mend"):
        Clear(version)
    (tmp_path / "bench.jsonl").write_text("")
    with pytest.raises(ExternalError, match=r"none of its rows .*\(it is empty\): mend"):
        Clear(version)


def test_the_content_of_an_external_set_decides_the_problems_and_its_place_does_not(
    tmp_path: Path,
) -> None:
    places = []
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        places.append(beside(tmp_path / folder))
    assert address("problems", places[0]) == address("problems", places[1])
    before = {asset: address(asset, places[1]) for asset in NODES}
    with (tmp_path / "there" / "bench.jsonl").open("a") as file:
        file.write('{"q": "More?", "pic": "a.png"}\n')
    after = {asset: address(asset, places[1]) for asset in NODES}
    assert before["problems"] != after["problems"]


def test_problems_that_are_dropped_are_made_up_for_and_come_out_with_their_reason(
    tmp_path: Path,
) -> None:
    target = next(p for split, p, _ in sample(parse("test", TEXT)) if split == "cold")
    assert isinstance(target, Problem)
    version = beside(tmp_path)
    (tmp_path / "a.png").write_bytes(png(decode(target.images[0])))
    rows = list(sample(version))
    dropped = [(p.id, v.reason) for _, p, v in rows if not v.keep]
    assert (target.id, "contaminated") in dropped
    assert Counter(split for split, _, v in rows if v.keep)["cold"] == 9


def test_near_scenes_of_a_task_are_told_apart_by_their_geometry() -> None:
    clear = Clear(parse("test", DROP))
    first = next(problems.make(o) for o in problems.orders(parse("test", TEXT), "cold"))
    assert first.scene is not None
    moved = replace(first, id="moved", scene=replace(first.scene, geometry="another"))
    assert clear.verdict("cold", first) == KEPT
    assert clear.verdict("cold", moved) == KEPT
    assert clear.verdict("cold", replace(first, id="again")).reason == "near_duplicate"
