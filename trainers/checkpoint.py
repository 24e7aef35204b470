"""Checkpoints to resume from, and the finished model: each appears whole or not at all.

A checkpoint is a folder ``checkpoints/<step>``, written beside its place and moved into it; its
``state.json`` lists what it holds. Weights are read as tensors only: nothing is unpickled.
"""

import json
import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch

from pipeline.models import fingerprint, weights_sha256
from trainers.model import save

FREE = ("micro_batch", "gradient_checkpointing")  # what a GPU is too small for may be changed
KEPT = 2  # checkpoints: the newest, and the one before should the newest be damaged
TENSORS, STATE, DONE, CONFIG = "tensors.pt", "state.json", "done.json", "config.json"
ORIGIN = "began_with"  # the fingerprint of the weights that a run began with


# What reading a file that was cut or overwritten may raise, from JSON, zip or pickle.
DAMAGE = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    EOFError,
    RuntimeError,
    BadZipFile,
    UnpicklingError,
)


class TrainingError(Exception):
    """A run that cannot go on; the message names the file or step and the remedy."""


def claim(out: Path, config: Any, free: Collection[str] = ()) -> bool:
    """Takes a folder for a run: True if the run is finished already.

    Args:
        free: fields that may change while the run is under way: they decide none of its numbers.

    Raises:
        TrainingError: if it belongs to a run of another configuration.
    """
    out.mkdir(parents=True, exist_ok=True)
    wanted, path = json.loads(json.dumps(asdict(config))), out / CONFIG
    found = json.loads(path.read_text()) if path.exists() else {}
    # A start that failed claims nothing, nor one that was killed while it wrote its configuration.
    begun = any(not held.name.startswith(CONFIG) for held in out.iterdir())
    # A field that is newer than the run was, in effect, what it is by default.
    usual = {f.name: f.default for f in fields(config) if f.default is not MISSING}
    differing = sorted(k for k in wanted | found if wanted.get(k) != found.get(k, usual.get(k)))
    bound = [name for name in differing if name not in free]
    if bound and found and begun:
        raise TrainingError(
            f"{out} holds a run with another {', '.join(bound)}: name another folder, or delete it"
        )
    if differing:
        write_whole(path, json.dumps(wanted, indent=1).encode())
    return (out / DONE).exists()


def same_origin(out: Path, facts: Mapping[str, Any], model: str, weights: str) -> None:
    """Refuses what a run has kept if it began with other weights than now lie at its model's path.

    Args:
        weights: those, as `models.fingerprint` has them; empty where that cannot be told.

    Raises:
        TrainingError: if they are others.
    """
    if weights and (facts.get(ORIGIN) or weights) != weights:
        raise TrainingError(
            f"{out} began with other weights than {model} holds now: put them back, name another "
            f"folder, or delete it"
        )


def finished(out: Path, model: str) -> dict[str, Any]:
    """What there is to say of a finished run.

    Raises:
        TrainingError: if it began with other weights than now lie at its model's path.
    """
    facts: dict[str, Any] = json.loads((out / DONE).read_text())
    same_origin(out, facts, model, fingerprint(model))
    print(f"{out} is finished already", flush=True)
    return facts


def write(out: Path, step: int, tensors: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Keeps the state of a run after a step; the oldest goes when the new one is in place.

    Raises:
        TrainingError: if it cannot be written, as on a full disk; older ones stay.
    """
    folder = out / "checkpoints"
    desk = folder / f"tmp-{os.getpid()}"
    try:
        _clear(folder, "tmp-*")
        desk.mkdir(parents=True)
        torch.save(dict(tensors), desk / TENSORS)
        size = (desk / TENSORS).stat().st_size
        (desk / STATE).write_text(json.dumps({**facts, "step": step, "bytes": size}))
        # A damaged checkpoint of this very step may lie there, passed over on the way here.
        shutil.rmtree(folder / f"{step:06d}", ignore_errors=True)
        desk.replace(folder / f"{step:06d}")
    except (OSError, RuntimeError) as error:  # torch tells a full disk as a RuntimeError
        shutil.rmtree(desk, ignore_errors=True)
        last = steps(out)
        raise TrainingError(
            f"no checkpoint could be written to {folder}: {error}. Make room and start again: "
            + (f"the run goes on from step {last[-1]}" if last else "it begins anew")
        ) from error
    for old in steps(out)[:-KEPT]:
        shutil.rmtree(folder / f"{old:06d}")


def steps(out: Path) -> list[int]:
    """The steps of the checkpoints that are there."""
    found = (out / "checkpoints").glob("[0-9]*")
    return sorted(int(path.name) for path in found if path.name.isdigit())


def newest(out: Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """(tensors, facts) of the newest checkpoint that is whole; damaged ones are named and passed over.

    Raises:
        TrainingError: if there are checkpoints, and all are damaged.
    """
    damaged = []
    for step in reversed(steps(out)):
        folder = out / "checkpoints" / f"{step:06d}"
        try:
            facts = json.loads((folder / STATE).read_text())
            if (folder / TENSORS).stat().st_size != facts["bytes"]:
                raise ValueError("it is cut off")
            with ZipFile(
                folder / TENSORS
            ) as file:  # torch writes checksums and does not look at them
                if part := file.testzip():
                    raise ValueError(f"{part} in it is not what was written")
            tensors = torch.load(folder / TENSORS, map_location="cpu", weights_only=True)
        except DAMAGE as error:
            damaged.append(f"{folder}: {error}")
            print(f"checkpoint {folder} is damaged ({error}): the one before is taken", flush=True)
            continue
        return tensors, facts
    if damaged:
        raise TrainingError(f"no checkpoint is whole ({'; '.join(damaged)}): delete {out}")
    return None


def finish(
    out: Path,
    model: Any,
    processor: Any,
    facts: Mapping[str, Any],
    weights: Mapping[str, torch.Tensor] | None = None,
) -> dict[str, Any]:
    """The finished model under ``model/``, and what there is to say of it, written last.

    Args:
        weights: by name, where the model holds but a share of them.
    """
    desk = out / f"model-{os.getpid()}"
    try:
        _clear(out, "model-*")
        save(model, processor, desk, weights)
        shutil.rmtree(out / "model", ignore_errors=True)
        desk.replace(out / "model")
    except OSError as error:
        shutil.rmtree(desk, ignore_errors=True)
        raise TrainingError(
            f"the model could not be written to {out}: {error}. Make room and start again: the run "
            f"goes on from its last checkpoint"
        ) from error
    told = {**facts, "weights_sha256": weights_sha256(out / "model")}
    write_whole(out / DONE, json.dumps(told, indent=1).encode())
    return told


def _clear(folder: Path, pattern: str) -> None:
    """Removes what writers left that were killed: they may hold a whole model's worth of disk."""
    for left in folder.glob(pattern):
        shutil.rmtree(left, ignore_errors=True)


def write_whole(path: Path, content: bytes) -> None:
    """The file appears whole.

    Raises:
        TrainingError: if it cannot be written, as on a full disk; what was there stays.
    """
    desk = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        desk.write_bytes(content)
        desk.replace(path)
    except OSError as error:
        desk.unlink(missing_ok=True)
        raise unwritten(path, error) from error


def unwritten(path: Path, error: Exception) -> TrainingError:
    """What to say of a file of a run that could not be written."""
    return TrainingError(
        f"{path} could not be written: {error}. Make room and start again: the run goes on from what "
        f"it has kept"
    )
