"""Every claim about the data's side, in one run: a Markdown table.

python benchmarks/data.py [--million]
"""

import argparse

import drawing
import grading
import making
import sifting
import storing
from measure import HEAD

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--million", action="store_true", help="curate a million: minutes more")
    million = parser.parse_args().million
    print(HEAD)
    for measured in (
        drawing.claims(),
        grading.claims(),
        making.claims(),
        sifting.claims(million),
        storing.claims(),
    ):
        for claim in measured:
            print(claim, flush=True)
