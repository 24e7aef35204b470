"""What an asset's body works with: the assets it reads, and the counted rows it writes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from assets.launch import Launch, process
from pipeline import rows
from pipeline.manifest import Manifest
from pipeline.rows import Row
from pipeline.store import Store, StoreError, Writer
from pipeline.types import Problem, Trajectory, Verdict

REJECTS = "rejects"
FACTS: list[str] = rows.FACTS.names


@dataclass(frozen=True, slots=True)
class Inputs:
    """The assets that a body reads: their names, and where in the store they lie.

    ``launch`` starts the trainers of those that train.
    """

    store: Store
    addresses: Mapping[str, str]
    launch: Launch = process

    def rows(self, asset: str, table: str, columns: Sequence[str] | None = None) -> Iterator[Row]:
        return self.store.rows(asset, self.addresses[asset], table, columns)

    def count(self, asset: str, table: str) -> int:
        """Rows of a table, by its manifest."""
        manifest: Manifest | None = self.store.manifest(asset, self.addresses[asset])
        if manifest is None:
            raise StoreError(f"{self.store.path(asset, self.addresses[asset])} is not there")
        return manifest.tables[table]

    def folder(self, asset: str) -> str:
        """Where an asset lies as local files, for a process to read."""
        return str(self.store.local(asset, self.addresses[asset]))

    def problems(self, split: str, *, pictures: bool) -> Iterator[Problem]:
        """The problems of a split; without ``pictures`` they have sizes but no bytes."""
        columns = None if pictures else FACTS
        return map(rows.problem, self.rows("problems", split, columns))

    def trajectories(self, asset: str, table: str = "trajectories") -> Iterator[Trajectory]:
        return map(rows.trajectory, self.rows(asset, table, rows.TRAJECTORY.names))


def put(writer: Writer, table: str, row: Row, verdict: Verdict) -> None:
    """A row into its table, or into the rejects with its reason; counted either way."""
    counts = writer.facts["yield"]
    outcome = "kept" if verdict.keep else verdict.reason
    counts[outcome] = counts.get(outcome, 0) + 1
    if verdict.keep:
        writer.append(table, row)
    else:
        writer.append(REJECTS, {**row, "reason": verdict.reason, "detail": verdict.detail})


def with_rejects(tables: Mapping[str, pa.Schema], rejected: pa.Schema) -> dict[str, pa.Schema]:
    """The tables of an asset that drops rows: its own, and the rejects with their reasons."""
    return {**tables, REJECTS: rows.joined(rejected, rows.REASON)}
