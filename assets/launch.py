"""Starting trainers: as processes, so that they may have another machine, and one at a time a folder.

    python -m assets.launch MODULE CONFIG

runs a trainer beside its configuration. Guarantees: no two trainers work in one folder, a second
waits and finds the first one's work; a trainer ends when whoever asked for it was killed, which
could not tell it to; the last of what it said to stderr is kept for the one who asked.
"""

import fcntl
import io
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

SAID, LOCK = "stderr.txt", "lock"  # beside the configuration
TAIL = 8192  # bytes of stderr that are kept

Launch = Callable[[str, Path], None]  # (module, configuration); raises `TrainerFailed`


class TrainerFailed(Exception):
    """A trainer that did not come to its end; the message is what it said of it."""


def command(module: str, config: Path) -> list[str]:
    (config.parent / SAID).unlink(missing_ok=True)
    return [sys.executable, "-m", "assets.launch", module, str(config)]


def process(module: str, config: Path) -> None:
    """A trainer on this machine, without Dagster.

    Raises:
        TrainerFailed: with its own words.
    """
    with subprocess.Popen(command(module, config)) as trainer:  # noqa: S603  our own
        try:
            code = trainer.wait()
        finally:
            trainer.terminate()
    if code:
        raise failed(module, config)


def piped(context: Any, client: Any) -> Launch:
    """Trainers through Dagster Pipes: by the client that the code location names, wherever it runs them.

    Raises:
        TrainerFailed: when called, with the trainer's own words.
    """
    from dagster import PreviewWarning
    from dagster._core.errors import DagsterPipesExecutionError  # it has no public name

    def launch(module: str, config: Path) -> None:
        try:
            with warnings.catch_warnings():  # Dagster's, of its own use of its own preview
                warnings.simplefilter("ignore", PreviewWarning)
                client.run(context=context, command=command(module, config))
        except DagsterPipesExecutionError:
            raise failed(module, config) from None

    return launch


def failed(module: str, config: Path) -> TrainerFailed:
    """The last line that a trainer said."""
    said = config.parent / SAID
    lines = said.read_text(errors="replace").splitlines() if said.exists() else []
    words = [line.strip() for line in lines if line.strip()]
    return TrainerFailed(words[-1] if words else f"{module} was ended before its time: start again")


def main() -> None:
    module, config = sys.argv[1], Path(sys.argv[2])
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    try:
        with (config.parent / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            code, said = _run(module, config, lock.fileno())
    except KeyboardInterrupt:
        sys.exit(130)
    (config.parent / SAID).write_bytes(said)
    sys.exit(code if code >= 0 else 128 - code)


def _run(module: str, config: Path, lock: int) -> tuple[int, bytes]:
    """(exit code, end of stderr) of a trainer; it inherits the lock, and keeps it if it outlives us."""
    trainer = subprocess.Popen(  # noqa: S603  our own
        [sys.executable, "-m", module, str(config)], stderr=subprocess.PIPE, pass_fds=(lock,)
    )
    try:
        said = _forwarded(trainer)
        return trainer.wait(), said
    finally:
        trainer.terminate()
        trainer.wait()


def _end_with(parent: int) -> None:
    """Ends this process and its trainer when the parent is gone."""
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _forwarded(trainer: "subprocess.Popen[bytes]") -> bytes:
    """Passes on what a trainer says, as it says it; the last of it."""
    said, stderr = b"", trainer.stderr
    assert isinstance(stderr, io.BufferedReader)
    while chunk := stderr.read1(TAIL):
        sys.stderr.buffer.write(chunk)
        sys.stderr.buffer.flush()
        said = (said + chunk)[-TAIL:]
    return said


if __name__ == "__main__":
    main()
