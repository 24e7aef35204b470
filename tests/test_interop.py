"""Interop: every format is looked at, every environment is pinned, and what failed is told."""

from interop.__main__ import FRAMEWORKS, VERSION, Outcome, page
from interop.environments import LAYERS
from pipeline.exporters import EXPORTERS
from pipeline.versions import parse

FOUND = {
    "export": "trl-sft-cold",
    "loaded_by": "SFTTrainer",
    "rows": 2,
    "pictures": 5,
    "placeholders": 5,
    "batch": "2 rows",
    "pixels": "3 of 3 pictures equal",
}


def test_every_format_but_our_own_and_vilasrs_rl_is_loaded_by_a_framework() -> None:
    listed = {wanted.format for wanted in parse("interop", VERSION).exports}
    assert set(EXPORTERS) - listed == {"native", "vilasr-rl"}  # the last: by a fork of EasyR1


def test_every_environment_is_pinned() -> None:
    assert LAYERS.keys() == FRAMEWORKS.keys()
    for packages in LAYERS.values():
        assert all(package.count("==") == 1 for package in packages)


def test_the_page_tells_what_was_found_and_what_failed() -> None:
    told = page(
        [
            Outcome("trl", {"trl": "1.16.0"}, [FOUND]),
            Outcome("easyr1", {}, [], "not run: it is in no package index"),
        ]
    )
    assert "| trl-sft-cold | SFTTrainer | 2 | 5 | 5 | 2 rows | 3 of 3 pictures equal |" in told
    assert "| trl | trl 1.16.0 | all loaded |" in told
    assert "| easyr1 | – | not run: it is in no package index |" in told
