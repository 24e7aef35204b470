"""Finished turns on disk: one SQLite file, which any number of processes of a machine may share.

Guarantees: a turn that `Kept.keep` has come back for outlives its process, however that ends; turns
that finish together are written together; of two processes that ask for the same turn the first to
finish wins, and both go on with its answer; what is damaged, or of another schema, is never replayed.
Does not: promise the last moment's turns after a loss of power (the file stays whole), or work on a
network's file system: SQLite's write-ahead log needs memory that its processes share.
"""

import asyncio
import fcntl
import json
import sqlite3
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from pipeline.store import ROOM, StoreError
from pipeline.types import Usage

SCHEMA = 1  # of the file: raise it when a column changes its meaning
APPLICATION = 0x64726C70  # marks the file as ours, as SQLite's header has room for
PAGE = 16_384  # bytes: several turns, whose log-probabilities take most of it
CACHE_KB = 65_536
BUSY_S = 60.0  # that a process waits for another's transaction
TABLES = """
CREATE TABLE policies (id INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE);
CREATE TABLE turns (
    key BLOB PRIMARY KEY, policy INTEGER NOT NULL, text TEXT NOT NULL, truncated INTEGER NOT NULL,
    ids BLOB, logprobs BLOB, usage BLOB, seconds REAL NOT NULL, crc INTEGER NOT NULL
);
CREATE TABLE failures (
    key BLOB PRIMARY KEY, policy INTEGER NOT NULL, problem TEXT NOT NULL, sample INTEGER NOT NULL,
    turn INTEGER NOT NULL, reason TEXT NOT NULL
);
"""
FIND = "SELECT text, truncated, ids, logprobs, usage, seconds, crc FROM turns WHERE key = ?"
KEEP = "INSERT OR IGNORE INTO turns VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
FAIL = "INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?, ?, ?)"
HOLDINGS = """
WITH t AS (
    SELECT policy, count(*) AS n, CAST(total(
        length(CAST(text AS BLOB)) + ifnull(length(ids), 0) + ifnull(length(logprobs), 0)
    ) AS INTEGER) AS size FROM turns GROUP BY policy
), f AS (SELECT policy, count(*) AS n FROM failures GROUP BY policy)
SELECT identity, ifnull(t.n, 0), ifnull(f.n, 0), ifnull(t.size, 0) FROM policies
LEFT JOIN t ON t.policy = policies.id LEFT JOIN f ON f.policy = policies.id ORDER BY policies.id
"""
LOST = "move it away, and what it held is asked again"


_Row = tuple[Any, ...]  # of the table of turns


class ReplayError(StoreError):
    """The file of turns is damaged, foreign or cannot be written; the message names the remedy."""


@dataclass(frozen=True, slots=True)
class Said:
    """A finished turn, as it came: what it takes to make the same `Turn` of it again."""

    text: str
    truncated: bool = False
    ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    usage: Usage | None = None
    seconds: float = 0.0  # that the backend took


class Holding(NamedTuple):
    """What a file holds of one policy."""

    identity: dict[str, Any]
    turns: int
    failures: int
    bytes: int  # of its turns


