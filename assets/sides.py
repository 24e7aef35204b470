"""What can be compared: a version, or a build.

A build is an asset that lies in the store, with all that it was made from, by the recipes in its
manifest. It outlives the version file that it was made by.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyarrow import fs

from assets.graph import NODES, address, recipe
from pipeline.manifest import Manifest
from pipeline.store import Store, StoreError
from pipeline.versions import Version, VersionError, load, names, parse

BUILD = re.compile(r"(?:(?P<asset>\w+)/)?(?P<start>[0-9a-f]{4,16})/?")


@dataclass(frozen=True, slots=True)
class Side:
    """A version or a build: where its assets lie, and what decided each."""

    name: str
    version: Version | None  # None: a build
    addresses: Mapping[str, str]
    recipes: Mapping[str, Any]
    manifests: Mapping[str, Manifest | None]  # None: not in the store


def side(word: str, store: Store) -> Side:
    """The version of a name or of a file that ends in .yaml, or the build of an address.

    Raises:
        VersionError: if there is no such version and no such build, or its file is refused.
        StoreError: if several builds have such an address, or a manifest is damaged.
    """
    if word.endswith(".yaml"):
        return _of_version(word, _read(Path(word)), store)
    if word in names():
        return _of_version(word, load(word), store)
    if found := BUILD.fullmatch(word):
        return _of_build(*_only(word, found["asset"], found["start"], store), store)
    if word.partition("/")[0] in NODES:
        raise StoreError(
            f"{word!r} names no build: its asset, / and 4 to 16 hex digits do, as `drawloop "
            "status` prints them"
        )
    known = ", ".join(names()) or "none"
    raise VersionError(
        f"no version {word!r}: there are {known}; a build is named by its address, as "
        "`drawloop status` prints it"
    )


def _read(path: Path) -> Version:
    try:
        return parse(path.stem, path.read_text("utf-8"))
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise VersionError(f"{path} is no version file: {error}") from None


def _of_version(word: str, version: Version, store: Store) -> Side:
    addresses = {asset: address(asset, version) for asset in NODES}
    recipes = {asset: recipe(asset, version) for asset in NODES}
    return Side(word, version, addresses, recipes, _manifests(addresses, store))


def _of_build(asset: str, place: str, store: Store) -> Side:
    manifest = store.manifest(asset, place)
    assert manifest is not None, "it was found by its manifest"
    lineage = manifest.facts["lineage"]
    addresses = {told["asset"]: at for at, told in lineage.items()}
    recipes = {told["asset"]: told for told in lineage.values()}
    return Side(f"{asset}/{place}", None, addresses, recipes, _manifests(addresses, store))


def _manifests(addresses: Mapping[str, str], store: Store) -> dict[str, Manifest | None]:
    return {asset: store.manifest(asset, at) for asset, at in addresses.items()}


def _only(word: str, asset: str | None, start: str, store: Store) -> tuple[str, str]:
    """(asset, address) of the one build whose address starts so."""
    found = [
        (name, at)
        for name in ([asset] if asset else NODES)
        for at in _addresses(store, name)
        if at.startswith(start) and store.manifest(name, at) is not None
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        raise StoreError(
            f"no version and no build {word!r} in {store.root}: `drawloop list` tells the "
            "versions, `drawloop status` what is built and where; `drawloop build` builds"
        )
    several = ", ".join("/".join(pair) for pair in found[:4])
    raise StoreError(f"{word!r} starts {len(found)} addresses, give more of one: {several}")


def _addresses(store: Store, asset: str) -> list[str]:
    place = fs.FileSelector(f"{store.root}/{asset}", allow_not_found=True)
    infos = store.files.get_file_info(place)
    return sorted(info.base_name for info in infos if info.type == fs.FileType.Directory)
