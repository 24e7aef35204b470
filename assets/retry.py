"""Asking again for what failed: `drawloop build --retry-failed`, or an asset's run configuration.

Kept failures of the version's policies are forgotten, so that the next build asks again. Where an
asset is complete without them, it is sampled once more in memory, from the turns that are kept; only
if fewer fail now does it go from the store, and with it all that was made from it, in any version.
"""

import asyncio
import shutil
from collections.abc import Callable, Iterator, Sequence

from pyarrow import fs

from assets.bodies import sampling, seat, stage
from assets.build import Built, find, inputs_of
from assets.graph import NODES
from assets.models import RUNS
from pipeline import teachers
from pipeline.asking import turns_file
from pipeline.kept import Kept
from pipeline.store import Store, StoreError
from pipeline.types import Failure
from pipeline.versions import Version

Sure = Callable[[str], bool]  # whether to go on, asked of a person


def retry(asset: str, version: Version, store: Store, sure: Sure) -> Iterator[str]:
    """Forgets what of an asset of trajectories failed, and asks again where it is complete without
    that; lines to print.

    Raises:
        NoBackend: if the version names a policy that cannot be run here.
        TooManyFailures: if it fails again, and more than the version allows.
    """
    read = NODES[asset].reads(version)
    if any(find(name, version, store) is None for name in read):
        return  # nobody was asked yet
    inputs = inputs_of(asset, version, store)
    given, who = stage(asset, version, inputs), seat(asset, version)
    identity = teachers.identity(given, version.model_seed(who))
    if identity is None:
        return
    with Kept.at(turns_file(store)) as kept:
        kept.forget_failures(kept.policy(identity))
    built = find(asset, version, store)
    failed = built.manifest.facts["yield"].get("failed", 0) if built else 0
    if built is None or not failed:
        return
    still = asyncio.run(_failing(built))
    yield f"{asset}: {failed} trajectories had failed, and {still} do now"
    if still < failed:
        folders = list(made_from(built))
        yield from (f"    {folder}" for folder in folders)
        if sure(f"Make these {len(folders)} folders anew?"):
            remove(store, folders)


async def _failing(built: Built) -> int:
    """How many fail of the trajectories of an asset, sampled now."""
    async with sampling(built.asset, built.version, built.inputs) as (runs, _):
        return sum([isinstance(run, Failure) async for run in runs])


def made_from(built: Built) -> Iterator[str]:
    """The folders of an asset and of all that was made from it, as their manifests tell."""
    store = built.inputs.store
    for asset in NODES:
        place = fs.FileSelector(f"{store.root}/{asset}", allow_not_found=True)
        for folder in store.files.get_file_info(place):
            try:
                manifest = store.manifest(asset, folder.base_name)
            except StoreError:
                continue  # `drawloop prune` takes it
            if manifest is not None and built.address in manifest.facts.get("lineage", {}):
                yield folder.path


def remove(store: Store, folders: Sequence[str]) -> None:
    """Takes folders of assets from the store, and what their trainers could go on from."""
    for folder in reversed(folders):  # what was made from others first
        store.files.delete_dir(folder)
        asset, address = folder.split("/")[-2:]
        shutil.rmtree(store.desk / RUNS / f"{asset}-{address}", ignore_errors=True)
        if not store.is_local:
            shutil.rmtree(store.desk / asset / address, ignore_errors=True)