class Kept:
    """The turns in a file. ``with Kept.at(path) as kept``: what waits to be written is, at the end.

    Raises:
        ReplayError: from any method, if the file is damaged, foreign or cannot be written.
    """

    def __init__(self, path: Path, base: sqlite3.Connection) -> None:
        self.path, self._base = path, base
        self._waiting: list[tuple[_Row | None, asyncio.Future[Said | None]]] = []

    @staticmethod
    def at(path: Path) -> "Kept":
        """The file at a path, made if it is not there."""
        with _telling(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.with_name(f"{path.name}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # two that make it at once fail on each other's
                return Kept(path, _opened(path))

    def __enter__(self) -> "Kept":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._commit()
        finally:
            self._base.close()

    def policy(self, identity: Mapping[str, Any]) -> int:
        """The number that a policy's turns are kept under."""
        told = json.dumps(identity, sort_keys=True)
        with _telling(self.path):
            self._base.execute("INSERT OR IGNORE INTO policies (identity) VALUES (?)", (told,))
            found = self._base.execute("SELECT id FROM policies WHERE identity = ?", (told,))
            return int(found.fetchall()[0][0])

    def turn(self, key: bytes) -> Said | None:
        """The turn of a key, if it is kept."""
        try:
            found = self._base.execute(FIND, (key,)).fetchall()
            return _said(key, found[0]) if found else None
        except (sqlite3.Error, ValueError, TypeError, struct.error) as error:
            raise _wrong(self.path, error) from None

    def failure(self, key: bytes) -> str | None:
        """Why the turn of a key could not be had, if it was tried in vain."""
        with _telling(self.path):
            asked = self._base.execute("SELECT reason FROM failures WHERE key = ?", (key,))
            found = asked.fetchall()
        return str(found[0][0]) if found else None

    async def keep(self, key: bytes, policy: int, said: Said) -> Said:
        """Keeps a turn, with all others that finish now, and then comes back with it.

        Or with the one that another process kept under this key before.
        """
        return await self._committed(_row(key, policy, said)) or said

    async def go_along(self) -> None:
        """Comes back when a turn that finished now would: with those that are kept, if there are any."""
        await self._committed(None)

    async def _committed(self, row: _Row | None) -> Said | None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Said | None] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._commit)
        self._waiting.append((row, future))
        return await future

    def _commit(self) -> None:
        """Writes all turns that wait in one transaction, and lets those who brought them go on."""
        waiting, self._waiting = self._waiting, []
        try:
            before = self._written([row for row, _ in waiting])
        except ReplayError as error:
            told = [future for _, future in waiting if not future.done()]
            for future in told:
                future.set_exception(error)
            if not told:
                raise
            return
        for (_, future), earlier in zip(waiting, before, strict=True):
            if not future.done():  # a rollout that was given up
                future.set_result(earlier)

    def _written(self, rows: Sequence[_Row | None]) -> list[Said | None]:
        """Writes rows in one transaction; for each, what was under its key before."""
        if not any(rows):
            return [None] * len(rows)
        with _telling(self.path), self._transaction():
            return [None if row is None else self._was(row) for row in rows]

    def _was(self, row: _Row) -> Said | None:
        fresh = self._base.execute(KEEP, row).rowcount == 1
        return None if fresh else self.turn(row[0])

    def fail(
        self, key: bytes, policy: int, problem: str, sample: int, turn: int, reason: str
    ) -> None:
        """Keeps why a turn could not be had."""
        with _telling(self.path):
            self._base.execute(FAIL, (key, policy, problem, sample, turn, reason))

    def forget_failures(self, policy: int) -> int:
        """Forgets in what a policy failed, so that it is asked again; how often that was."""
        with _telling(self.path):
            return self._base.execute("DELETE FROM failures WHERE policy = ?", (policy,)).rowcount

    def forget(self, identity: Mapping[str, Any]) -> None:
        """Forgets all that a policy said."""
        policy = self.policy(identity)
        with _telling(self.path), self._transaction():
            for table, column in (("turns", "policy"), ("failures", "policy"), ("policies", "id")):
                self._base.execute(f"DELETE FROM {table} WHERE {column} = ?", (policy,))  # noqa: S608

    def shrink(self) -> None:
        """Gives the room of what was forgotten back to the disk."""
        with _telling(self.path):
            self._base.execute("VACUUM")

    def counts(self) -> tuple[int, int]:
        """How many turns and failures there are."""
        with _telling(self.path):
            asked = "SELECT (SELECT count(*) FROM turns), (SELECT count(*) FROM failures)"
            ((turns, failures),) = self._base.execute(asked).fetchall()
            return turns, failures

    def holdings(self) -> list[Holding]:
        """What is there, by policy, in the order in which they came. Reads the whole file."""
        with _telling(self.path):
            told = self._base.execute(HOLDINGS).fetchall()
            return [Holding(json.loads(identity), *numbers) for identity, *numbers in told]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._base.execute("BEGIN IMMEDIATE")
        with self._base:  # commits, or rolls back
            yield


