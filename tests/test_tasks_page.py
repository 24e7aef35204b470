"""The page of tasks is about all of them, and its pictures are there."""

import re
from pathlib import Path

import pytest

from docs import tasks as page
from pipeline.sources import SOURCES
from pipeline.tasks import TASKS

DOCS = Path(__file__).parent.parent / "docs"
TEXT = (DOCS / "tasks.md").read_text()
MAKERS = [*TASKS, *SOURCES]


def test_every_task_and_source_has_a_section_and_a_row_for_each_difficulty() -> None:
    assert re.findall(r"^## (\w+)$", TEXT, re.MULTILINE) == MAKERS
    for name in MAKERS:
        assert len(re.findall(rf"^\|{name}\|", TEXT, re.MULTILINE)) == 3, name


def test_every_picture_is_linked_once_and_small() -> None:
    linked = [DOCS / place for place in re.findall(r"!\[\w+\]\((.+?)\)", TEXT)]
    assert sorted(linked) == sorted((DOCS / "tasks").iterdir())
    assert all(place.stat().st_size <= 60_000 for place in linked)


def test_a_picture_is_made_the_same_again() -> None:
    for name in ("alignment", "mirror"):
        made = page.picture(page.pictured(name))
        assert (DOCS / "tasks" / f"{name}.webp").read_bytes() == made


@pytest.mark.parametrize("name", MAKERS)
def test_the_wording_of_every_question_is_found(name: str) -> None:
    problems = [page.difficulty.made(name, 0.5, f"test/{n}", "cold") for n in range(20)]
    sentences = list(page.wordings(page.module(name)))
    kinds = page.sorted_out(problems, sentences)
    assert sum(map(len, kinds)) == len(problems)
    assert all(wording for kind in kinds for wording, _ in kind)


def test_a_sentence_with_gaps_is_told_from_another_and_what_stands_around_does_not_matter() -> None:
    found = page.Wording("value", "What is the value of {first}?").found
    assert found("What is the value of P?") == 0
    assert found("Look. What is the value of P? Use two decimals.") == 5
    assert found("What is the number of P?") is None
