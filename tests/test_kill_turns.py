"""A little of `tests.kill_turns`: sampling that is killed loses no turn, and asks for none twice."""

import subprocess
import sys
from pathlib import Path

from tests.kill_turns import asked_again, logged

ROOT = Path(__file__).parent.parent


def test_sampling_that_is_killed_goes_on_where_it_was() -> None:
    done = subprocess.run(  # in a process that has no threads yet, for it forks
        [sys.executable, "-m", "tests.kill_turns", "--kills", "5", "--seed", "1"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 killed" in done.stdout


def test_a_turn_that_is_asked_for_again_is_seen(tmp_path: Path) -> None:
    one, other = ("p", 0, 0), ("p", 0, 1)
    asked = [(1, one), (1, other), (2, other)]
    assert list(asked_again(asked, [(1, one)])) == []
    assert list(asked_again(asked, [(1, one), (2, one), (2, other)])) == []
    (again,) = asked_again(asked, [(1, one), (1, other)])
    assert again == "('p', 0, 1) was finished by client 1, and asked for again by 2"
    (twice,) = asked_again([*asked, (2, other)], [])
    assert twice == "('p', 0, 1) was asked for twice by client 2"
    log = tmp_path / "log"
    log.write_text('[1, "p", 0, 0]\n[1, "p", 0')
    assert logged(log) == [(1, one)]