def size(path: Path) -> int:
    """Bytes that the file and its log take."""
    files = (path, path.with_name(f"{path.name}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


def _opened(path: Path) -> sqlite3.Connection:
    with ExitStack() as unless_whole:
        base = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        unless_whole.callback(base.close)
        ((pages,),) = base.execute("PRAGMA page_count")
        ((mark,),) = base.execute("PRAGMA application_id")
        ((schema,),) = base.execute("PRAGMA user_version")
        if pages and mark != APPLICATION:
            raise ReplayError(f"{path} is no file of turns: {LOST}")
        if pages and schema != SCHEMA:
            raise ReplayError(
                f"{path} has schema version {schema}, this code reads {SCHEMA}: {LOST}, or use the "
                "code that wrote it"
            )
        base.execute(f"PRAGMA cache_size = {-CACHE_KB}")
        base.execute(f"PRAGMA page_size = {PAGE}")  # of a file that is made now
        # A commit is in the log, and so outlives the process; the disk is waited for at checkpoints.
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("PRAGMA synchronous = NORMAL")
        if not pages:
            marks = f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {SCHEMA};"
            base.executescript(f"BEGIN; {TABLES} {marks} COMMIT;")
        unless_whole.pop_all()
        return base


# Rows --------------------------------------------------------------------------------------------


def _row(key: bytes, policy: int, said: Said) -> _Row:
    usage = None if said.usage is None else _packed("q", astuple(said.usage))
    ids, logprobs = _packed("i", said.ids), _packed("d", said.logprobs)
    held = (said.text, int(said.truncated), ids, logprobs, usage, said.seconds)
    return (key, policy, *held, _crc(key, held))


def _said(key: bytes, row: Sequence[Any]) -> Said:
    """The turn of a row.

    Raises:
        ValueError: if it is not as it was written.
    """
    *held, crc = row
    if crc != _crc(key, held):
        raise ValueError("a turn is not as it was written")
    text, truncated, ids, logprobs, usage, seconds = held
    used = None if usage is None else Usage(*_unpacked("q", usage))
    unpacked = _unpacked("i", ids), _unpacked("d", logprobs)
    return Said(text, bool(truncated), *unpacked, used, seconds)


def _crc(key: bytes, held: Sequence[Any]) -> int:
    text, truncated, ids, logprobs, usage, seconds = held
    lengths = [None if blob is None else len(blob) for blob in (ids, logprobs, usage)]
    told = f"{truncated}/{seconds!r}/{lengths}/{text}".encode()
    return zlib.crc32(b"".join((key, told, ids or b"", logprobs or b"", usage or b"")))


def _packed(kind: str, numbers: Sequence[float] | None) -> bytes | None:
    """Numbers as bytes: i and q are whole, of 4 and 8 bytes, d as Python has them."""
    return None if numbers is None else struct.pack(f"<{len(numbers)}{kind}", *numbers)


def _unpacked(kind: str, packed: bytes | None) -> Any:
    if packed is None:
        return None
    return struct.unpack(f"<{len(packed) // struct.calcsize(kind)}{kind}", packed)


# Errors ------------------------------------------------------------------------------------------


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Turns what SQLite and the file system say into what a user can do."""
    try:
        yield
    except (sqlite3.Error, OSError, ValueError, TypeError, struct.error) as error:
        raise _wrong(path, error) from None


def _wrong(path: Path, error: Exception) -> ReplayError:
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
        return ReplayError(
            f"{path} has been locked by another process for {BUSY_S:.0f} s, as `drawloop prune --turns` "
            "does: start again when that has ended"
        )
    if isinstance(error, OSError | sqlite3.OperationalError):
        return ReplayError(f"{path} cannot be used: {error}; {ROOM}, or {LOST}")
    return ReplayError(f"{path} is damaged ({error}): {LOST}")
