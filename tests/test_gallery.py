"""The gallery's files: what they hold, that they are the same every time, that texts are data."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from pipeline import canvas, curate, gallery, rows
from pipeline.decisions import Decision, fingerprint
from pipeline.exhibits import Exhibit, Group
from pipeline.gallery import GalleryError, Heading
from pipeline.images import encode
from pipeline.reflection import Tolerance
from pipeline.reward import Rules
from pipeline.rollout import retrace
from pipeline.types import KEPT, Answer, Problem, Step, Trajectory, Verdict
from tests.conftest import box, plain_problem, run

HOSTILE = [
    "<script>window.broken = 1</script>",
    "</script><script>window.broken = 2</script>",
    "<img src=x onerror='window.broken = 3'>",
    "\u2028\u2029 line \u202e reversed \u0000 nought \ufeff \u200b",
    "`${window.broken = 4}` \\\" ' \\u003c",
    "]]> --> <!-- <![CDATA[",
    "__proto__",
]


def drawn(problem: Problem, thought: str = "The cat.", label: str = "cat") -> Trajectory:
    ended = run(problem, [Step(thought, (box(20, 20, 80, 80, label),)), Answer("So A.", "A")])
    assert isinstance(ended, Trajectory)
    return ended


def exhibit(
    problem: Problem, told: Trajectory, verdict: Verdict | None = KEPT, version: str = "one",
    stage: str = "cold", writer: str = "teacher",
) -> Exhibit:  # fmt: skip
    (row,) = curate.grade([problem], [told], Rules(), Tolerance())
    grade = rows.grade_row(problem, row.score, row.solved, row.reflection)
    return Exhibit(version, stage, writer, told, grade, verdict)


def many(count: int) -> Iterator[Group]:
    for n in range(count):
        problem = plain_problem(
            id=f"plain-cold-{n:06d}",
            question=f"Question {n}?",
            images=(encode(np.full((112, 112, 3), n % 251, np.uint8)),),
            scene=None,
        )
        yield problem, [exhibit(problem, drawn(problem))]


def hung(folder: Path, groups: Sequence[Group], **decided: dict[str, Decision]) -> dict[str, Any]:
    gallery.write(folder, Heading("one"), groups, decided)
    return read(folder / "data/index.js")


def read(script: Path) -> Any:
    """What a script of the page hands over."""
    text = script.read_text(encoding="ascii")
    (told,) = re.fullmatch(r"gallery\.(?:open\(|take\(\d+, )(\".*\")\);\n", text).groups()  # type: ignore[union-attr]
    return json.loads(json.loads(told))


def test_a_record_has_all_that_a_trajectory_said_and_what_became_of_it(tmp_path: Path) -> None:
    problem = plain_problem(id="plain-cold-000001")
    told = drawn(problem)
    dropped = exhibit(problem, told, Verdict(False, "off_grid", "0.3 cells"))
    index = hung(tmp_path / "page", [(problem, [dropped])])
    (record,) = read(tmp_path / "page/data/part-00000.js")["records"]
    assert record["id"] == "plain-cold-000001#0"
    assert record["verdict"] == [False, "off_grid", "0.3 cells"]
    assert record["texts"] == fingerprint(told)
    step, answer = record["turns"]
    assert (step["thought"], answer["answer"]) == ("The cat.", "A")
    assert step["ops"] == [{"type": "box", "k": 1, "p": [20, 20, 80, 80], "label": "cat"}]
    assert step["views"][0][:2] == [2, 1]
    words = {name: some for name, _, some in index["facets"]}
    assert words["reason"] == ["off_grid"]
    assert words["verdict"] == ["dropped"]
    assert len(index["rows"]) == 1


def test_observations_and_the_truth_are_what_the_canvas_draws(tmp_path: Path) -> None:
    problem = plain_problem()
    told = drawn(problem)
    hung(tmp_path / "page", [(problem, [exhibit(problem, told)])])
    part = read(tmp_path / "page/data/part-00000.js")
    ((_, asked),) = part["problems"]
    name = part["records"][0]["turns"][0]["views"][0][2]
    wanted = canvas.pixels(problem, retrace(problem, told).views[1])
    assert np.abs(shown(tmp_path, name) - wanted.astype(int)).mean() < 4
    plain, truth = shown(tmp_path, asked["pictures"][0]), shown(tmp_path, asked["truth"][0])
    changed = np.abs(truth - plain).max(axis=2) > 60
    assert changed[18:23, 20:80].any()  # the cat's upper side
    assert changed[120:200, 120:124].any()  # the dog's left side, which nobody drew


def shown(folder: Path, name: str) -> np.ndarray:  # type: ignore[type-arg]
    with Pillow.open(folder / f"page/pictures/{name[:2]}/{name}.webp") as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def test_the_same_exhibits_give_the_same_bytes_with_any_number_of_workers(tmp_path: Path) -> None:
    files = []
    for name, workers in (("a", 1), ("b", 2), ("a", 2)):
        gallery.write(tmp_path / name, Heading("one"), many(40), {}, workers)
        found = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        files.append({str(p.relative_to(tmp_path / name)): p.read_bytes() for p in found})
    assert files[0] == files[1] == files[2]
    assert len([name for name in files[0] if name.endswith(".webp")]) == 80


def test_a_picture_that_many_show_lies_there_once(tmp_path: Path) -> None:
    problem = plain_problem()
    told = drawn(problem)
    groups = [(problem, [exhibit(problem, told, version=v) for v in ("one", "two")])] * 3
    hung(tmp_path / "page", groups)
    assert len([*(tmp_path / "page/pictures").rglob("*.webp")]) == 3  # input, truth, drawing


def test_versions_that_ask_the_same_meet_and_those_that_share_an_id_do_not(tmp_path: Path) -> None:
    same, other = plain_problem(), plain_problem(question="Another?")
    groups = [
        (problem, [exhibit(problem, drawn(problem), version=version)])
        for problem, version in ((same, "one"), (same, "two"), (other, "two"))
    ]
    index = hung(tmp_path / "page", groups)
    names = [index["problems"][row[10]][1] for row in index["rows"]]
    assert names[0] == names[1] != names[2]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_leaves_no_script_and_comes_back_as_it_was(tmp_path: Path, text: str) -> None:
    problem = plain_problem(question=text, options=(text, "dog"), task=text, conclusion=text)
    told = drawn(problem, thought=f"x {text}", label=f"l {text}".replace("\0", ""))
    hung(tmp_path / "page", [(problem, [exhibit(problem, told, Verdict(False, text, text))])],
         one={"x": Decision(True, note=text)})  # fmt: skip
    for script in (tmp_path / "page/data").iterdir():
        raw = script.read_bytes()
        assert raw.isascii()
        assert not set(raw) & {ord("<"), ord(">"), 0}
        assert raw.count(b"\n") == 1
    part = read(tmp_path / "page/data/part-00000.js")
    assert part["problems"][0][1]["question"] == text
    assert part["records"][0]["verdict"] == [False, text, text]
    assert text.strip() in part["records"][0]["turns"][0]["text"]


def test_a_megabyte_of_text_has_a_part_of_its_own(tmp_path: Path) -> None:
    groups = list(many(3))
    problem = groups[1][0]
    told = run(problem, ["<a>" * 350_000])
    assert isinstance(told, Trajectory)
    groups[1] = (problem, [exhibit(problem, told)])
    hung(tmp_path / "page", groups)
    parts = [*(tmp_path / "page/data").glob("part-*")]
    assert len(parts) == 2
    index = (tmp_path / "page/data/index.js").stat().st_size
    assert index < 10_000


def test_parts_are_small_and_the_index_says_where_everything_lies(tmp_path: Path) -> None:
    index = hung(tmp_path / "page", list(many(150)))
    parts = [read(path)["records"] for path in sorted((tmp_path / "page/data").glob("part-*"))]
    assert max(map(len, parts)) <= gallery.PART_ROWS
    for row in index["rows"]:
        *_, problem, part, place, sample, _, _ = row
        assert parts[part][place]["id"] == f"{index['problems'][problem][0]}#{sample}"


def test_earlier_decisions_are_on_the_page(tmp_path: Path) -> None:
    index = hung(tmp_path / "page", list(many(1)), one={
        "b": Decision(False, "why", "00ff"), "a": Decision(True)
    })  # fmt: skip
    assert index["decisions"] == [["one", [["a", True, "", ""], ["b", False, "why", "00ff"]]]]


def test_a_gallery_takes_the_place_of_a_gallery_and_of_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    hung(folder, list(many(2)))
    hung(folder, list(many(1)))
    assert len([*folder.rglob("*.webp")]) == 2
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    with pytest.raises(GalleryError, match="is no gallery: name another place"):
        hung(tmp_path / "mine", list(many(1)))
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_what_fails_on_the_way_leaves_the_gallery_that_was_there(tmp_path: Path) -> None:
    def failing() -> Iterator[Group]:
        yield from many(20)
        raise curate.Unmatched("out of order")

    hung(tmp_path / "page", list(many(1)))
    before = (tmp_path / "page/data/index.js").read_bytes()
    with pytest.raises(curate.Unmatched):
        gallery.write(tmp_path / "page", Heading("one"), failing(), {})
    assert (tmp_path / "page/data/index.js").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["page"]


def test_the_page_may_load_nothing_and_run_nothing_but_its_own_files() -> None:
    page = (gallery.PAGE / "index.html").read_text()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert not re.search(r"<script(?! src=)|\son\w+=|style=", page)
    code = "".join(path.read_text() for path in gallery.PAGE.glob("*.js"))
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", code)
