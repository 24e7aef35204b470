"""What Dagster's pages say of assets and checks."""

from collections.abc import Sequence

import dagster as dg
import pytest

from assets.build import build
from assets.checks import checks_of
from assets.definitions import about, defs, promise, result
from assets.graph import NODES
from pipeline.store import Store
from pipeline.versions import Version


@pytest.mark.parametrize("asset", NODES)
def test_a_page_s_text_has_nothing_that_markdown_shows_as_code_by_accident(asset: str) -> None:
    texts = [about(asset, NODES[asset]), *map(promise, checks_of(asset))]
    assert not [line for text in texts for line in text.splitlines() if line.startswith("    ")]


@pytest.mark.parametrize("asset", NODES)
def test_a_page_names_each_check_in_a_line(asset: str) -> None:
    lines = about(asset, NODES[asset]).splitlines()
    promises = [line for line in lines if line.startswith("- ")]
    assert len(promises) == len(checks_of(asset))
    assert all(line.endswith(".") for line in promises)


def test_a_check_s_page_says_all_of_its_docstring() -> None:
    specs: Sequence[dg.AssetCheckSpec] = [
        spec
        for asset in defs.assets or ()
        if isinstance(asset, dg.AssetsDefinition)
        for spec in asset.check_specs
    ]
    told = {spec.name: spec.description or "" for spec in specs}
    assert "imported answers are as they are, and only told." in told["answers_balanced"]


def test_a_check_says_of_which_version_it_found_what(tiny: Version, store: Store) -> None:
    built = build("problems", tiny, store)
    for check in checks_of("problems"):
        found = result(check, built)
        assert found.metadata["version"].value == "tiny"
        assert found.metadata["finding"].value == check(built).said
        assert found.passed
