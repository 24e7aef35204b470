"""README's code is run as it stands there."""

import re
from pathlib import Path
from random import Random

import pytest

from assets.bodies import TABLES
from pipeline import decisions, reward, rows, skills
from pipeline.protocol import FAMILIES
from pipeline.reward import Rules
from pipeline.rollout import Limits, retrace
from pipeline.store import Store
from pipeline.versions import parse
from tests.assets.conftest import TINY, build_all

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_reading_snippet_rebuilds_a_trajectory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.chdir(tmp_path)
    build_all(parse("tiny", TINY), Store.at(tmp_path / "data"))
    names: dict[str, object] = {}
    (folder,) = (tmp_path / "data" / "reflective_export").iterdir()
    exec(SNIPPETS[0].replace("…", folder.name, 1), names)
    state, pictures = names["state"], names["pictures"]
    assert len(pictures) == len(state.views) > len(names["problem"].images)  # type: ignore[arg-type, attr-defined]
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)  # type: ignore[attr-defined]
    spoken = [m.parts[0] for m in names["messages"] if m.role == "assistant"]  # type: ignore[attr-defined]
    assert spoken == [turn.text for turn in names["trajectory"].turns]  # type: ignore[attr-defined]
    assert names["trajectory"].turns[0].text.startswith("<think>")  # type: ignore[attr-defined]


def test_the_task_example_is_a_task() -> None:
    names: dict[str, object] = {"__name__": "readme"}
    exec(SNIPPETS[1], names)
    for side in (112, 224, 1000):
        for difficulty in (0.0, 1.0):
            task = names["Larger"](side, side, difficulty)  # type: ignore[operator]
            problem = task.sample(Random(str(side)))
            told = skills.gold(problem, Limits(), FAMILIES["qwen2.5-vl"])
            score = reward.score(problem, told, retrace(problem, told), Rules())
            assert (score.correct, score.format, score.draw) == (1, 1, 1)


def test_every_file_of_the_tree_exists_and_every_module_is_in_the_tree() -> None:
    root = Path(__file__).parent.parent
    tree = README.split("## What is where")[1].split("```")[1]
    named = set(re.findall(r"([\w./-]+\.(?:py|toml|lock|yaml))", tree))
    for package in ("pipeline", "assets", "trainers"):
        modules = {p.name for p in (root / package).glob("*.py")} - {"__init__.py"}
        assert modules <= named, modules - named
    for name in named:
        places = ("", "pipeline", "assets", "trainers")
        assert any((root / place / name).exists() for place in places), name


def test_the_environment_variables_that_it_names_are_read() -> None:
    code = "".join(
        p.read_text()
        for p in Path(__file__).parent.parent.glob("*/*.py")
        if p.parent.name != "tests"
    )
    for name in set(re.findall(r"\$?\b(DRAWLOOP_\w+|DAGSTER_HOME)\b", README)):
        assert name in code, name


def test_every_column_of_an_export_is_described() -> None:
    described = set(re.findall(r"`([\w\[\].]+)`", (ROOT / "docs" / "schema.md").read_text()))
    described |= {name.removeprefix("turns[]").lstrip(".") for name in described}
    for tables in TABLES.values():
        for schema in tables.values():
            names = set(schema.names) - {"turns", "policy", "split"}
            assert names <= described, names - described
    assert {field.name for field in rows.TURN} <= described


def test_the_version_of_the_page_on_curation_is_a_version() -> None:
    page = (ROOT / "docs" / "curation.md").read_text()
    (shown,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    models = TINY[TINY.index("teacher:") : TINY.index("filters:")]
    version = parse("shown", f"description: as shown\n{models}{shown}")
    assert version.filters.cold.shape.balance == (("task", 1.5), ("answer", 2), ("difficulty", 2))
    assert version.problems.clear_of[0].columns.pictures == ("image",)
    (line,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    assert decisions.read_line(line, "the page")[1].keep is False
