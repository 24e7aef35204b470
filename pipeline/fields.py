"""What a section of a version file is made of: strict numbers, and names that are known."""

from collections.abc import Iterable
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T")

# YAML's true is no 1, and "4" no 4.
Whole = Annotated[int, Field(strict=True)]
Real = Annotated[float, Field(strict=True)]
Share = Annotated[Real, Field(ge=0, le=1)]
Rate = Annotated[Real, Field(gt=0, le=1)]
Flag = Annotated[bool, Field(strict=True)]
Count = Annotated[Whole, Field(ge=0, le=100_000_000)]


class VersionError(ValueError):
    """A version file that is refused; the message names file, field, value and what is allowed."""


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def among(given: dict[str, T], what: str, known: Iterable[str]) -> dict[str, T]:
    """The same, if all its keys are known."""
    names = list(known)
    if unknown := [name for name in given if name not in names]:
        raise ValueError(f"no {what} {unknown[0]!r}; there are {', '.join(names)}")
    return given
