"""Backends of `Policy`: one file each, one line in ``TEACHERS``."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.types import Policy

if TYPE_CHECKING:  # versions asks the oracle which rates it has
    from pipeline.policies import Stage
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
    try:
        processor, model = load_processor(name, revision), loaded(name, revision)
    except OSError as error:
        raise NoBackend(
            f"version {version.name!r} asks for the checkpoint {name!r}, which cannot be loaded here: "
            f"{str(error).splitlines()[0]}"
        ) from error
    return Local(model, processor, version.limits, sampling)


def _vllm(stage: "Stage", version: "Version", seed: int) -> Policy:
    from pipeline.policies import VllmPolicy
    from pipeline.teachers.local import Sampling
    from pipeline.teachers.vllm import Vllm

    given, asked = stage.policy, stage.sampling
    assert isinstance(given, VllmPolicy)
    sampling = Sampling(asked.temperature, asked.top_p, asked.max_tokens, seed)
    try:
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
    except OSError as error:
        raise NoBackend(
            f"version {version.name!r} asks for the checkpoint {given.model!r}, which cannot be loaded "
            f"here: {str(error).splitlines()[0]}"
        ) from error


TEACHERS: dict[str, Callable[["Stage", "Version", int], Policy]] = {
    "oracle": _oracle,
    "checkpoint": _local,
    "vllm": _vllm,
}


IN_FLIGHT = 64  # trajectories under way at once, where nothing else is said


def in_flight(stage: "Stage") -> int:
    """Trajectories that a stage has under way at once: as many as vLLM is told to work on."""
    return stage.policy.engine.at_once if stage.policy.kind == "vllm" else IN_FLIGHT


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
