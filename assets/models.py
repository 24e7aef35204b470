"""Models: what each seat of the recipe refers to, the training of those made here, and evaluation.

A model asset holds one policy reference, or none where the version has no such model. A model that
is trained here lies in the asset's own folder, and is referred to by its name there, so that a
store may move. Trainers work in ``runs/<asset>-<address>``, where a run that was killed goes on.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from assets.inputs import Inputs, put
from pipeline import teachers
from pipeline.mix import EVALUATED
from pipeline.models import weights_sha256
from pipeline.policies import MODELS, CheckpointPolicy, GrpoPolicy, VllmPolicy
from pipeline.rows import Row
from pipeline.store import StoreError, Writer
from pipeline.teachers.oracle import ORACLE, Rates
from pipeline.types import KEPT
from pipeline.versions import Version

TRAINERS = {"cold_model": "sft", "reflective_model": "sft", "grpo_model": "grpo"}
CODE = {"sft": "2", "grpo": "2", "evaluate": "2"}  # raised when it would make something else
TRAINED = (*TRAINERS, "evaluation")  # the assets that trainers work for
RUNS = "runs"
MODEL, METRICS, ASKED, DONE = "model", "metrics.jsonl", "asked.json", "done.json"
TINY_FILES, SCENES = ("model.safetensors", "config.json"), "scenes.parquet"  # of the tiny base


def tiny_base(family: str) -> Path:
    """A family's tiny base: in ``$DRAWLOOP_WEIGHTS``, else in weights/ beside the packages."""
    given = os.environ.get("DRAWLOOP_WEIGHTS")
    weights = Path(given) if given else Path(__file__).parent.parent / "weights"
    return weights / f"tiny-{family}"


# What decides a model ----------------------------------------------------------------------------


def reference(seat: str, version: Version) -> Any:
    """All that decides who sits in a seat, short of what it is trained on.

    Raises:
        StoreError: if it is the tiny base, and that is not there.
    """
    policy = version.policy(seat)
    if policy is None:
        return None
    if policy.kind == "oracle":  # with the rates that the version leaves as they are
        rates = asdict(Rates(**policy.rates))
        return {"kind": "oracle", "draws": policy.draws, "rates": rates, "code": ORACLE}
    if policy.kind == "tiny":
        base = tiny_base(version.family)
        return {
            "kind": "tiny",
            "family": version.family,
            **{name: _sha256(base / name) for name in TINY_FILES},
        }
    if policy.kind == "train":
        trainer = TRAINERS[seat]
        return {
            "kind": "train",
            "trainer": trainer,
            "code": CODE[trainer],
            **settings(seat, version),
        }
    return teachers.decisive(policy)


def _sha256(path: Path) -> str:
    try:
        seen = path.stat()
    except OSError as error:
        raise StoreError(f"the tiny base is not whole: {error}; restore {path.parent}") from None
    return _sha256_of(path, seen.st_mtime_ns, seen.st_size)


