"""What a run tells while it goes: one JSON line a step, a progress bar, and Dagster where it listens."""

import json
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tqdm import tqdm

from trainers.checkpoint import unwritten, write_whole

METRICS = "metrics.jsonl"


class Record:
    """The metrics of a run. A run that resumes cuts off the lines of steps it will do again."""

    def __init__(self, out: Path, done: int, total: int, what: str, *, main: bool) -> None:
        self._main = main
        if not main:
            return
        path = out / METRICS
        kept = [line for line in _lines(path) if json.loads(line)["step"] <= done]
        write_whole(path, "".join(f"{line}\n" for line in kept).encode())
        self._file = path.open("a")
        self._bar = tqdm(total=total, initial=done, desc=what, unit="step", mininterval=5)

    def write(self, step: int, **numbers: Any) -> None:
        """One line; numbers that are not finite are written as null."""
        if self._main:
            line = {"step": step, **{k: _finite(v) for k, v in numbers.items()}}
            try:
                self._file.write(json.dumps(line) + "\n")
                self._file.flush()
            except OSError as error:
                raise unwritten(Path(self._file.name), error) from None

    def advance(self, **shown: float) -> None:
        if self._main:
            self._bar.set_postfix({k: f"{v:.3g}" for k, v in shown.items()}, refresh=False)
            self._bar.update()

    def __enter__(self) -> "Record":
        return self

    def __exit__(self, *_: object) -> None:
        if self._main:
            self._bar.close()
            with suppress(OSError):  # a line that could not be written was told of when it was
                self._file.close()


def _lines(path: Path) -> list[str]:
    """The whole lines; one that a kill cut off is left out."""
    if not path.exists():
        return []
    text = path.read_text()
    return text[: text.rfind("\n") + 1].splitlines()


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def tell_dagster(facts: Mapping[str, Any]) -> None:
    """Reports the end of a run to the asset that started it, where one did."""
    from dagster_pipes import PipesContext, open_dagster_pipes

    if "DAGSTER_PIPES_CONTEXT" not in os.environ:
        return
    with open_dagster_pipes():
        told = {
            name: {"raw_value": value, "type": "json"} if isinstance(value, Mapping) else value
            for name, value in facts.items()
        }
        PipesContext.get().report_asset_materialization(metadata=told)
