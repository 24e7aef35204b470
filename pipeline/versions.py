"""A dataset version: one YAML file under versions/, its file name the version's name.

It holds everything that a run needs, because a backfill takes no run config. A file that is wrong is
refused with the field, the value and what is allowed.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pipeline.protocol import FAMILIES, Family
from pipeline.reflection import Tolerance
from pipeline.reward import Rules
from pipeline.rollout import Limits
from pipeline.sources import SOURCES
from pipeline.tasks import TASKS, Wording
from pipeline.teachers.oracle import Rates
from pipeline.types import SPLITS

T = TypeVar("T")
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
TRAINING_UNITS = 256  # patches of unit × unit px: the pixel cap for training (448 for evaluation)

# YAML's true is no 1, and "4" no 4.
Whole = Annotated[int, Field(strict=True)]
Real = Annotated[float, Field(strict=True)]
Share = Annotated[Real, Field(ge=0, le=1)]
Count = Annotated[Whole, Field(ge=0, le=100_000_000)]


class VersionError(ValueError):
    """A version file that is refused; the message names file, field, value and what is allowed."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _among(given: dict[str, T], what: str, known: Iterable[str]) -> dict[str, T]:
    """The same, if all its keys are known."""
    names = list(known)
    if unknown := [name for name in given if name not in names]:
        raise ValueError(f"no {what} {unknown[0]!r}; there are {', '.join(names)}")
    return given


class Canvas(_Section):
    """Sides of pictures, px. Each side is drawn between the two, in multiples of the patch unit."""

    smallest: Annotated[Whole, Field(ge=112, le=1000)] = 112
    largest: Annotated[Whole, Field(ge=112, le=1000)] = 224

    @model_validator(mode="after")
    def _ordered(self) -> "Canvas":
        if self.smallest > self.largest:
            raise ValueError(f"smallest {self.smallest} is above largest {self.largest}")
        return self


class Ingredient(_Section):
    """One task or source: its weight in the mix and the range of its difficulty."""

    share: Annotated[Real, Field(gt=0, le=1000)] = 1.0
    difficulty: tuple[Share, Share] = (0.0, 1.0)

    @field_validator("difficulty")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] > value[1]:
            raise ValueError(f"the lower end {value[0]} is above the upper {value[1]}")
        return value


class Problems(_Section):
    """What is asked: the mix, and how many problems each split gets."""

    tasks: dict[str, Ingredient] = {}
    sources: dict[str, Ingredient] = {}
    splits: dict[str, Count]

    @field_validator("tasks")
    @classmethod
    def _known_tasks(cls, value: dict[str, Ingredient]) -> dict[str, Ingredient]:
        return _among(value, "task", TASKS)

    @field_validator("sources")
    @classmethod
    def _known_sources(cls, value: dict[str, Ingredient]) -> dict[str, Ingredient]:
        return _among(value, "source", SOURCES)

    @field_validator("splits")
    @classmethod
    def _every_split(cls, value: dict[str, int]) -> dict[str, int]:
        if missing := [split for split in SPLITS if split not in value]:
            raise ValueError(f"without a number: {', '.join(missing)}")
        return _among(value, "split", SPLITS)

    @model_validator(mode="after")
    def _something(self) -> "Problems":
        if not self.tasks and not self.sources:
            raise ValueError("neither a task nor a source is named")
        return self


class OraclePolicy(_Section):
    """The fallible oracle; ``rates`` override `teachers.oracle.Rates`."""

    kind: Literal["oracle"]
    rates: dict[str, Annotated[Real, Field(ge=0, le=1)]] = {}

    @field_validator("rates")
    @classmethod
    def _known(cls, value: dict[str, float]) -> dict[str, float]:
        return _among(value, "rate", Rates.__dataclass_fields__)


class CheckpointPolicy(_Section):
    """A model trained elsewhere, by name or path."""

    kind: Literal["checkpoint"]
    model: Annotated[str, Field(min_length=1, max_length=300)]
    revision: str | None = None


Policy = Annotated[OraclePolicy | CheckpointPolicy, Field(discriminator="kind")]


