"""Every claim about the data's side, in one run: a Markdown table.

    python benchmarks/data.py [--million]

Each part runs in a process of its own, one after the other.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from measure import HEAD

PARTS = ("drawing", "grading", "making", "sifting", "storing", "replaying")

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--million", action="store_true", help="curate a million: minutes more")
    million = parser.parse_args().million
    print(HEAD, flush=True)
    for part in PARTS:
        script = str(Path(__file__).with_name(f"{part}.py"))
        more = ["--million"] if million and part == "sifting" else []
        done = subprocess.run([sys.executable, script, *more], stdout=subprocess.PIPE, check=True)
        print(done.stdout.decode().removeprefix(HEAD).strip(), flush=True)
