"""Measures the arms that have not been measured, and writes docs/ladder.md: what `make ladder` runs.

    python -m ladder [--arms cold "cold + reflective"] [--repetitions 0 1] [--report]

Records are kept in ladder/results.json, and one that is there is not measured again unless what
decides it has changed. What is built lies in a store of its own, ``$DRAWLOOP_LADDER``, else
./data/ladder.
"""

import argparse
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from assets.launch import Launch, TrainerFailed, process
from ladder.arms import ARMS, EVERY, VERSION, Arm
from ladder.measure import CannotMeasure, Measuring, Record, key, measure
from ladder.report import report
from pipeline.store import Store, StoreError
from pipeline.versions import load
from trainers.checkpoint import write_whole

HERE = Path(__file__).parent
RESULTS, REPORT = HERE / "results.json", HERE.parent / "docs" / "ladder.md"
NOTES = HERE / "notes.md"  # what the numbers say, in words: written by a person, part of the report


def kept() -> dict[str, Record]:
    """What has been measured, by arm and repetition."""
    found: dict[str, Record] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    return found


def keep(records: dict[str, Record]) -> None:
    """One line a record, so that a new one is a new line."""
    lines = [f"{json.dumps(place)}: {json.dumps(r)}" for place, r in sorted(records.items())]
    write_whole(RESULTS, ("{" + ",\n".join(lines) + "}\n").encode())


def main(arguments: Sequence[str] | None = None, launch: Launch = process) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arms", nargs="+", choices=[arm.name for arm in ARMS])
    parser.add_argument("--repetitions", nargs="+", type=int, default=EVERY)
    parser.add_argument("--report", action="store_true", help="from what is there; measure nothing")
    given = parser.parse_args(arguments)
    store = Store.at(os.environ.get("DRAWLOOP_LADDER") or "data/ladder")
    using = Measuring(load(VERSION), store, lambda line: print(line, flush=True), launch)
    for repetition in given.repetitions if not given.report else ():
        for arm in ARMS:
            if repetition in arm.repetitions and (not given.arms or arm.name in given.arms):
                _measure(arm, repetition, using)
    if current := _current(using):
        REPORT.write_text(report(current, using.main.description, NOTES.read_text()))
        print(f"written: {REPORT}")


def _measure(arm: Arm, repetition: int, using: Measuring) -> None:
    """Adds an arm's record unless it is there; an arm that cannot be measured does not end the rest."""
    place = f"{arm.name}, {repetition}"
    try:
        if kept().get(place, {}).get("key") == key(arm, repetition, using.main):
            return
        using.tell(place)
        record = measure(arm, repetition, using)
        keep({**kept(), place: record})  # as they are by now: others may measure beside this
    except (StoreError, TrainerFailed, CannotMeasure) as error:
        using.tell(f"{place} cannot be measured: {error}")


def _current(using: Measuring) -> list[Record]:
    """The records of the version as it is now, in the order of arms."""
    records, found = kept(), []
    for arm in ARMS:
        for repetition in arm.repetitions:
            record = records.get(f"{arm.name}, {repetition}")
            with suppress(StoreError):  # a tiny base that is not there now
                if record is not None and record["key"] == key(arm, repetition, using.main):
                    found.append(record)
    return found


if __name__ == "__main__":
    main()
