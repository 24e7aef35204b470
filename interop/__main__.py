"""Exports a small version for every framework, and has each framework's own code load it.

    python -m interop [NAME ...]      # writes docs/interop.md when all were run

Environments lie in `.venv-NAME`, or in ``$DRAWLOOP_ENVS``. EasyR1 is in no package index: it is run from
the checkout that ``$EASYR1`` names, in verl's environment, or told as not run.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assets.build import build, find
from assets.exports import of, to_folder
from assets.graph import address, needed
from interop.environments import LAYERS, interpreter
from interop.found import digest
from pipeline import canvas, rows
from pipeline.exporters.wanted import Wanted
from pipeline.rollout import retrace
from pipeline.store import Store
from pipeline.versions import Version, parse

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "weights" / "tiny-qwen2.5-vl"
PAGE = ROOT / "docs" / "interop.md"
VERSION = """
description: pictures of one, of several views and of a video, small, for the loaders of other frameworks
seed: 5
canvas: {smallest: 112, largest: 168}
problems:
  tasks: {counting: {}, maze: {difficulty: [0, 0.4]}, views: {}, motion: {}}
  splits: {skills: 8, cold: 16, reflective: 24, rl: 16, evaluation: 0}
rollout: {max_context: 8192}
teacher: {policy: {kind: oracle}, sampling: {samples: 3}}
cold_model: {policy: {kind: oracle, rates: {slip: 0.4}}, sampling: {samples: 3}}
reflective_model: {policy: {kind: oracle, rates: {wrong_answer: 0.4}}, sampling: {samples: 4}}
filters: {cold: {min_turns: 2}, reflective: {rule: paper}}
exports:
  - {format: trl-sft, sets: [cold, reflective]}
  - {format: trl-grpo, sets: [rl]}
  - {format: llamafactory, sets: [cold, reflective]}
  - {format: vilasr-sft, sets: [cold]}
  - {format: verl-sft, sets: [cold, reflective]}
  - {format: verl-rl, sets: [rl]}
  - {format: easyr1, sets: [rl]}
  - {format: ms-swift, sets: [cold, reflective, rl]}
"""
ABOUT = (
    "Written by `make interop`: a small version with pictures of all three modalities is built and "
    "exported for every framework; each framework's own code, in an environment of its own, loads all "
    "of it and takes a batch. Counted are the pictures that the loader found and the places for them; "
    "of the first row, every decoded picture is compared with what was drawn, pixel by pixel. The model "
    "is the tiny Qwen2.5-VL in `weights/`. [exports.md](exports.md) says how to use each."
)
NOTES = (
    "TRL is given Qwen2.5-VL's chat template, which its trainer knows, and not the tiny one's.",
    "LLaMA-Factory imports torchaudio, and no wheel of it fits this torch: an empty module stands in.",
    "ms-swift holds Qwen's own id of `<|image_pad|>`; for the check it is told the tiny model's.",
    "EasyR1 is in no package index: its code comes from a checkout that `EASYR1` names.",
    "`vilasr-rl` is checked by our own tests alone: its loader is part of ViLaSR's trainer.",
)
TOLD = ("transformers", "datasets", "torch")  # versions that a table names beside the framework's
FRAMEWORKS = {
    "trl": "trl",
    "llamafactory": "llamafactory",
    "verl": "verl",
    "msswift": "ms-swift",
    "easyr1": "",
}


@dataclass(frozen=True)
class Outcome:
    """What came of one framework's check; ``failed`` in its own last words."""

    name: str
    versions: dict[str, str]
    findings: list[dict[str, Any]]
    failed: str = ""


def exported(folder: Path) -> None:
    """The version's exports, and the truth about the first row of each set."""
    version, store = parse("interop", VERSION), Store.at(folder / "store")
    sets = {set_ for wanted in version.exports for set_ in wanted.sets}
    for asset in needed(map(of, sets), version):
        build(asset, version, store)
    for listed in version.exports:
        wanted = Wanted(**{**listed.model_dump(), "processor": str(MODEL)})
        for set_, name in listed.folders().items():
            told = to_folder(
                version, set_, wanted, store, address(of(set_), version), folder / name
            )
            print(f"{name}: {told.written} of {told.read} rows, {dict(told.omitted)}", flush=True)
    truth = {set_: _truth(version, store, set_) for set_ in sorted(sets)}
    (folder / "truth.json").write_text(json.dumps(truth))


