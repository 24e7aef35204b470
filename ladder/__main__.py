"""Measures the arms that have not been measured, and writes docs/ladder.md: what `make ladder` runs.

    python -m ladder [--arms cold "cold + reflective"] [--repetitions 0 1] [--report]

Records are kept in ladder/results.json, and one that is there is not measured again unless what
decides it has changed. What is built lies in a store of its own, `ladder` in the usual one.
"""

import argparse
import json
from pathlib import Path

from ladder.arms import ARMS, EVERY, VERSION
from ladder.measure import Measuring, Record, key, measure, version_of
from ladder.report import report
from pipeline.store import Store
from pipeline.versions import load

HERE = Path(__file__).parent
RESULTS, REPORT = HERE / "results.json", HERE.parent / "docs" / "ladder.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arms", nargs="+", choices=[arm.name for arm in ARMS])
    parser.add_argument("--repetitions", nargs="+", type=int, default=EVERY)
    parser.add_argument("--report", action="store_true", help="from what is there; measure nothing")
    given = parser.parse_args()
    store = Store.at(f"{Store.at().root}/ladder")
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"seconds": {}, "records": []}
    using = Measuring(load(VERSION), store, kept["seconds"], lambda line: print(line, flush=True))
    for repetition in given.repetitions if not given.report else ():
        for arm in ARMS:
            if repetition not in arm.repetitions or (given.arms and arm.name not in given.arms):
                continue
            version = version_of(arm, repetition, using)
            if any(record["key"] == key(arm, version) for record in kept["records"]):
                continue
            using.tell(f"{arm.name}, repetition {repetition}")
            record = measure(arm, repetition, version, using)
            kept["records"] = [r for r in kept["records"] if not _same(r, record)] + [record]
            RESULTS.write_text(json.dumps(kept, indent=None) + "\n")
    REPORT.write_text(report(kept["records"], using.main.description))
    print(f"written: {REPORT}")


def _same(old: Record, new: Record) -> bool:
    return (old["arm"], old["repetition"]) == (new["arm"], new["repetition"])


if __name__ == "__main__":
    main()
