"""Exports for training frameworks: a set of the store, its story, and the folders that it becomes.

The story comes from the manifests: what decided each stage, and what it kept and dropped.
"""

import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from assets.inputs import Inputs, put
from pipeline.exporters import PROBLEMS
from pipeline.exporters.card import Story, Yield, card
from pipeline.exporters.export import Given, Report, copied, export
from pipeline.exporters.native import ASSET
from pipeline.exporters.origins import Origin, origins
from pipeline.exporters.wanted import Wanted
from pipeline.manifest import CARD, Manifest
from pipeline.rows import Row
from pipeline.store import Store, StoreError, Writer
from pipeline.types import KEPT
from pipeline.versions import Version

TABLE = "train"  # of a native export
SEATS = {"cold": "teacher", "reflective": "cold_model"}  # who wrote the trajectories of a set
WRITTEN = pa.schema(
    [
        ("format", pa.string()),
        ("set", pa.string()),
        ("folder", pa.string()),  # in the asset's own
        ("read", pa.int64()),
        ("written", pa.int64()),
        ("omitted", pa.string()),  # JSON: rows by reason
        ("pictures", pa.int64()),
        ("placeholders", pa.int64()),
        ("longest", pa.int64()),  # tokens
        ("counted_by", pa.string()),
    ]
)


def of(set_: str) -> str:
    """The asset that holds a set as native rows."""
    return f"{set_}_export"


def read_by(version: Version) -> tuple[str, ...]:
    """The native exports that a version's exports are made from."""
    named = {set_ for wanted in version.exports for set_ in wanted.sets}
    return tuple(of(set_) for set_ in ("skills", "cold", "reflective", "rl") if set_ in named)


def decided_by(version: Version) -> Any:
    """What a version says of its exports; the card tells its name and description."""
    if not version.exports:
        return None
    asked = [wanted.model_dump() for wanted in version.exports]
    return {"exports": asked, "name": version.name, "description": version.description}


def write(version: Version, inputs: Inputs, writer: Writer) -> None:
    """All that a version lists, each in a folder of its own."""
    for wanted in version.exports:
        for set_, name in wanted.folders().items():
            desk = inputs.store.desk / "tmp"
            desk.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=desk, prefix="export-") as place:
                folder = Path(place) / name
                address = inputs.addresses[of(set_)]
                report = to_folder(version, set_, wanted, inputs.store, address, folder)
                for path in sorted(folder.rglob("*")):
                    if path.is_file():
                        writer.add(f"{name}/{path.relative_to(folder).as_posix()}", path)
            put(writer, "written", written(report, name), KEPT)


def write_native(
    version: Version, set_: str, rows: Iterable[Row], inputs: Inputs, writer: Writer
) -> None:
    """A native export: its rows, and its card.

    Versions may share it, so its card tells what decided it, and names no version.
    """
    report = Report("native", ASSET.framework, set_, "", "estimate", 0)
    for row in copied(rows, report):
        put(writer, TABLE, row, KEPT)
    facts = json.loads(json.dumps(writer.facts))  # as the manifest will have them
    told = replace(
        story(version, set_, facts, inputs.store),
        version=writer.name,
        description=f"The asset `{of(set_)}`, as it lies in the store.",
    )
    given = Given(set_, (), writer.schema(TABLE))
    with tempfile.TemporaryDirectory(prefix="drawloop-card-") as desk:
        file = Path(desk) / CARD
        file.write_text(
            card(ASSET, given, report.told(), told, f"{TABLE}-*.parquet"), encoding="utf-8"
        )
        writer.add(CARD, file)


def written(report: Report, folder: str) -> Row:
    """A row of the table of what was written."""
    told = report.told()
    row = {name: told.get(name) for name in WRITTEN.names}
    return {**row, "folder": folder, "omitted": json.dumps(told["omitted"])}


def to_folder(
    version: Version,
    set_: str,
    wanted: Wanted,
    store: Store,
    address: str,
    folder: Path,
    *,
    overwrite: bool = False,
) -> Report:
    """A set of a version, whose native export has that address, into a folder of a format.

    Raises:
        StoreError: if the native export is not there.
        ExportError, FamilyMismatch, GridMismatch: see `export`.
    """
    asset = of(set_)
    manifest = store.manifest(asset, address)
    if manifest is None:
        raise StoreError(f"{version.name} has no {asset} yet: drawloop build --sets {version.name}")
    given = Given(set_, store.rows(asset, address, TABLE), _schema(store, asset, address, manifest))
    told = story(version, set_, manifest.facts, store)
    return export(wanted.format, given, wanted.target(), folder, told, overwrite=overwrite)


def _schema(store: Store, asset: str, address: str, manifest: Manifest) -> pa.Schema:
    """The columns of a native export, as its first part has them."""
    part = min(name for name in manifest.parts if name.startswith(f"{TABLE}-"))
    with store.files.open_input_file(store.path(asset, address, part)) as file:
        return pq.read_schema(file).remove_metadata()


def story(version: Version, set_: str, facts: Mapping[str, Any], store: Store) -> Story:
    """How a set came to be, by the facts of its native export and of all that it was made from."""
    stages, recipe, imported = [], {}, []
    for address, made in facts["lineage"].items():
        asset = made["asset"]
        recipe[asset] = made["decided_by"]
        upstream = None if asset == of(set_) else store.manifest(asset, address)
        if asset.endswith("_model") or (upstream is None and asset != of(set_)):
            continue
        known = upstream.facts if upstream else facts
        told = known.get("imports", {})
        imported += [Origin(n, one["origin"], one["licence"]) for n, one in told.items()]
        counts = dict(known["yield"])
        stages.append(Yield(asset, counts.pop("kept", 0), dict(sorted(counts.items()))))
    mix = recipe["problems"]
    return Story(
        version=version.name,
        description=version.description,
        family=version.family,
        writer=_writer(version, set_),
        stages=stages,
        versions={
            "drawloop": facts["drawloop"],
            "schema": str(facts["recipe"]["schema"]),
            "protocol": facts["protocol"],
            "renderer": facts["renderer"],
        },
        recipe=recipe,
        origins=[*origins(mix["tasks"], mix["sources"]), *imported],
    )


def _writer(version: Version, set_: str) -> str:
    if set_ in PROBLEMS:
        return ""
    if set_ not in SEATS:
        return "drawloop, from the problems' own solutions"
    policy = version.policy(SEATS[set_])
    if policy.kind == "oracle":
        return "an oracle, which knows the true operations and errs at the rates below"
    if policy.kind == "train":
        return "a model that was trained on the sets before this one"
    named = getattr(policy, "model", "")
    return f"the model {named}, whose terms apply to its texts" if named else f"a {policy.kind}"