def _truth(version: Version, store: Store, set_: str) -> list[str]:
    built = find(of(set_), version, store)
    assert built is not None
    row = next(built.rows("train"))
    problem = rows.problem(row)
    told = "turns" in row
    views = retrace(problem, rows.trajectory(row)).views if told else canvas.opened(problem).views
    return [digest(canvas.pixels(problem, view)) for view in views]


def run(name: str, folder: Path) -> Outcome:
    """One framework's check, in its environment."""
    if name == "easyr1" and "EASYR1" not in os.environ:
        return Outcome(
            name, {}, [], "not run: it is in no package index, and EASYR1 names no checkout"
        )
    python = interpreter(name)
    env = {
        **os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / f"hf-{name}"),
        "MODELSCOPE_CACHE": str(folder / "modelscope"), "CUDA_VISIBLE_DEVICES": "",
        "TOKENIZERS_PARALLELISM": "false", "DISABLE_VERSION_CHECK": "1",
    }  # fmt: skip
    done = subprocess.run(
        [python, ROOT / "interop" / f"check_{name}.py", folder, MODEL],
        env=env, cwd=folder, capture_output=True, text=True, check=False, timeout=1200,
    )  # fmt: skip
    (folder / f"{name}.log").write_text(done.stdout + done.stderr)
    lines = done.stdout.splitlines()
    found = [json.loads(line.removeprefix("FOUND ")) for line in lines if line.startswith("FOUND ")]
    said = (done.stderr or done.stdout).strip().splitlines()
    failed = said[-1] if done.returncode and said else ""
    return Outcome(name, _versions(python, name), found, failed)


def _versions(python: Path, name: str) -> dict[str, str]:
    names = [*([FRAMEWORKS[name]] if FRAMEWORKS[name] else []), *TOLD]
    script = f"import importlib.metadata as m; print(*map(m.version, {names}))"
    told = subprocess.run([python, "-c", script], capture_output=True, text=True, check=True)
    return dict(zip(names, told.stdout.split(), strict=True))


def page(outcomes: list[Outcome]) -> str:
    """docs/interop.md."""
    lines = [
        "# Exports, loaded by the frameworks they are for",
        "",
        ABOUT,
        "",
        "| export | loaded by | rows | pictures | places | taken of it | pixels of the first row |",
        "|---|---|---|---|---|---|---|",
    ]
    for outcome in outcomes:
        for f in outcome.findings:
            cells = (f["export"], f["loaded_by"], f["rows"], f["pictures"], f["placeholders"])
            lines.append(f"| {' | '.join(map(str, (*cells, f['batch'], f['pixels'])))} |")
    lines += ["", "| framework | versions | came of it |", "|---|---|---|"]
    for outcome in outcomes:
        versions = ", ".join(f"{name} {version}" for name, version in outcome.versions.items())
        lines.append(f"| {outcome.name} | {versions or '–'} | {outcome.failed or 'all loaded'} |")
    lines += ["", *(f"- {note}" for note in NOTES)]
    return "\n".join(lines) + "\n"


def main(wanted: list[str]) -> int:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(os.environ.get("DRAWLOOP_INTEROP") or place)
        exported(folder)
        outcomes = []
        for name in wanted or FRAMEWORKS:
            outcomes.append(run(name, folder))
            print(json.dumps(outcomes[-1].__dict__, indent=1), flush=True)
    if not wanted:
        PAGE.write_text(page(outcomes))
    return int(any(outcome.failed and outcome.versions for outcome in outcomes))


if __name__ == "__main__":
    assert LAYERS.keys() == FRAMEWORKS.keys()
    sys.exit(main(sys.argv[1:]))
