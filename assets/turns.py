"""The file of turns of a store: what it holds, and what of it no version file leads to."""

from collections.abc import Iterator

from assets.bodies import SAMPLED, seat, stage
from assets.build import find, inputs_of
from assets.graph import NODES
from pipeline import teachers
from pipeline.asking import turns_file
from pipeline.kept import Holding, Kept, ReplayError, size
from pipeline.policies import MODELS, EndpointPolicy, Sampling, Stage
from pipeline.store import Store
from pipeline.versions import Version, load, names


def told(store: Store) -> str | None:
    """One line about the file, if it is there: that of a store which may only be read is not opened."""
    path = turns_file(store)
    if not path.exists():
        return None
    try:
        with Kept.at(path) as kept:
            turns, failures = kept.counts()
    except ReplayError as error:
        return str(error)
    return f"{turns:,} turns and {failures:,} failures, {size(path):,} bytes in {path}"


def unled(store: Store) -> list[Holding]:
    """What is kept of policies that no version file leads to any more.

    A model that is trained here is led to as long as it is in the store.

    Raises:
        VersionError: if any version file cannot be read: what it leads to would be taken for stale.
    """
    if not turns_file(store).exists():
        return []
    led_to = [identity for name in names() for identity in _identities(load(name), store)]
    with Kept.at(turns_file(store)) as kept:
        return [held for held in kept.holdings() if held.identity not in led_to]


def _identities(version: Version, store: Store) -> list[object]:
    """Of every policy that a version samples, as far as its models are there."""
    found: list[object] = []
    for asset in SAMPLED:
        needs = [name for name in NODES[asset].reads(version) if name != "problems"]
        if all(find(name, version, store) for name in needs):
            given = stage(asset, version, inputs_of(asset, version, store))
            seed = version.model_seed(seat(asset, version))
            found.append(teachers.identity(given, seed))
    return [*found, *_evaluated(version)]


def _evaluated(version: Version) -> Iterator[object]:
    """Of the served models of a version, as it evaluates them: sampled, and greedily."""
    asked = version.evaluation
    for given in map(version.policy, MODELS):
        if isinstance(given, EndpointPolicy):
            for heat in (asked.temperature, 0.0):
                sampling = Sampling(
                    samples=1, temperature=heat, top_p=asked.top_p, max_tokens=asked.max_tokens
                )
                yield teachers.identity(Stage(policy=given, sampling=sampling), version.seed)


def forget(store: Store, held: list[Holding]) -> None:
    """Deletes all that some policies said."""
    with Kept.at(turns_file(store)) as kept:
        for one in held:
            kept.forget(one.identity)
        kept.shrink()


def named(held: Holding) -> str:
    """Whose turns they are, for a person."""
    policy = held.identity["policy"]
    return f"{policy.get('model') or policy['kind']}, seed {held.identity['seed']}"