class Sampling(_Section):
    """How a model is sampled: trajectories a problem, and the sampler's own numbers.

    An oracle has nothing to sample from: with it, temperature and top_p are refused.
    """

    samples: Annotated[Whole, Field(ge=1, le=1024)]
    temperature: Annotated[Real, Field(ge=0, le=5)] = 0.75
    top_p: Annotated[Real, Field(gt=0, le=1)] = 0.9
    max_tokens: Annotated[Whole, Field(ge=16, le=65_536)] = 1024  # a turn


class Stage(_Section):
    """A policy and how it is sampled."""

    policy: Policy
    sampling: Sampling

    @model_validator(mode="after")
    def _sampled(self) -> "Stage":
        given = self.sampling.model_fields_set & {"temperature", "top_p"}
        if self.policy.kind == "oracle" and given:
            raise ValueError(f"an oracle has no {' or '.join(sorted(given))}: leave it out")
        return self


class Rollout(_Section):
    """METHOD's stop limits; a task's own number of turns overrides ``max_turns``."""

    max_turns: Annotated[Whole, Field(ge=1, le=100)] = 10
    task_turns: dict[str, Annotated[Whole, Field(ge=1, le=100)]] = {"maze": 20}
    max_images: Annotated[Whole, Field(ge=1, le=1000)] = 42
    max_context: Annotated[Whole, Field(ge=256, le=10_000_000)] = 32_768
    repeat_iou: Annotated[Real, Field(gt=0, le=1)] = 1.0
    repeat_ends: Annotated[Real, Field(ge=0, le=100)] = 0.0  # px
    on_fault: Literal["stop", "tell"] = "stop"

    @field_validator("task_turns")
    @classmethod
    def _known(cls, value: dict[str, int]) -> dict[str, int]:
        return _among(value, "task", [*TASKS, *SOURCES])


class ColdFilter(_Section):
    min_turns: Annotated[Whole, Field(ge=1, le=100)] = 3  # the answer included


class ReflectiveFilter(_Section):
    """Which rule decides; there is no default: a version says it."""

    rule: Literal["paper", "strict", "strict+helped"]


class Filters(_Section):
    cold: ColdFilter = ColdFilter()
    reflective: ReflectiveFilter


class Scoring(_Section):
    beta: Annotated[Real, Field(ge=0, lt=1)] = 0.0
    solved_at: Annotated[Real, Field(gt=0, le=1)] = 0.9
    w_draw: Annotated[Real, Field(ge=0, le=100)] = 0.0


