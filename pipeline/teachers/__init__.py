"""Backends of `Policy`: one file each, one line in ``TEACHERS``."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.types import Policy

if TYPE_CHECKING:  # versions asks the oracle which rates it has
    from pipeline.policies import Stage
    from pipeline.protocol import Family
    from pipeline.rollout import Limits
    from pipeline.versions import Version


def _oracle(stage: "Stage", version: "Version", seed: int) -> Policy:
    from pipeline.policies import OraclePolicy
    from pipeline.teachers.oracle import Oracle, Rates

    assert isinstance(stage.policy, OraclePolicy)
    rates, tokens = Rates(**stage.policy.rates), stage.sampling.max_tokens
    draws = stage.policy.draws
    return Oracle(rates, seed, version.limits, version.wire, tokens, draws)


def _local(stage: "Stage", version: "Version", seed: int) -> Policy:
    from pipeline.models import load_processor
    from pipeline.policies import CheckpointPolicy
    from pipeline.teachers.local import Local, Sampling, loaded

    assert isinstance(stage.policy, CheckpointPolicy)
    name, revision = stage.policy.model, stage.policy.revision
    asked = stage.sampling
    sampling = Sampling(asked.temperature, asked.top_p, asked.max_tokens, seed)
    with _loading(name, version):
        processor, model = load_processor(name, revision), loaded(name, revision)
    return Local(model, processor, version.limits, sampling)


def _vllm(stage: "Stage", version: "Version", seed: int) -> Policy:
    from pipeline.policies import VllmPolicy
    from pipeline.teachers.local import Sampling
    from pipeline.teachers.vllm import Vllm

    given, asked = stage.policy, stage.sampling
    assert isinstance(given, VllmPolicy)
    sampling = Sampling(asked.temperature, asked.top_p, asked.max_tokens, seed)
    try:
        with _loading(given.model, version):
            return Vllm(
                given.model,
                version.limits,
                sampling,
                revision=given.revision,
                dtype=given.dtype,
                engine=given.engine,
            )
    except ImportError as error:
        raise NoBackend(
            f"version {version.name!r} asks for vLLM, which is not installed here ({error}): "
            f"`pip install vllm`, or give its model as kind 'checkpoint'"
        ) from error


@contextmanager
def _loading(model: str, version: "Version") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NoBackend(
            f"version {version.name!r} asks for the checkpoint {model!r}, which cannot be loaded here: "
            f"{str(error).splitlines()[0]}"
        ) from error


def _endpoint(stage: "Stage", version: "Version", seed: int) -> Policy:
    return served(stage, version.limits, version.wire, seed)


def served(stage: "Stage", limits: "Limits", family: "Family", seed: int) -> Policy:
    """A stage's endpoint, with the key that its environment variable holds.

    Raises:
        NoBackend: if that variable is not set, or holds what no header can: whoever refuses that
            would quote it.
    """
    from pipeline.policies import EndpointPolicy
    from pipeline.teachers.endpoint import Endpoint

    given, key = stage.policy, None
    assert isinstance(given, EndpointPolicy)
    if named := given.key_from:
        key = os.environ.get(named, "").strip()  # files end in a line's end, and so do their copies
        if not key:
            raise NoBackend(f"{given.model!r} takes a key from ${named}, which is not set")
        if not (key.isascii() and key.isprintable()):
            raise NoBackend(
                f"${named} holds characters that are in no key: set it to the key alone"
            )
    return Endpoint(given, stage.sampling, limits, family, seed, key)


def _recorded(stage: "Stage", version: "Version", seed: int) -> Policy:
    from pipeline.teachers.recorded import Recorded

    return Recorded(version.problems.conversations, version.wire)


ENDPOINT = "1"  # part of what decides a served teacher's answer: raised when its requests change
TEACHERS: dict[str, Callable[["Stage", "Version", int], Policy]] = {
    "oracle": _oracle,
    "checkpoint": _local,
    "vllm": _vllm,
    "endpoint": _endpoint,
    "recorded": _recorded,
}


CHEAP = {"oracle", "recorded"}  # asked anew sooner than looked up among the turns that are kept
LOADED = {"checkpoint", "vllm"}  # whose model may be a folder
BATCHED = {"checkpoint"}  # what they say hangs, in its last bits, on who is asked with it


class NoBackend(Exception):
    """A version names a kind of policy that nothing here can run."""


def policy(stage: "Stage", version: "Version", seed: int) -> Policy:
    """The policy of a stage, which draws from ``seed``.

    Raises:
        NoBackend: if no backend runs policies of that kind, or its checkpoint cannot be loaded.
    """
    kind = stage.policy.kind
    if kind not in TEACHERS:
        raise NoBackend(
            f"version {version.name!r} asks for a policy of kind {kind!r}, and no backend here runs "
            f"it; there are {', '.join(TEACHERS)}. `drawloop plan {version.name}` works without one."
        )
    return TEACHERS[kind](stage, version, seed)


def decisive(given: Any) -> dict[str, Any]:
    """What a policy that is given says, short of how it is run and reached."""
    recipe = getattr(given, "recipe", None)
    said: dict[str, Any] = recipe() if recipe else given.model_dump()
    return {**said, "code": ENDPOINT} if given.kind == "endpoint" else said


def identity(stage: "Stage", seed: int) -> dict[str, Any] | None:
    """All that decides what a policy says to a state, as JSON can hold it; None: it costs nothing.

    A model in a folder is its files, wherever they lie; how many samples are drawn decides none.
    """
    given = stage.policy
    if given.kind in CHEAP:
        return None
    said = decisive(given)
    if given.kind in LOADED and (folder := Path(said["model"])).is_dir():
        said = {**said, "model": _sha256(folder)}
    return {
        "policy": said,
        "sampling": stage.sampling.model_dump(exclude={"samples"}),
        "seed": seed,
    }


def _sha256(folder: Path) -> str:
    """One hash over the files of a checkpoint: weights, configuration, tokenizer, processor."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        with path.open("rb") as file:
            digest.update(f"{path.name}/{path.stat().st_size}/".encode())
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def in_flight(stage: "Stage") -> int:
    """How many trajectories under way at once keep a stage's policy busy."""
    from pipeline.policies import EndpointPolicy, VllmPolicy
    from pipeline.rollout import IN_FLIGHT

    if isinstance(stage.policy, EndpointPolicy):
        return stage.policy.in_flight * len(stage.policy.servers)
    if isinstance(stage.policy, VllmPolicy):
        return stage.policy.engine.at_once
    return IN_FLIGHT
