"""What a version file says of exports: a format, the sets, and whom the rows are told to."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from pipeline.exporters import EXPORTERS
from pipeline.exporters.files import ExportError
from pipeline.exporters.told import Target
from pipeline.fields import Count, Section
from pipeline.protocol import FAMILIES


class Wanted(Section):
    """One line of a version's ``exports``."""

    format: str
    sets: Annotated[tuple[Literal["skills", "cold", "reflective", "rl"], ...], Field(min_length=1)]
    family: str = ""  # that the texts are to speak to; "": the version's
    processor: str = ""  # of the target model, by path or name: lengths are counted with it
    max_tokens: Count = 0  # of a row; 0: no limit

    @field_validator("format")
    @classmethod
    def _known_format(cls, value: str) -> str:
        if value not in EXPORTERS:
            raise ValueError(f"no format {value!r}; there are {', '.join(EXPORTERS)}")
        return value

    @field_validator("family")
    @classmethod
    def _known_family(cls, value: str) -> str:
        if value and value not in FAMILIES:
            raise ValueError(f"no family {value!r}; there are {', '.join(FAMILIES)}")
        return value

    @model_validator(mode="after")
    def _takes(self) -> "Wanted":
        takes = EXPORTERS[self.format]().takes
        if wrong := [name for name in self.sets if name not in takes]:
            raise ValueError(f"{self.format} takes {', '.join(takes)}, and not {wrong[0]}")
        return self

    def folders(self) -> dict[str, str]:
        """A name for the folder of each set."""
        parts = (self.format, "{}", *([self.family] if self.family else []))
        return {name: "-".join(parts).format(name) for name in self.sets}

    def target(self) -> Target:
        """Whom rows are told to.

        Raises:
            OSError: if there is no such processor.
        """
        from pipeline.models import load_processor

        processor = load_processor(self.processor) if self.processor else None
        return Target(self.family, self.max_tokens, processor)


def wanted(**said: Any) -> Wanted:
    """One export that is asked for elsewhere than in a version file.

    Raises:
        ExportError: with the first thing that is wrong, and what is allowed.
    """
    try:
        return Wanted(**said)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"] if isinstance(part, str))
        message = first["msg"].removeprefix("Value error, ")
        raise ExportError(f"{field}: {message}" if field else message) from None