class Version(_Section):
    """A whole dataset version."""

    name: str
    description: Annotated[str, Field(min_length=1)]
    seed: Annotated[Whole, Field(ge=0, lt=2**63)] = 0
    family: str = "qwen2.5-vl"
    canvas: Canvas = Canvas()
    wording: Wording = "varied"
    problems: Problems
    rollout: Rollout = Rollout()
    teacher: Stage
    cold_model: Stage
    reflective_model: Stage
    score: Scoring = Scoring()
    filters: Filters

    @field_validator("family")
    @classmethod
    def _family(cls, value: str) -> str:
        if value not in FAMILIES:
            raise ValueError(f"no family {value!r}; there are {', '.join(FAMILIES)}")
        return value

    @model_validator(mode="after")
    def _on_the_grid(self) -> "Version":
        unit = self.wire.unit
        if not self.sides:
            below = self.canvas.largest // unit * unit
            raise ValueError(
                f"canvas {self.canvas.smallest}..{self.canvas.largest} holds no multiple of "
                f"{unit} px, the patch unit of {self.family}: the nearest are {below} and {below + unit}"
            )
        if (self.canvas.largest // unit) ** 2 > TRAINING_UNITS:
            raise ValueError(
                f"canvas.largest {self.canvas.largest} is too large for {self.family}: at most "
                f"{16 * unit + unit - 1} px, so that a square picture keeps {TRAINING_UNITS} patches"
            )
        return self

    @property
    def wire(self) -> Family:
        return FAMILIES[self.family]

    @property
    def sides(self) -> range:
        """The sides that pictures may have, in patch units."""
        return range(
            -(-self.canvas.smallest // self.wire.unit), self.canvas.largest // self.wire.unit + 1
        )

    @property
    def limits(self) -> Limits:
        r = self.rollout
        return Limits(
            max_turns=r.max_turns,
            task_turns=tuple(r.task_turns.items()),
            max_images=r.max_images,
            max_context=r.max_context,
            repeats=Tolerance(r.repeat_iou, r.repeat_ends),
            tell_faults=r.on_fault == "tell",
        )

    @property
    def rules(self) -> Rules:
        return Rules(self.score.beta, self.score.solved_at, self.score.w_draw)


def folder() -> Path:
    """Where version files lie: ``$DRAWLOOP_VERSIONS``, else versions/ beside the packages."""
    given = os.environ.get("DRAWLOOP_VERSIONS")
    return Path(given) if given else Path(__file__).parent.parent / "versions"


def names() -> list[str]:
    """The names of all version files, sorted."""
    found = folder().glob("*.yaml")
    return sorted(p.stem for p in found if p.is_file() and NAME.fullmatch(p.stem))


def load(name: str) -> Version:
    """Reads and validates versions/<name>.yaml.

    Raises:
        VersionError: naming the file, the field, the value and what is allowed.
    """
    path = folder() / f"{name}.yaml"
    if not NAME.fullmatch(name) or not path.is_file():
        there = f"there are {', '.join(names())}" if names() else "there are none"
        raise VersionError(f"no version {name!r}: {there} in {folder()}")
    try:
        return parse(name, path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise VersionError(f"versions/{name}.yaml: not UTF-8: {error}") from None


def parse(name: str, text: str) -> Version:
    """A version from the text of its file."""
    where = f"versions/{name}.yaml"
    try:
        content = yaml.load(text, Loader=_OneOfEach)  # noqa: S506  a SafeLoader
    except (yaml.YAMLError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise VersionError(f"{where}: not YAML: {error}") from None
    if not isinstance(content, dict):
        raise VersionError(f"{where}: a mapping is needed, this is {_yaml_name(content)}")
    if "name" in content:
        raise VersionError(f"{where}: name: leave it out, the file's name is the version's")
    try:
        return Version.model_validate({"name": name, **content})
    except ValidationError as error:
        lines = [f"{where}: {_field(e['loc'])}: {_said(e)}" for e in error.errors()]
        raise VersionError("\n".join(lines)) from None


def _yaml_name(value: Any) -> str:
    kinds = {
        list: "a list",
        str: "a text",
        bool: "true or false",
        type(None): "nothing",
    }
    return kinds.get(type(value), "a number")


def _field(place: tuple[int | str, ...]) -> str:
    """A field's path as it is in the file: without the tags that pydantic puts into it."""
    parts = [str(part) for part in place if part != "[key]"]
    tags = {"oracle", "checkpoint"}
    shown = [p for n, p in enumerate(parts) if not (p in tags and n and parts[n - 1] == "policy")]
    return ".".join(shown) or "the whole file"


def _said(error: Any) -> str:
    """The value and what is allowed, in one line."""
    kind, given = error["type"], error["input"]
    if kind == "missing":
        return "missing"
    if kind == "extra_forbidden":
        return "no such field"
    if kind == "union_tag_not_found":
        return "kind is missing: oracle or checkpoint"
    if kind == "union_tag_invalid":
        return f"kind {error['ctx']['tag']!r}: there are oracle and checkpoint"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"{given!r}: a mapping is needed"
    if kind in ("tuple_type", "too_long", "too_short"):
        return f"{given!r}: a list of two numbers is needed"
    message = str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
    return message if isinstance(given, dict | BaseModel) else f"{given!r}: {message}"


class _OneOfEach(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice, instead of forgetting the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: list[Any] = []
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.YAMLError(f"key {key!r} twice, line {key_node.start_mark.line + 1}")
            seen.append(key)
        return super().construct_mapping(node, deep)
