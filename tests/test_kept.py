"""The file of turns: what comes back is what went in, and a file that is not ours is refused."""

import asyncio
import math
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import kept
from pipeline.kept import Kept, ReplayError, Said
from pipeline.types import Usage

KEY = b"0123456789abcdef"
SAID = Said(
    "<think> Ja – «so». </think>\0", True, (5, 0, 151_645), (-0.1, -1e-300, 0.1 + 0.2),
    Usage(9, 8, 7, 6, 5, 4), 1.5,
)  # fmt: skip


def put(path: Path, key: bytes, said: Said, identity: str = "one") -> Said:
    with Kept.at(path) as file:
        return asyncio.run(file.keep(key, file.policy({"model": identity}), said))


def get(path: Path, key: bytes = KEY) -> Said | None:
    with Kept.at(path) as file:
        return file.turn(key)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "turns.sqlite"


@pytest.mark.parametrize("said", [SAID, Said(""), Said("x", ids=(), logprobs=())])
def test_a_turn_comes_back_to_the_last_bit(path: Path, said: Said) -> None:
    assert get(path) is None
    assert put(path, KEY, said) == said
    assert get(path) == said


def test_log_probabilities_that_are_no_numbers_come_back(path: Path) -> None:
    put(path, KEY, Said("x", logprobs=(-math.inf, math.nan)))
    found = get(path)
    assert found is not None
    assert found.logprobs is not None
    assert found.logprobs[0] == -math.inf
    assert math.isnan(found.logprobs[1])


def test_of_two_answers_to_one_question_the_first_holds_for_both(path: Path) -> None:
    with Kept.at(path) as one, Kept.at(path) as other:
        number = one.policy({"model": "one"})
        assert other.policy({"model": "one"}) == number
        assert asyncio.run(one.keep(KEY, number, Said("first"))) == Said("first")
        assert asyncio.run(other.keep(KEY, number, Said("second"))) == Said("first")
        assert other.turn(KEY) == one.turn(KEY) == Said("first")


def test_turns_that_finish_together_are_written_together(path: Path) -> None:
    async def keep_all(file: Kept) -> None:
        keys = [n.to_bytes(16) for n in range(100)]
        await asyncio.gather(*(file.keep(key, 1, Said(str(key))) for key in keys))

    with Kept.at(path) as file:
        said: list[str] = []
        file._base.set_trace_callback(said.append)
        asyncio.run(keep_all(file))
        assert said.count("COMMIT") == 1
        assert sum(line.startswith("INSERT") for line in said) == 100


def test_a_turn_whose_rollout_was_given_up_is_kept_all_the_same(path: Path) -> None:
    async def give_up(file: Kept) -> None:
        task = asyncio.create_task(file.keep(KEY, 1, SAID))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    with Kept.at(path) as file:
        asyncio.run(give_up(file))
    assert get(path) == SAID


def test_a_failure_is_kept_until_it_is_forgotten(path: Path) -> None:
    with Kept.at(path) as file:
        one, other = file.policy({"model": "one"}), file.policy({"model": "other"})
        for key, number in ((b"a", one), (b"b", one), (b"c", other)):
            file.fail(key, number, "p", 0, 1, "HTTP 500")
        assert file.failure(b"a") == "HTTP 500"
        assert file.failure(b"d") is None
        assert file.forget_failures(one) == 2
        assert [file.failure(key) for key in (b"a", b"b", b"c")] == [None, None, "HTTP 500"]


def test_a_policy_is_forgotten_with_all_that_it_said(path: Path) -> None:
    put(path, b"a", SAID, "one")
    put(path, b"b", Said("x" * 1_000_000), "other")
    before = kept.size(path)
    with Kept.at(path) as file:
        first, second = file.holdings()
        assert (first.identity, first.turns, first.failures) == ({"model": "one"}, 1, 0)
        assert (second.identity, second.turns, second.bytes) == ({"model": "other"}, 1, 1_000_000)
        file.forget({"model": "other"})
        file.shrink()
        assert file.holdings() == [first]
    assert get(path, b"a") == SAID
    assert get(path, b"b") is None
    assert kept.size(path) < before / 5


def test_a_file_that_is_not_ours_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a data base, and longer than a header of SQLite is" * 9)
    with pytest.raises(ReplayError, match=r"turns\.sqlite is damaged .*: move it away"):
        Kept.at(path)
    path.unlink()
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE someone (else_ TEXT)")
    base.close()
    with pytest.raises(ReplayError, match="no file of turns: move it away"):
        Kept.at(path)


def test_a_file_of_another_schema_is_refused(path: Path) -> None:
    put(path, KEY, SAID)
    base = sqlite3.connect(path)
    base.execute("PRAGMA user_version = 7")
    base.close()
    with pytest.raises(ReplayError, match="has schema version 7, this code reads 1: move it away"):
        Kept.at(path)


@pytest.mark.parametrize(
    "change",
    [
        "text = 'other'",
        "ids = x'00'",
        "truncated = 0",
        "usage = x'00'",
        "text = x'ff'",
        "crc = 'a'",
    ],
)
def test_a_turn_that_is_not_as_it_was_written_is_not_replayed(path: Path, change: str) -> None:
    put(path, KEY, SAID)
    base = sqlite3.connect(path)
    base.execute(f"UPDATE turns SET {change}")
    base.commit()
    base.close()
    with pytest.raises(ReplayError, match="a turn is not as it was written"):
        get(path)


def test_a_file_with_garbage_in_the_middle_is_damaged(path: Path) -> None:
    with Kept.at(path) as file:
        for n in range(300):
            asyncio.run(file.keep(n.to_bytes(16), 1, Said("x" * 500)))
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(ReplayError, match="move it away"):
        get(path, (7).to_bytes(16))


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ReplayError, match=r"cannot be used: .*make room there"):
        Kept.at(tmp_path / "file" / "turns.sqlite")


def test_several_processes_fill_one_file(path: Path) -> None:
    code = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from pipeline.kept import Kept, Said\n"
        "async def fill(file, number):\n"
        "    for n in range(200):\n"
        "        key = n.to_bytes(16)\n"
        "        said = await file.keep(key, number, Said(f'{n} by {sys.argv[2]}'))\n"
        "        assert said == file.turn(key)\n"
        "with Kept.at(Path(sys.argv[1])) as file:\n"
        "    asyncio.run(fill(file, file.policy({'model': 'one'})))\n"
    )
    runs = [subprocess.Popen([sys.executable, "-c", code, str(path), str(n)]) for n in range(3)]
    assert [run.wait() for run in runs] == [0, 0, 0]
    with Kept.at(path) as file:
        (held,) = file.holdings()
    assert held.turns == 200


def test_a_file_that_another_process_has_locked_for_long_is_left_alone_with_the_remedy(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "BUSY_S", 0.05)
    with Kept.at(path) as file:
        number = file.policy({"model": "one"})
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ReplayError, match="start again when that has ended"):
            asyncio.run(file.keep(KEY, number, SAID))
        with pytest.raises(ReplayError, match="locked by another process"):
            file.fail(KEY, number, "p", 0, 0, "HTTP 500")
        other.close()
        assert asyncio.run(file.keep(KEY, number, SAID)) == SAID
