"""The gallery in a real browser, opened as a file: filters, keys, search, decisions, hostile text."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline import decisions, gallery
from pipeline.decisions import Decision, fingerprint
from pipeline.exhibits import Group
from pipeline.gallery import Heading
from pipeline.types import Answer, Trajectory, Verdict
from tests.conftest import plain_problem, run
from tests.test_gallery import HOSTILE, drawn, exhibit, many

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium"),
]


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)


@pytest.fixture
def page(browser: "Browser") -> "Iterator[Page]":
    """A page of a profile of its own, which must have no error by the end of the test."""
    page = browser.new_page(viewport={"width": 1280, "height": 860})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.on("request", lambda asked: None if asked.url.startswith(("file:", "blob:"))
            else errors.append(asked.url))  # fmt: skip
    yield page
    assert errors == []
    assert page.evaluate("window.broken === undefined")
    page.context.close()


def open_page(page: "Page", folder: Path) -> None:
    page.goto(f"{(folder / 'index.html').as_uri()}")
    page.locator(".trajectory").first.wait_for()


def some() -> Iterator[Group]:
    """Six problems: of the first four the trajectories are kept, of the others dropped."""
    for n, (problem, (kept,)) in enumerate(many(4)):
        again = exhibit(problem, drawn(problem, f"Word{n} it is."), writer="cold_model",
                        stage="evaluation", verdict=None)  # fmt: skip
        yield problem, [kept, again]
    for n in (4, 5):
        problem = plain_problem(id=f"plain-cold-{n:06d}", task="maze", question=f"Question {n}?")
        told = run(problem, [Answer("Wrong.", "B")])
        assert isinstance(told, Trajectory)
        yield problem, [exhibit(problem, told, Verdict(False, "wrong", "S_correct 0"))]


@pytest.fixture
def shown(tmp_path: Path, page: "Page") -> Path:
    gallery.write(tmp_path / "page", Heading("one"), some(), {"one": {}})
    open_page(page, tmp_path / "page")
    return tmp_path / "page"


def count(page: "Page") -> str:
    return page.locator("#count").inner_text()


def looked_at(page: "Page") -> str:
    return page.locator("#detail h2").first.inner_text()


@pytest.mark.usefixtures("shown")
def test_filters_narrow_the_list_and_tell_how_many_each_word_has(page: "Page") -> None:
    assert count(page) == "10 of 10"
    page.select_option("select[name=verdict]", "dropped")
    assert count(page) == "2 of 10"
    assert looked_at(page) == "plain-cold-000004#0"
    options = page.locator("select[name=task] option").all_inner_texts()
    assert options == ["all", "plain (0)", "maze (2)"]
    page.select_option("select[name=task]", "plain")
    assert count(page) == "0 of 10"
    page.locator("#detail .empty").wait_for()
    page.locator("#list").focus()
    page.keyboard.press("c")
    assert count(page) == "10 of 10"
    page.select_option("select[name=stage]", "evaluation")
    assert count(page) == "4 of 10"
    page.select_option("select[name=answer]", "right")
    assert count(page) == "4 of 10"


@pytest.mark.usefixtures("shown")
def test_words_are_searched_everywhere_and_all_must_be_there(page: "Page") -> None:
    page.keyboard.press("/")
    for words, found in (
        ("word2", "1 of 10"), ("WORD2 it", "1 of 10"), ("word2 word3", "0 of 10"),
        ('"Question 4"', "1 of 10"), ("question", "10 of 10"), ("000005#0", "1 of 10"),
    ):  # fmt: skip
        page.fill("#search", words)
        page.wait_for_function(
            "wanted => document.getElementById('count').textContent === wanted", arg=found
        )
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement === document.body")


@pytest.mark.usefixtures("shown")
def test_keys_walk_decide_and_open_what_is_beside(page: "Page") -> None:
    def press(key: str) -> None:
        page.keyboard.press(key)
        page.wait_for_timeout(60)

    assert looked_at(page) == "plain-cold-000000#0"
    press("j")
    press("j")
    assert looked_at(page) == "plain-cold-000001#0"
    press("k")
    press("k")
    press("k")  # there is nothing above the first
    assert looked_at(page) == "plain-cold-000000#0"
    press("b")
    assert page.locator(".columns.two .trajectory").count() == 2
    press("Escape")
    assert page.locator(".trajectory").count() == 1
    press("a")
    assert page.locator(".accept.on").count() == 1
    assert "1 decided" in page.locator("#decided").inner_text()
    press("r")
    assert page.locator(".reject.on").count() == 1
    press("u")
    assert page.locator("#decided").inner_text() == ""
    press("j")  # of the evaluation: nothing to decide
    press("a")
    assert page.locator(".hand").count() == 0
    assert page.locator("#decided").inner_text() == ""
    press("?")
    assert page.locator("#help").is_visible()
    press("Escape")
    press("End")
    assert looked_at(page) == "plain-cold-000005#0"


def test_decisions_are_downloaded_as_curation_reads_them(page: "Page", tmp_path: Path) -> None:
    before = {
        "plain-cold-000001#0": Decision(False, "dull"),
        "elsewhere-cold-000009#3": Decision(True, "", "00ff"),
        "plain-cold-000002#0": Decision(True),
    }
    gallery.write(tmp_path / "page", Heading("one"), some(), {"one": before})
    open_page(page, tmp_path / "page")
    page.keyboard.press("a")
    page.keyboard.press("n")
    page.keyboard.type('fine "so" \\ 日本')
    page.keyboard.press("Escape")
    page.select_option("select[name='by hand']", "accepted")
    assert count(page) == "2 of 10"
    page.locator("#list").focus()
    page.keyboard.press("j")
    page.wait_for_timeout(100)
    assert looked_at(page) == "plain-cold-000002#0"
    page.keyboard.press("u")
    page.wait_for_timeout(100)
    with page.expect_download() as given:
        page.click("#download")
    assert given.value.suggested_filename == "one.decisions.jsonl"
    given.value.save_as(tmp_path / "list.jsonl")
    read = decisions.read(tmp_path / "list.jsonl")
    problem, (kept, _) = next(some())
    assert read == {
        "plain-cold-000000#0": Decision(True, 'fine "so" \\ 日本', fingerprint(kept.trajectory)),
        "plain-cold-000001#0": before["plain-cold-000001#0"],
        "elsewhere-cold-000009#3": before["elsewhere-cold-000009#3"],
    }
    assert read[f"{problem.id}#0"].is_about(kept.trajectory)
    written = (tmp_path / "list.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in written] == sorted(read)
    page.reload()
    page.locator(".accept.on").wait_for()
    assert "2 decided" in page.locator("#decided").inner_text()
    gallery.write(tmp_path / "page", Heading("one"), some(), {"one": read})
    page.reload()
    page.locator(".accept.on").wait_for()
    assert page.locator("#decided").inner_text() == ""  # the new page knows them


def test_a_decision_about_other_words_is_said_to_be_one(page: "Page", tmp_path: Path) -> None:
    old = {"one": {"plain-cold-000000#0": Decision(True, "", "00" * 16)}}
    gallery.write(tmp_path / "page", Heading("one"), some(), old)
    open_page(page, tmp_path / "page")
    assert "other words" in page.locator(".hand").inner_text()


def lines(path: Path, *rows: Any) -> Path:
    """A file of decisions; a text is a line as it is."""
    told = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(f"{line}\n" for line in told), encoding="utf-8")
    return path


def load(page: "Page", file: Path) -> str:
    """What the page says of a file that is chosen with its button."""
    with page.expect_file_chooser() as asked:
        page.click("#load")
    asked.value.set_files(file)
    page.locator("#load-dialog[open]").wait_for()
    return page.locator("#load-dialog").inner_text()


def test_decisions_from_a_file_are_seen_before_they_are_taken(page: "Page", tmp_path: Path) -> None:
    before = {"plain-cold-000003#0": Decision(True)}
    gallery.write(tmp_path / "page", Heading("one"), some(), {"one": before})
    open_page(page, tmp_path / "page")
    page.keyboard.press("a")
    theirs = lines(
        tmp_path / "one.decisions (1).jsonl",
        {"id": "plain-cold-000000#0", "keep": False, "note": "<b>theirs</b>"},
        {"id": "plain-cold-000001#0", "keep": True, "texts": "00ff"},
        "",
        {"id": "plain-cold-000003#0", "keep": True},
        {"id": "elsewhere-cold-000009#3", "keep": False},
    )
    said = load(page, theirs)
    for line in ("2 new here", "1 decided otherwise here", "1 decided alike here",
                 "1 of these about no trajectory that is judged on this page"):  # fmt: skip
        assert line in said
    page.keyboard.press("Escape")
    assert "1 decided" in page.locator("#decided").inner_text()  # nothing was taken
    load(page, theirs)
    page.click("text=Take what is new, keep mine")
    assert "3 decided" in page.locator("#decided").inner_text()
    assert page.locator(".accept.on").count() == 1
    load(page, theirs)
    page.click("text=Take all of the file")
    page.locator(".reject.on").wait_for()
    assert page.locator(".note").input_value() == "<b>theirs</b>"
    assert page.locator("#rows .by-hand").all_inner_texts() == ["rejected", "accepted", "accepted"]
    page.reload()
    page.locator(".reject.on").wait_for()
    with page.expect_download() as given:
        page.click("#download")
    given.value.save_as(tmp_path / "list.jsonl")
    assert decisions.read(tmp_path / "list.jsonl") == {**before, **decisions.read(theirs)}
    assert "Close" in load(page, theirs)  # all alike by now
    page.click("text=Close")
    page.click("#forget")
    assert page.locator("#decided").inner_text() == ""


ROW = {"id": "plain-cold-000000#0", "keep": True}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([ROW, "{'id'"], "line 2: not JSON"),
        (["[" * 100_000], "line 1: not JSON"),
        (["\ufeff", ROW, "7"], "line 3: an object is needed"),
        (["null"], "line 1: an object is needed"),
        ([[ROW]], "line 1: an object is needed"),
        ([{**ROW, "why": 1}], 'line 1: no field "why"; there are id, keep, note, texts'),
        ([{**ROW, "__proto__": {"keep": True}}], 'line 1: no field "__proto__"'),
        ([{"keep": True}], "line 1: id is missing"),
        ([{"id": "x"}], "line 1: keep is missing"),
        ([{**ROW, "keep": 1}], "line 1: keep: true or false is needed"),
        ([{**ROW, "id": ["x"]}], "line 1: id: a text is needed"),
        ([{**ROW, "note": None}], "line 1: note: a text is needed"),
        ([ROW, ROW], "is decided a second time"),
        ([{**ROW, "<script>window.broken = 9</script>": 1}], "<script>window.broken = 9</script>"),
    ],
    ids=range(14),
)
def test_a_wrong_file_of_decisions_is_refused_whole_with_its_line(
    shown: Path, page: "Page", tmp_path: Path, rows: list[Any], said: str
) -> None:
    told = load(page, lines(tmp_path / "list.jsonl", *rows))
    assert said in told
    assert "Nothing was taken." in told
    page.click("text=Close")
    assert page.locator("#decided").inner_text() == ""
    assert page.locator("dialog script").count() == 0
    with pytest.raises(decisions.DecisionError):  # as curation does
        decisions.read(tmp_path / "list.jsonl")


def test_a_file_of_decisions_about_another_version_or_of_no_text_is_refused(
    shown: Path, page: "Page", tmp_path: Path
) -> None:
    other = lines(tmp_path / "two.decisions.jsonl", ROW)
    assert "this page takes one.decisions.jsonl: name the file so" in load(page, other)
    page.click("text=Close")
    (tmp_path / "list.jsonl").write_bytes(b'{"id": "\xff", "keep": true}')
    assert "not UTF-8" in load(page, tmp_path / "list.jsonl")
    page.click("text=Close")
    with (tmp_path / "large.jsonl").open("wb") as file:
        file.truncate(65 * 2**20)
    assert "at most 67108864 are read" in load(page, tmp_path / "large.jsonl")
    page.click("text=Close")
    named = lines(tmp_path / "<img src=x onerror=broken>.jsonl", ROW)
    assert "<img src=x onerror=broken>.jsonl" in load(page, named)
    assert page.locator("dialog img").count() == 0


def test_ids_and_notes_of_a_file_are_texts_whatever_they_are(page: "Page", tmp_path: Path) -> None:
    gallery.write(tmp_path / "page", Heading("one"), some(), {"one": {}})
    open_page(page, tmp_path / "page")
    rows = [{"id": text, "keep": True, "note": text} for text in HOSTILE]
    rows.append({**ROW, "note": "".join(HOSTILE)})
    file = lines(tmp_path / "list.jsonl", *rows)
    assert f"{len(HOSTILE)} of these about no trajectory" in load(page, file)
    page.click("text=Take them")
    assert f"{len(rows)} decided" in page.locator("#decided").inner_text()
    with page.expect_download() as given:
        page.click("#download")
    given.value.save_as(tmp_path / "again.jsonl")
    assert decisions.read(tmp_path / "again.jsonl") == decisions.read(file)


def test_a_dropped_file_is_loaded_and_not_opened_in_place_of_the_page(
    shown: Path, page: "Page"
) -> None:
    drop = """(texts) => {
        const data = new DataTransfer();
        texts.forEach((text, n) => data.items.add(new File([text], `list ${n}.jsonl`)));
        const event = new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
        return !document.body.dispatchEvent(event);
    }"""
    assert page.evaluate(drop, [json.dumps(ROW)])  # what a browser would do is prevented
    page.click("text=Take them")
    assert "1 decided" in page.locator("#decided").inner_text()
    assert page.evaluate(drop, ["", ""])
    page.locator("#load-dialog[open]").wait_for()
    assert "one file at a time" in page.locator("#load-dialog").inner_text()


def test_a_page_of_two_versions_asks_for_files_by_their_names(page: "Page", tmp_path: Path) -> None:
    gallery.write(tmp_path / "page", Heading("one beside two"), some(), {"one": {}, "two": {}})
    open_page(page, tmp_path / "page")
    plain = lines(tmp_path / "list.jsonl", ROW)
    assert "one.decisions.jsonl or two.decisions.jsonl" in load(page, plain)
    page.click("text=Close")
    assert "Decisions on one:" in load(page, lines(tmp_path / "one.decisions.jsonl", ROW))


def test_what_the_page_leaves_out_is_said_on_it(page: "Page", tmp_path: Path) -> None:
    notes = ["one, cold: the first 5 of 24 trajectories.", "<b>two</b>"]
    gallery.write(tmp_path / "page", Heading("one", notes), some(), {"one": {}})
    open_page(page, tmp_path / "page")
    assert page.locator("#notes p").all_inner_texts() == notes
    assert page.locator("#notes").is_visible()


def test_hostile_text_is_shown_and_not_run(page: "Page", tmp_path: Path) -> None:
    def groups() -> Iterator[Group]:
        for n, text in enumerate(HOSTILE):
            problem = plain_problem(id=f"plain-cold-{n:06d}", question=text, task=text,
                                    options=(text, "dog"), conclusion=text)  # fmt: skip
            label = f"l {text}".replace("\0", "")
            told = drawn(problem, thought=f"x {text}", label=label)
            yield problem, [exhibit(problem, told, Verdict(False, text, text), version=text)]
        problem = plain_problem(id="plain-cold-999999")
        loud = run(problem, ["<b onclick=alert(1)>" * 50_000])
        assert isinstance(loud, Trajectory)
        yield problem, [exhibit(problem, loud)]

    gallery.write(tmp_path / "page", Heading(HOSTILE[0]), groups(), {"__proto__": {}, "one": {}})
    open_page(page, tmp_path / "page")
    seen = page.locator("#detail").inner_text()
    assert seen.count("<script>window.broken = 1</script>") >= 4  # asked, option, thought, label
    assert page.locator("#detail script, #detail b, #rows script, img[onerror]").count() == 0
    for n in range(1, len(HOSTILE)):
        page.keyboard.press("j")
        page.wait_for_timeout(60)
        assert looked_at(page) == f"plain-cold-{n:06d}#0"
        page.locator("summary").first.click()
        if "reversed" in HOSTILE[n]:
            seen = page.locator("#detail").inner_text()
            assert "⟨U+2028⟩⟨U+2029⟩ line ⟨U+202E⟩ reversed ␀ nought ⟨U+FEFF⟩ ⟨U+200B⟩" in seen
    page.keyboard.press("j")
    page.locator("#detail pre").wait_for()
    assert page.locator("#detail pre").inner_text().count("<b onclick") == 50_000


def test_the_policy_of_the_page_forbids_what_would_run(browser: "Browser", tmp_path: Path) -> None:
    from playwright.sync_api import Error

    gallery.write(tmp_path / "page", Heading("one"), many(1), {})
    page = browser.new_page()
    open_page(page, tmp_path / "page")
    with pytest.raises(Error, match="TrustedHTML"):
        page.evaluate("document.body.innerHTML = '<img>'")
    refused = page.evaluate("""async () => {
        const said = [];
        document.addEventListener("securitypolicyviolation", (event) =>
            said.push(event.effectiveDirective));
        const picture = new Image();
        picture.src = "http://127.0.0.1:9/x.png";
        await new Promise((done) => { picture.onerror = done; });
        try { await fetch("http://127.0.0.1:9/"); } catch { /* as it must be */ }
        await new Promise((done) => setTimeout(done, 50));
        return said;
    }""")
    assert {"img-src", "connect-src"} <= set(refused)
    page.context.close()


def test_two_versions_stand_side_by_side_on_one_problem(page: "Page", tmp_path: Path) -> None:
    def groups() -> Iterator[Group]:
        for version, words in (("one", "First words."), ("two", "Second words.")):
            problem = plain_problem(id="plain-cold-000000")
            yield problem, [exhibit(problem, drawn(problem, words), version=version)]
        problem = plain_problem(id="plain-cold-000000", question="Something else?")
        yield problem, [exhibit(problem, drawn(problem), version="two")]

    gallery.write(tmp_path / "page", Heading("one beside two"), groups(), {"one": {}, "two": {}})
    open_page(page, tmp_path / "page")
    page.select_option("select[name=problem]", "in both")
    assert count(page) == "2 of 3"
    page.locator(".chip").click()
    page.locator(".columns.two").wait_for()
    words = page.locator(".columns .thought").all_inner_texts()
    assert words[0] == "First words."
    assert words[2] == "Second words."


def test_only_the_rows_in_sight_exist(page: "Page", tmp_path: Path) -> None:
    gallery.write(tmp_path / "page", Heading("one"), many(300), {"one": {}})
    open_page(page, tmp_path / "page")
    assert page.locator(".row").count() < 40
    page.evaluate("document.getElementById('list').scrollTop = 200 * 76")
    page.locator(".row", has_text="plain-cold-000200#0").wait_for()
    assert page.locator(".row").count() < 40


def test_a_part_that_is_gone_is_named(browser: "Browser", tmp_path: Path) -> None:
    gallery.write(tmp_path / "page", Heading("one"), many(1), {})
    (tmp_path / "page/data/part-00000.js").unlink()
    page = browser.new_page()
    page.goto((tmp_path / "page/index.html").as_uri())
    page.locator("#detail .bad").wait_for()
    assert "data/part-00000.js cannot be read" in page.locator("#detail").inner_text()
    page.context.close()
