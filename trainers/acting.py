"""Who is evaluated, ready to be asked: what a policy reference names, run here or served elsewhere.

Guarantees: of vLLM's engines one runs at a time, for each takes what memory there is; turns of a
served model go through the file of turns of a store, and are never paid twice.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import TypeAdapter, ValidationError

from pipeline import models, policies, teachers, tokens
from pipeline.asking import asked_once
from pipeline.protocol import Family
from pipeline.rollout import Limits
from pipeline.store import Store
from pipeline.teachers.local import Local, Sampling, loaded
from pipeline.teachers.oracle import Oracle, Rates
from pipeline.teachers.vllm import Vllm
from pipeline.types import Policy
from trainers.exported import WrongData

_engines: dict[str, Vllm] = {}  # the one that runs, by its policy


def named(reference: str) -> policies.Policy:
    """The policy that a reference names: JSON, as a model asset keeps it.

    Raises:
        WrongData: if it is none.
    """
    try:
        found: policies.Policy = TypeAdapter(policies.Policy).validate_json(reference)
    except ValidationError as error:
        raise _wrong("policies", error) from None
    return found


def _wrong(what: str, error: ValidationError) -> WrongData:
    """What is wrong first, without what was given: it may be a secret."""
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in (what, *first["loc"]))
    return WrongData(f"{where}: {first['msg']}")


def decided(reference: str) -> str:
    """A reference as it decides a run: how servers are reached may change while one is under way."""
    found = named(reference)
    served = isinstance(found, policies.EndpointPolicy)
    return json.dumps(teachers.decisive(found)) if served else reference


def fingerprint(reference: str) -> str:
    """What tells a reference's weights from others that may come to lie at the same path."""
    found = named(reference)
    if isinstance(found, policies.CheckpointPolicy | policies.VllmPolicy):
        return models.fingerprint(found.model)
    return ""


@asynccontextmanager
async def acting(
    reference: str, sampling: Sampling, limits: Limits, family: Family, in_flight: int, store: Store
) -> AsyncIterator[tuple[Policy, tokens.Count, int]]:
    """Who acts, how the length of what it wrote is counted, and how many trajectories run at once.

    Args:
        in_flight: that many, unless servers have a number of their own.
        store: which has the file of turns.

    Raises:
        WrongData: if the reference is none, or servers are asked for what none can do.
        OSError: if there is no whole checkpoint.
        GridMismatch: if a checkpoint is not of the family.
        NoBackend: from `act`, if the variable that has an endpoint's key is not set.
        ReplayError: if the file of turns cannot be used.
    """
    found = named(reference)
    if not isinstance(found, policies.EndpointPolicy):
        yield *_here(found, sampling, limits, family, in_flight), in_flight
        return
    stage, seed = _stage(found, sampling), int(sampling.seed)

    def make() -> Policy:
        return teachers.served(stage, limits, family, seed)

    async with asked_once(make, stage, seed, limits, family, store) as policy:
        policy.forget_failures()  # they ended the last run, and nothing was made of them
        yield policy, tokens.estimate, teachers.in_flight(stage)


def _stage(found: policies.EndpointPolicy, sampling: Sampling) -> policies.Stage:
    try:
        asked = policies.Sampling(
            samples=1,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_tokens,
        )
    except ValidationError as error:
        raise _wrong("sampling", error) from None
    return policies.Stage(policy=found, sampling=asked)


def _here(
    found: policies.Policy, sampling: Sampling, limits: Limits, family: Family, batch: int
) -> tuple[Policy, tokens.Count]:
    """Who acts in this process."""
    if isinstance(found, policies.OraclePolicy):
        rates, most = Rates(**found.rates), sampling.max_tokens
        oracle = Oracle(rates, int(sampling.seed), limits, family, most, found.draws)
        return oracle, tokens.estimate
    if isinstance(found, policies.VllmPolicy):
        running = _running(found, limits, sampling)
        models.check_grid(running.processor, family)
        return running, tokens.counter(running.words)
    assert isinstance(found, policies.CheckpointPolicy)
    processor = models.load_processor(found.model, found.revision)
    models.check_grid(processor, family)
    model = loaded(found.model, found.revision)
    local = Local(model, processor, limits, sampling, batch)
    return local, tokens.counter(local.words)


def _running(found: policies.VllmPolicy, limits: Limits, sampling: Sampling) -> Vllm:
    """The engine of a model."""
    key = found.model_dump_json()
    if key not in _engines:
        for other in _engines.values():
            other.close()
        _engines.clear()
        _engines[key] = Vllm(
            found.model,
            limits,
            sampling,
            revision=found.revision,
            dtype=found.dtype,
            engine=found.engine,
        )
    _engines[key].sample_as(sampling)
    return _engines[key]