@lru_cache(maxsize=64)
def _sha256_of(path: Path, mtime: int, size: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def tiny_scenes(family: str) -> set[bytes]:
    """Fingerprints of all scenes that a family's tiny base was trained on.

    Raises:
        StoreError: if they are not there.
    """
    path = tiny_base(family) / SCENES
    try:
        return {*pq.read_table(path, columns=["fingerprint"])["fingerprint"].to_pylist()}
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(f"the scenes of the tiny base cannot be read: {error}") from None


def settings(seat: str, version: Version) -> dict[str, Any]:
    """What a version says to the trainer of a seat."""
    policy = version.policy(seat)
    chosen: dict[str, Any] = policy.model_dump(exclude={"kind", "start", "data"}, exclude_none=True)
    if isinstance(policy, GrpoPolicy):
        rollout = version.rollout.model_dump(include={"max_context", "repeat_iou", "repeat_ends"})
        chosen = {**version.score.model_dump(), **rollout, **chosen}
    return {**chosen, "seed": version.model_seed(seat)}


def export_of(name: str) -> str:
    """The asset that a set is trained on as."""
    return f"{name}_export"


def learns_from(seat: str, version: Version) -> tuple[str, ...]:
    """The model that one is trained from, then the exports that it is trained on."""
    return (version.start(seat), *map(export_of, version.data(seat)))


def evaluation_settings(version: Version) -> dict[str, Any]:
    """What a version says to the evaluation."""
    return {
        "family": version.family,
        "seed": version.seed,
        **version.evaluation.model_dump(),
        **version.score.model_dump(),
        **version.rollout.model_dump(exclude={"on_fault"}),
    }


# References --------------------------------------------------------------------------------------


def policy(version: Version, inputs: Inputs, model: str) -> Any:
    """What a model asset refers to, as the version runs it; None: nobody."""
    row = next(inputs.rows(model, "policy"), None)
    if row is None:
        return None
    said = json.loads(row["policy"])
    if said["kind"] == "trained":
        path = str(Path(inputs.folder(model)) / said["files"])
        return CheckpointPolicy(kind="checkpoint", model=path)
    if said["kind"] == "tiny":
        return CheckpointPolicy(kind="checkpoint", model=str(tiny_base(said["family"])))
    return version.policy(model)  # with how it is run or reached, which no asset keeps


def refer(seat: str) -> Callable[[Version, Inputs, Writer], None]:
    """A model that is given, by what the version says of it."""

    def body(version: Version, inputs: Inputs, writer: Writer) -> None:
        if (given := version.policy(seat)) is None:
            return
        said = teachers.decisive(given)
        if said["kind"] == "tiny":
            said["family"] = version.family
        put(writer, "policy", {"policy": json.dumps(said)}, KEPT)

    return body


# Training and evaluation -------------------------------------------------------------------------


def train(seat: str) -> Callable[[Version, Inputs, Writer], None]:
    """A model that is trained on exports, or given, as the version says."""

    def body(version: Version, inputs: Inputs, writer: Writer) -> None:
        if not version.is_trained(seat):
            refer(seat)(version, inputs, writer)
            return
        first, *exports = learns_from(seat, version)
        start = policy(version, inputs, first)
        assert isinstance(start, CheckpointPolicy | VllmPolicy), "it has weights"
        folder = run(
            inputs,
            writer,
            f"trainers.{TRAINERS[seat]}",
            {
                "model": start.model,
                "revision": start.revision,
                "data": [inputs.folder(export) for export in exports],
                **settings(seat, version),
            },
        )
        _publish(folder, writer)
        put(writer, "policy", {"policy": json.dumps({"kind": "trained", "files": MODEL})}, KEPT)

    return body


def run(inputs: Inputs, writer: Writer, trainer: str, config: Mapping[str, Any]) -> Path:
    """Runs a trainer to its end, from where an earlier run was killed; the folder of its work.

    Raises:
        TrainerFailed: in the trainer's own words.
    """
    folder = inputs.store.desk / RUNS / writer.name
    folder.mkdir(parents=True, exist_ok=True)
    coming = folder / f"{ASKED}.{os.getpid()}"
    coming.write_text(json.dumps({**config, "out": str(folder)}, indent=1))
    inputs.launch(trainer, coming.replace(folder / ASKED))
    return folder


def _publish(folder: Path, writer: Writer) -> None:
    """The finished model and its metrics, into the asset; the run stays until it is pruned.

    Raises:
        StoreError: if the weights are not those that were trained.
    """
    told = json.loads((folder / DONE).read_text())
    if weights_sha256(folder / MODEL) != told["weights_sha256"]:
        raise StoreError(f"{folder / MODEL} is damaged: delete {folder} and build again")
    writer.facts["trained"] = told
    for path in sorted((folder / MODEL).rglob("*")):
        if path.is_file():
            writer.add(f"{MODEL}/{path.relative_to(folder / MODEL).as_posix()}", path)
    writer.add(METRICS, folder / METRICS)
    # Large, and a finished run needs none.
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def evaluate(version: Version, inputs: Inputs, writer: Writer) -> None:
    """Every model that the version has, on the problems that are held for evaluation."""
    seated = {
        name: given for name in MODELS if (given := policy(version, inputs, name)) is not None
    }
    splits = [split for split in EVALUATED if version.problems.splits[split]]
    if not splits:
        return
    folder = run(
        inputs,
        writer,
        "trainers.evaluate",
        {
            "policies": [given.model_dump_json() for given in seated.values()],
            "names": [*seated],
            "problems": inputs.folder("problems"),
            "splits": splits,
            **evaluation_settings(version),
        },
    )
    for row in _rows(folder / "trajectories.parquet"):
        put(writer, "trajectories", row, KEPT)
    if spent := json.loads((folder / DONE).read_text()).get("spent"):
        writer.facts["spent"] = spent
    for row in json.loads((folder / "evaluation.json").read_text())["rows"]:
        writer.append("summary", {**row, "stops": json.dumps(row["stops"])})


def _rows(path: Path) -> Iterator[Row]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=128):
            yield from batch.to_pylist()
