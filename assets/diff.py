"""What two versions, or two builds, differ in: what `drawloop diff` reads from the store."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from assets.bodies import TABLES
from assets.graph import NODES
from assets.inputs import FACTS, REJECTS
from assets.sides import Side
from pipeline import compare, rows
from pipeline.compare import Asked, Change, Distribution, Flows, Judged, Met, Value
from pipeline.manifest import Manifest
from pipeline.mix import EVERY_SPLIT
from pipeline.policies import MODELS
from pipeline.problems import fingerprints
from pipeline.reward import number
from pipeline.rows import Row
from pipeline.store import Store, StoreError
from pipeline.teachers.oracle import Rates
from pipeline.versions import Version

SETS = ("cold_set", "reflective_set", "rl_problems")
# The seat whose model samples an asset's trajectories.
SEATS = {
    "teacher_trajectories": "teacher",
    "reflective_trajectories": "cold_model",
    "rl_trajectories": "reflective_model",
}
DRAWN = ["turns.list.element.kind", "turns.list.element.ops.list.element.type"]
COLUMNS: dict[str, list[str]] = {  # of each kind of table, what its distributions are of
    "problems": ["task", "modality", "kind", "answer", "difficulty", "sizes"],
    "trajectories": ["stop", *DRAWN],
    "cold": ["task", "kind", "total", "draw", *DRAWN],
    "reflective": ["task", "kind", "total", "draw", "corrections", *DRAWN],
    "rl": ["task", "kind", "pass_rate", "mean_total"],
}


@dataclass(frozen=True, slots=True)
class Fate:
    """An asset on both sides.

    ``decided`` are the changes of its own recipe, ``inputs`` the assets that it reads and that differ
    themselves; ``rows_a`` and ``rows_b`` are the rows that it kept, None where it is not built.
    """

    asset: str
    shared: bool  # one address
    a: str
    b: str
    rows_a: int | None
    rows_b: int | None
    equal: bool | None  # whether the contents are equal; None if a side is not built
    decided: tuple[Change, ...]
    inputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SetDiff:
    """A set: rows kept and dropped by reason, and the verdicts on what came into both."""

    name: str
    a: Mapping[str, int]
    b: Mapping[str, int]
    judged: Flows


@dataclass(frozen=True, slots=True)
class Diff:
    a: str
    b: str
    same: bool
    configuration: tuple[Change, ...]
    fields_alike: int
    assets: tuple[Fate, ...]
    problems: tuple[Met, ...]
    sets: tuple[SetDiff, ...]
    distributions: tuple[Distribution, ...]  # the largest excess first


# What differs ------------------------------------------------------------------------------------


def diff(a: Side, b: Side, store: Store) -> Diff:
    """Everything in which two sides differ; numbers only of what both have built.

    Raises:
        StoreError: if they have no asset in common, or a part of one is damaged.
    """
    compared = [asset for asset in NODES if asset != "gallery"]  # a page of all the others
    common = [asset for asset in compared if asset in a.addresses and asset in b.addresses]
    if not common:
        raise StoreError(f"{a.name} and {b.name} have no asset in common to compare")
    before, after = _configurations(a, b, common)
    configuration = tuple(compare.changes(before, after))
    fields = {path for tree in (before, after) for path, _ in compare.leaves(tree)}
    fates = tuple(_fate(asset, a, b) for asset in common)
    differ = {f.asset for f in fates if f.equal is False}
    met: list[Met] = []
    same: set[bytes] | None = None  # None: all problems are
    if "problems" in differ:
        met, same = compare.meet(_asked(a, store), _asked(b, store))
    sets = [_set(name, a, b, store, same) for name in SETS if name in differ]
    apart = [d for asset in common if asset in differ for d in _distributions(asset, a, b, store)]
    return Diff(
        a.name,
        b.name,
        not configuration and all(fate.shared for fate in fates),
        configuration,
        len(fields) - len(configuration),
        fates,
        tuple(met),
        tuple(sets),
        tuple(sorted(apart, key=lambda d: -d.excess)),
    )


def _configurations(a: Side, b: Side, common: Sequence[str]) -> tuple[dict[str, Any], ...]:
    """Of two versions, all that their files decide; else what the recipes of both sides say."""
    if a.version and b.version:
        return _settings(a.version), _settings(b.version)
    return _stated(a, common), _stated(b, common)


def _settings(version: Version) -> dict[str, Any]:
    """A version's fields with their defaults, an oracle's rates among them."""
    told = version.model_dump(exclude={"name"})
    for seat in ("teacher", *MODELS):
        policy = version.policy(seat)
        if policy is not None and policy.kind == "oracle":
            stage = told[seat]
            stage.get("policy", stage)["rates"] = asdict(Rates(**policy.rates))
    return told


def _stated(side: Side, assets: Sequence[str]) -> dict[str, Any]:
    """What the recipes of assets say, by the path that a version file has for it."""
    return {
        path: value
        for asset in assets
        for name, part in side.recipes[asset]["decided_by"].items()
        for path, value in compare.leaves(part, _path(asset, name))
    }


def _path(asset: str, name: str) -> str:
    if asset in SEATS:
        own = {"stage": SEATS[asset], "sampling": f"{SEATS[asset]}.sampling"}
        return own.get(name, f"{SEATS[asset]}.{name}" if name == "seed" else name)
    if name == "filter":
        return f"filters.{NODES[asset].split}"
    if asset == "problems" and name in ("tasks", "sources"):
        return f"generators.{name}"  # the versions of their code
    return f"{asset}.{name}" if NODES[asset].tables in ("model", "evaluation") else name


def _fate(asset: str, a: Side, b: Side) -> Fate:
    at_a, at_b = a.addresses[asset], b.addresses[asset]
    there_a, there_b = a.manifests[asset], b.manifests[asset]
    equal = there_a.data_version == there_b.data_version if there_a and there_b else None
    before, after = a.recipes[asset], b.recipes[asset]
    own = [
        change
        for part in ("code", "schema", "decided_by")
        for change in compare.changes({part: before[part]}, {part: after[part]})
    ]
    read = compare.changes(before["inputs"], after["inputs"])
    return Fate(
        asset, at_a == at_b, at_a, at_b, _kept(there_a), _kept(there_b), equal,
        tuple(Change(c.path.removeprefix("decided_by."), c.a, c.b) for c in own),
        tuple(change.path for change in read),
    )  # fmt: skip


def _kept(manifest: Manifest | None) -> int | None:
    return None if manifest is None else _yield(manifest).get("kept", 0)


def _yield(manifest: Manifest | None) -> dict[str, int]:
    return {} if manifest is None else dict(manifest.facts["yield"])


# Rows --------------------------------------------------------------------------------------------


def _rows(
    side: Side, store: Store, asset: str, table: str, columns: Sequence[str]
) -> Iterator[Row]:
    return store.rows(asset, side.addresses[asset], table, columns)


def _asked(side: Side, store: Store) -> Iterator[Asked]:
    for split in EVERY_SPLIT:
        for row in _rows(side, store, "problems", split, FACTS):
            problem = rows.problem(row)
            yield Asked(split, problem.task, problem.id, fingerprints(problem)[-1])


def _set(name: str, a: Side, b: Side, store: Store, same: set[bytes] | None) -> SetDiff:
    judged = compare.flows(_judged(name, a, store, same), _judged(name, b, store, same))
    return SetDiff(name, _yield(a.manifests[name]), _yield(b.manifests[name]), judged)


def _judged(name: str, side: Side, store: Store, same: set[bytes] | None) -> Iterator[Judged]:
    """The rows of a set, and what it dropped. Rows are the same if id and texts are, and what is
    asked: those of other problems have a key of their own, which the other side cannot have."""
    of_rl = NODES[name].tables == "rl"
    columns = ["problem_id"] if of_rl else ["problem_id", "id", "turns.list.element.text"]
    for table, more in ((NODES[name].split, []), (REJECTS, ["reason"])):
        for row in _rows(side, store, name, table, [*columns, *more]):
            problem = row["problem_id"]
            alike = same is None or compare.digest(problem) in same
            told = row["problem_id" if of_rl else "id"]
            texts = [turn["text"] for turn in row.get("turns", ())]
            key = compare.digest("" if alike else side.name, told, *texts)
            yield Judged(key, told, row["reason"] if more else "kept")


def _distributions(asset: str, a: Side, b: Side, store: Store) -> Iterator[Distribution]:
    kind = NODES[asset].tables
    if kind not in COLUMNS:
        return
    left, right = (compare.tally(_seen(asset, side, store)) for side in (a, b))
    yield from compare.distributions(asset, left, right)


def _seen(asset: str, side: Side, store: Store) -> Iterator[tuple[str, Value | None]]:
    """Every quantity of every row that an asset kept."""
    columns = COLUMNS[NODES[asset].tables]
    for table in TABLES[NODES[asset].tables]:
        if table != REJECTS:
            for row in _rows(side, store, asset, table, columns):
                yield from _quantities(row)


def _quantities(row: Row) -> Iterator[tuple[str, Value | None]]:
    for name, value in row.items():
        if name == "turns":
            ops = [op["type"] for turn in value for op in turn["ops"] or ()]
            yield from (("turns", len(value)), ("boxes", ops.count("box")))
            yield "lines", ops.count("line")
        elif name == "sizes":
            yield "pictures", len(value)
            sizes = dict.fromkeys(f"{size['width']}×{size['height']}" for size in value)
            yield from (("size", size) for size in sizes)  # once, however many frames have it
        elif name == "answer":
            yield ("letter", value) if row["kind"] == "choice" else ("number", _number(value))
        elif name == "corrections":
            yield name, len(value)
        else:
            yield name, value


def _number(answer: str) -> float | None:
    told = number(answer)
    return None if told is None else float(told)
