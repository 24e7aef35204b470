"""Building one asset of one version: found by its address, or written."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version as installed

from assets.graph import NODES, address, lineage, recipe, schemas
from assets.inputs import Inputs
from assets.launch import Launch, process
from pipeline.canvas import RENDERER
from pipeline.manifest import MANIFEST, Manifest
from pipeline.protocol import PROTOCOL
from pipeline.rows import Row, hugging_face
from pipeline.store import AGAIN, Store, StoreError, Writer
from pipeline.versions import Version


@dataclass(frozen=True, slots=True)
class Built:
    """An asset of a version that is in the store."""

    asset: str
    version: Version
    inputs: Inputs
    address: str
    manifest: Manifest

    @property
    def path(self) -> str:
        return self.inputs.store.path(self.asset, self.address)

    def rows(self, table: str, columns: Sequence[str] | None = None) -> Iterator[Row]:
        return self.inputs.store.rows(self.asset, self.address, table, columns)


def find(asset: str, version: Version, store: Store) -> Built | None:
    """The asset if it is in the store, complete.

    Raises:
        StoreError: if its manifest is none, or does not count what was kept and dropped.
    """
    place = address(asset, version)
    manifest = store.manifest(asset, place)
    if manifest is None:
        return None
    counts = manifest.facts.get("yield")
    if not isinstance(counts, dict) or any(type(n) is not int or n < 0 for n in counts.values()):
        path = store.path(asset, place, MANIFEST)
        raise StoreError(f"{path} counts no rows kept and dropped, by reason; {AGAIN}")
    return Built(asset, version, inputs_of(asset, version, store), place, manifest)


def inputs_of(asset: str, version: Version, store: Store, launch: Launch = process) -> Inputs:
    """What an asset of a version reads, and where it lies."""
    read = NODES[asset].reads(version)
    return Inputs(store, {name: address(name, version) for name in read}, launch)


def build(asset: str, version: Version, store: Store, launch: Launch = process) -> Built:
    """The asset, written now unless it is in the store already.

    Raises:
        StoreError: if an asset that it reads is not there or damaged.
        TrainerFailed: if it is trained, or evaluated, and that fails.
    """
    if (built := find(asset, version, store)) is not None:
        return built
    inputs = inputs_of(asset, version, store, launch)
    tables = {
        name: hugging_face(schema) if "images" in schema.names else schema
        for name, schema in schemas(asset, version).items()
    }
    with Writer(store, asset, address(asset, version), tables) as writer:
        writer.facts = {
            "recipe": recipe(asset, version),
            "lineage": lineage(asset, version),
            "drawloop": installed("drawloop"),
            "renderer": RENDERER,
            "protocol": PROTOCOL,
            "yield": {},
        }
        NODES[asset].body(version, inputs, writer)
    made = find(asset, version, store)
    assert made is not None, f"{asset} was written, and its manifest is not there"
    return made
