"""A gallery of 10,000 trajectories: how long it takes to make, to open, to filter and to search.

    python benchmarks/gallery.py            # needs Debian's chromium, and playwright

The oracle draws on the first problems of the version `oracles`; a page of its trajectories is written
with every core, and opened in Chromium as a file, with nothing in its cache. "Usable" is when the list
is drawn and the first trajectory is looked for, by the page's own mark on the Performance API's clock.
"""

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from statistics import median
from typing import Any

from pipeline import curate, gallery, problems, rows, teachers
from pipeline.exhibits import Exhibit, Group
from pipeline.gallery import Heading
from pipeline.rollout import rollout
from pipeline.types import KEPT, Failure, Problem, Trajectory
from pipeline.versions import Version, load

SAMPLES = 4
OPENED = 5  # times; the median is told
VERDICTS = (KEPT, curate.Verdict(False, "wrong", "S_correct 0"))
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
STEPS = {
    "filter by verdict": "() => pick('verdict', 'dropped')",
    "filter by reflection": "() => pick('reflection', 'strict')",
    "clear all filters": "() => { press('c'); }",
    "next trajectory, drawn": "async () => { press('j'); await drawn(); }",
    "jump to the last, drawn": "async () => { press('End'); await drawn(); }",
    "first search (reads all texts)": "() => search('orange')",
    "another search": "() => search('yellow')",
}
HELP = """
window.press = (key) => document.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}));
document.matches = () => false;
window.pick = (name, value) => {
  const select = document.querySelector(`select[name=${name}]`);
  select.value = value;
  select.dispatchEvent(new Event('change'));
};
window.drawn = () => new Promise((done) => {
  new MutationObserver((_, seen) => { seen.disconnect(); done(); })
    .observe(document.getElementById('detail'), {childList: true});
});
window.search = (words) => new Promise((done) => {
  const said = document.getElementById('count'), box = document.getElementById('search');
  box.value = words;
  new MutationObserver((_, seen) => {
    if (said.textContent.includes('searched')) return;
    seen.disconnect();
    done();
  }).observe(said, {childList: true});
  box.dispatchEvent(new Event('input'));
});
"""


def main(count: int = 10_000) -> None:
    version = load("oracles")
    with tempfile.TemporaryDirectory() as desk:
        began = time.perf_counter()
        groups = list(_groups(version, count // SAMPLES))
        print(f"the oracle wrote {count:,} trajectories in {time.perf_counter() - began:.0f} s")
        page = Path(desk) / "page"
        before, began = getrusage(RUSAGE_SELF).ru_maxrss, time.perf_counter()
        shown = gallery.write(page, Heading("oracles"), iter(groups), {"oracles": {}}, workers=2)
        took = time.perf_counter() - began
        grown = (getrusage(RUSAGE_SELF).ru_maxrss - before) / 1024
        files = [path.stat().st_size for path in page.rglob("*") if path.is_file()]
        pictures = len([*page.rglob("*.webp")])
        index = (page / gallery.INDEX).stat().st_size
        print(f"| made, two cores | {took:.0f} s: {shown / took:.0f} trajectories a second |")
        print(f"| memory it grew by | {grown:.0f} MB |")
        print(f"| {pictures:,} pictures, all files | {sum(files) / 1e6:.0f} MB |")
        print(f"| index, read on opening | {index / 1e6:.1f} MB |")
        for name, value in _opened(page).items():
            print(f"| {name} | {value:.0f} ms |")


def _groups(version: Version, count: int) -> Iterator[Group]:
    """Problems with their graded trajectories, every second one as if it had been dropped."""
    asked = [problems.make(order) for order in islice(problems.orders(version, "cold"), count)]
    told = asyncio.run(_drawn(version, asked))
    graded = curate.grade(asked, told, version.rules, version.limits.repeats)
    shown: dict[str, tuple[Problem, list[Exhibit]]] = {}
    for n, row in enumerate(graded):
        grade = rows.grade_row(row.problem, row.score, row.solved, row.reflection)
        verdict = VERDICTS[n % 2]
        made = Exhibit(version.name, "cold", "teacher", row.trajectory, grade, verdict)
        shown.setdefault(row.problem.id, (row.problem, []))[1].append(made)
    yield from shown.values()


async def _drawn(version: Version, asked: list[Problem]) -> list[Trajectory]:
    policy = teachers.policy(version.teacher, version, version.seed)
    runs = rollout(policy, asked, SAMPLES, version.limits, version.wire)
    return [run async for run in runs if not isinstance(run, Failure)]


def _opened(folder: Path) -> dict[str, float]:
    """Milliseconds: from the start of loading to a usable list, then of each step."""
    from playwright.sync_api import sync_playwright

    found: dict[str, list[float]] = {}
    with sync_playwright() as playwright:
        for _ in range(OPENED):
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=FLAGS
            )
            page = browser.new_page(viewport={"width": 1280, "height": 860})
            page.goto((folder / "index.html").as_uri())
            page.locator(".trajectory").wait_for()
            timing: dict[str, Any] = page.evaluate("""() => ({
                'opened: the list is usable': performance.getEntriesByName('usable')[0].startTime,
                'first picture painted': performance.getEntriesByName(
                    'first-contentful-paint')[0].startTime,
            })""")
            page.evaluate(HELP)
            for name, step in STEPS.items():
                timing[name] = page.evaluate(
                    f"async () => {{ const at = performance.now(); await ({step})(); "
                    "return performance.now() - at; }"
                )
            for name, value in timing.items():
                found.setdefault(name, []).append(value)
            browser.close()
    return {name: median(values) for name, values in found.items()}


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
