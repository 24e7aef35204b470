"""Why a version is refused, a line a fault: the field as its file has it, the value, what is allowed."""

from typing import Any

from pydantic import BaseModel, ValidationError

from pipeline.imports import IMPORT_KINDS
from pipeline.policies import KINDS


def told(where: str, error: ValidationError) -> str:
    """All faults that pydantic found in the version file that messages call ``where``."""
    return "\n".join(f"{where}: {_field(e['loc'])}: {_said(e)}" for e in error.errors())


def _field(place: tuple[int | str, ...]) -> str:
    """A field's path as it is in the file: without the tags that pydantic puts into it."""
    parts = [str(part) for part in place if part != "[key]"]
    tagged = {"policy", *KINDS}  # fields after which a kind may stand
    tags = {kind for kinds in KINDS.values() for kind in kinds}
    shown = [p for n, p in enumerate(parts) if not (p in tags and n and parts[n - 1] in tagged)]
    if shown[:2] == ["problems", "imports"] and shown[3:4] and shown[3] in IMPORT_KINDS:
        del shown[3]
    return ".".join(shown) or "the whole file"


def _said(error: Any) -> str:
    """The value and what is allowed, in one line."""
    kind, given = error["type"], error["input"]
    if kind == "missing":
        return "missing"
    if kind == "extra_forbidden":
        return "no such field"
    if kind == "union_tag_not_found":
        return f"kind is missing: {_listed(_kinds(error['loc']), 'or')}"
    if kind == "union_tag_invalid":
        known = _listed(_kinds(error["loc"]), "and")
        return f"kind {error['ctx']['tag']!r}: there are {known}"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"{given!r}: a mapping is needed"
    if kind in ("tuple_type", "too_long", "too_short"):
        return f"{given!r}: a list of two numbers is needed"
    message = str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
    return message if isinstance(given, dict | BaseModel) else f"{given!r}: {message}"


def _kinds(place: tuple[int | str, ...]) -> tuple[str, ...]:
    """The kinds that a field takes: those of its seat, or of an import."""
    return KINDS.get(str(place[0]), IMPORT_KINDS)


def _listed(names: tuple[str, ...], last: str) -> str:
    return f"{', '.join(names[:-1])} {last} {names[-1]}"
