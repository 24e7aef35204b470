import io

import pytest

from pipeline import progress
from pipeline.progress import told


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_is_told_how_far_it_is_and_gets_every_item(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(progress, "EVERY_S", 0)
    screen = Terminal()
    assert list(told("abc", "letters", 3, screen)) == ["a", "b", "c"]
    said = screen.getvalue()
    assert said.startswith("\rletters: 1 of about 3, ")
    assert "\rletters: 3 of about 3, " in said
    assert said.count("\n") == 1
    assert said.endswith("\n")


def test_a_terminal_is_not_flooded() -> None:
    screen = Terminal()
    assert len(list(told(range(10_000), "numbers", 10_000, screen))) == 10_000
    assert screen.getvalue().count("\r") < 100


def test_a_file_is_told_nothing() -> None:
    log = io.StringIO()
    assert list(told("ab", "letters", 2, log)) == ["a", "b"]
    assert not log.getvalue()


def test_what_is_not_begun_is_not_counted() -> None:
    screen = Terminal()
    assert list(told([], "letters", 5, screen)) == []
    assert not screen.getvalue()
