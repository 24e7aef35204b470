"""A dataset version: one YAML file under versions/, its file name the version's name.

It holds everything that a run needs, because a backfill takes no run config. A file that is wrong is
refused with the field, the value and what is allowed.

Each seat of the recipe names its model, as `policies` says. ``base_model`` and ``grpo_model`` may be
left out: then the version has no such model, and nothing takes its place.
"""

import os
import re
from collections.abc import Mapping
from math import isqrt
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from pipeline import decisions
from pipeline.decisions import NOBODY, Decision, DecisionError
from pipeline.exporters.told import refuse
from pipeline.exporters.wanted import Wanted
from pipeline.external import Columns, digest
from pipeline.fields import Count, Flag, Real, Section, Share, Whole, among
from pipeline.fields import VersionError as VersionError
from pipeline.imports import IMPORT_KINDS, Import, SharegptImport, VilasrImport
from pipeline.policies import (
    KINDS,
    LEARNABLE,
    LEARNT,
    MODELS,
    TRAINED,
    WITHOUT_WEIGHTS,
    Base,
    Reinforced,
    Sampled,
    Stage,
    StudentStage,
)
from pipeline.protocol import FAMILIES, Family
from pipeline.reflection import Tolerance
from pipeline.reward import Rules
from pipeline.rollout import Limits
from pipeline.shape import Shape
from pipeline.sources import SOURCES
from pipeline.tasks import TASKS, Wording
from pipeline.types import SPLITS

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
TRAINING_UNITS = 256  # patches of unit × unit px: the pixel cap for training
EVALUATION_UNITS = 448  # and for problems that are only evaluated on
UNSEEN = ("unseen_task", "unseen_size")  # splits that are unlike all training
EVALUATED = ("evaluation", *UNSEEN)
EVERY_SPLIT = (*SPLITS, *UNSEEN)

Facet = Literal["task", "answer", "difficulty"]


class Canvas(Section):
    """Sides of pictures, px. Each side is drawn between the two, in multiples of the patch unit."""

    smallest: Annotated[Whole, Field(ge=112, le=1000)] = 112
    largest: Annotated[Whole, Field(ge=112, le=1000)] = 224

    @model_validator(mode="after")
    def _ordered(self) -> "Canvas":
        if self.smallest > self.largest:
            raise ValueError(f"smallest {self.smallest} is above largest {self.largest}")
        return self


class Ingredient(Section):
    """One task or source: its weight in the mix and the range of its difficulty."""

    share: Annotated[Real, Field(gt=0, le=1000)] = 1.0
    difficulty: tuple[Share, Share] = (0.0, 1.0)

    @field_validator("difficulty")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] > value[1]:
            raise ValueError(f"the lower end {value[0]} is above the upper {value[1]}")
        return value


class Unseen(Section):
    """What no training mix has: other tasks, and other sizes of pictures."""

    tasks: dict[str, Ingredient] = {}
    canvas: Canvas | None = None

    @field_validator("tasks")
    @classmethod
    def _known_tasks(cls, value: dict[str, Ingredient]) -> dict[str, Ingredient]:
        return among(value, "task", TASKS)


class External(Section):
    """A set that models are evaluated on elsewhere: no problem may be near one of its rows."""

    path: Annotated[str, Field(min_length=1)]  # .jsonl or .parquet, or a folder of them
    question: Annotated[str, Field(min_length=1)] = "question"
    pictures: Annotated[tuple[str, ...], Field(min_length=1)] = ("image",)  # paths, or bytes
    id: str | None = None
    same_question: Flag = False  # near only if the question is, too

    @property
    def found(self) -> Path:
        """Where it lies: a relative path is one from the folder of version files."""
        return folder() / self.path

    @property
    def columns(self) -> Columns:
        return Columns(self.question, self.pictures, self.id)

    def recipe(self) -> dict[str, Any]:
        """What decides what it holds: its files' bytes, short of pictures that lie beside them."""
        return {**self.model_dump(exclude={"path"}), "sha256": digest(self.found)}


class Problems(Section):
    """What is asked: the mix, and how many problems each split gets.

    ``unseen_task`` and ``unseen_size`` are splits to evaluate on and may be left out: problems of the
    tasks under ``unseen``, and the usual mix on pictures of the sizes there.
    """

    tasks: dict[str, Ingredient] = {}
    sources: dict[str, Ingredient] = {}
    imports: dict[str, Import] = {}  # rows that people have already, by the name they go by here
    unseen: Unseen = Unseen()
    splits: dict[str, Count]
    near_duplicates: Literal["keep", "drop"] = (
        "keep"  # of problems that look alike and ask the same
    )
    clear_of: tuple[External, ...] = ()

    def recipe(self) -> dict[str, Any]:
        """What decides the problems. What is not asked for is left out: then it decides nothing."""
        asked = self.model_dump(include={"near_duplicates"}, exclude_defaults=True)
        if self.clear_of:
            asked["clear_of"] = [external.recipe() for external in self.clear_of]
        if self.imports:
            asked["imports"] = {name: one.recipe() for name, one in self.imports.items()}
        return {**self.model_dump(exclude={"near_duplicates", "clear_of", "imports"}), **asked}

    @field_validator("tasks")
    @classmethod
    def _known_tasks(cls, value: dict[str, Ingredient]) -> dict[str, Ingredient]:
        return among(value, "task", TASKS)

    @field_validator("sources")
    @classmethod
    def _known_sources(cls, value: dict[str, Ingredient]) -> dict[str, Ingredient]:
        return among(value, "source", SOURCES)

    @field_validator("imports")
    @classmethod
    def _names_of_their_own(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if not NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name: small letters, digits, - and _")
            if name in TASKS or name in SOURCES:
                raise ValueError(f"{name!r} is a task or source here already: name it otherwise")
        return value

    @field_validator("splits")
    @classmethod
    def _every_split(cls, value: dict[str, int]) -> dict[str, int]:
        if missing := [split for split in SPLITS if split not in value]:
            raise ValueError(f"without a number: {', '.join(missing)}")
        return {**dict.fromkeys(UNSEEN, 0), **among(value, "split", EVERY_SPLIT)}

    @model_validator(mode="after")
    def _something(self) -> "Problems":
        if not self.tasks and not self.sources and not self.imports:
            raise ValueError("neither a task nor a source is named")
        return self

    @model_validator(mode="after")
    def _unseen_is_unseen(self) -> "Problems":
        if both := [task for task in self.unseen.tasks if task in self.tasks]:
            raise ValueError(
                f"unseen.tasks: {both[0]!r} is in the training mix: take it out of one"
            )
        for split, given in (
            ("unseen_task", self.unseen.tasks),
            ("unseen_size", self.unseen.canvas),
        ):
            if self.splits[split] and not given:
                field = "tasks" if split == "unseen_task" else "canvas"
                raise ValueError(f"splits.{split} needs unseen.{field}")
        return self

    @property
    def conversations(self) -> dict[str, VilasrImport | SharegptImport]:
        """The imports whose rows come with trajectories."""
        return {
            name: one
            for name, one in self.imports.items()
            if isinstance(one, SharegptImport)
            or (isinstance(one, VilasrImport) and one.form == "sft")
        }

    def makers(self, split: str) -> dict[str, Ingredient]:
        """The tasks and sources of a split."""
        return self.unseen.tasks if split == "unseen_task" else {**self.tasks, **self.sources}


class Rollout(Section):
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
        return among(value, "task", [*TASKS, *SOURCES])


class _SetFilter(Section):
    """What any set may ask of the trajectories that pass, and how they are to weigh in training."""

    least_draw: Share = 0.0  # S_draw, where the scene's truth is known
    per_problem: Count = 0  # trajectories of one problem; 0: all
    balance: dict[Facet, Annotated[Real, Field(ge=1, le=1000)]] = {}  # × the median of its values
    weigh: tuple[Facet, ...] = ()  # facets whose values are drawn equally often in training

    @property
    def shape(self) -> Shape:
        return Shape(self.per_problem, tuple(self.balance.items()), getattr(self, "limit", 0))

    def recipe(self) -> dict[str, Any]:
        """What decides the set. What is not asked for is left out: then it decides nothing."""
        later = set(_SetFilter.model_fields)
        asked = self.model_dump(include=later - {"weigh"}, exclude_defaults=True)
        return {**self.model_dump(exclude=later), **asked}


class ColdFilter(_SetFilter):
    min_turns: Annotated[Whole, Field(ge=1, le=100)] = 3  # the answer included
    limit: Count = 0  # trajectories of those that pass, drawn by chance; 0: all


class ReflectiveFilter(_SetFilter):
    """Which rule decides; there is no default: a version says it. With ``none`` none does."""

    rule: Literal["paper", "strict", "strict+helped", "none"]
    limit: Count = 0  # trajectories of those that pass, drawn by chance; 0: all


class Filters(Section):
    cold: ColdFilter = ColdFilter()
    reflective: ReflectiveFilter


class Scoring(Section):
    beta: Annotated[Real, Field(ge=0, lt=1)] = 0.0
    solved_at: Annotated[Real, Field(gt=0, le=1)] = 0.9
    w_draw: Annotated[Real, Field(ge=0, le=100)] = 0.0


class Evaluation(Section):
    """How every model of a version is evaluated."""

    samples: Annotated[Whole, Field(ge=1, le=1024)] = 4  # of a problem: the k of pass@k
    temperature: Annotated[Real, Field(gt=0, le=5)] = 1.0
    top_p: Annotated[Real, Field(gt=0, le=1)] = 1.0
    max_tokens: Annotated[Whole, Field(ge=16, le=65_536)] = 1024  # a turn
    greedy: Flag = True  # one more trajectory a problem, of the likeliest tokens
    bootstrap: Annotated[Whole, Field(ge=100, le=1_000_000)] = 1000  # resamples for an interval
    limit: Count = 0  # problems of a split; 0: all


class Failing(Section):
    """When sampling is given up because a backend fails. It decides nothing that is made."""

    most: Share = 0.5  # of the trajectories
    after: Annotated[Whole, Field(ge=1, le=1_000_000)] = 20  # trajectories; fewer are not judged


class Version(Section):
    """A whole dataset version.

    Another ``repetition`` trains and samples its models anew, on the same problems and teacher.
    """

    name: str
    description: Annotated[str, Field(min_length=1)]
    seed: Annotated[Whole, Field(ge=0, lt=2**63)] = 0
    repetition: Annotated[Whole, Field(ge=0, lt=2**31)] = 0
    family: str = "qwen2.5-vl"
    canvas: Canvas = Canvas()
    wording: Wording = "varied"
    problems: Problems
    rollout: Rollout = Rollout()
    teacher: Stage
    base_model: Base | None = None
    cold_model: StudentStage
    reflective_model: StudentStage
    grpo_model: Reinforced | None = None
    evaluation: Evaluation = Evaluation()
    failures: Failing = Failing()
    score: Scoring = Scoring()
    filters: Filters
    exports: tuple[Wanted, ...] = ()  # the sets, as training frameworks load them
    decisions: dict[str, Decision] = {}  # by hand, by trajectory id: from the file beside

    @field_validator("family")
    @classmethod
    def _family(cls, value: str) -> str:
        if value not in FAMILIES:
            raise ValueError(f"no family {value!r}; there are {', '.join(FAMILIES)}")
        return value

    @model_validator(mode="after")
    def _on_the_grid(self) -> "Version":
        _fits("canvas", self.canvas, self.wire, self.family, TRAINING_UNITS)
        if (unseen := self.problems.unseen.canvas) is None:
            return self
        _fits("problems.unseen.canvas", unseen, self.wire, self.family, EVALUATION_UNITS)
        if unseen.smallest <= self.canvas.largest and self.canvas.smallest <= unseen.largest:
            raise ValueError(
                f"problems.unseen.canvas {unseen.smallest}..{unseen.largest} overlaps canvas "
                f"{self.canvas.smallest}..{self.canvas.largest}: its sizes would not be unseen"
            )
        return self

    @model_validator(mode="after")
    def _something_is_recorded(self) -> "Version":
        if self.teacher.policy.kind == "recorded" and not self.problems.conversations:
            raise ValueError(
                "teacher.policy: recorded needs an import with conversations: sharegpt, or vilasr of "
                "form sft"
            )
        return self

    @model_validator(mode="after")
    def _trainable(self) -> "Version":
        for seat in filter(self.is_trained, TRAINED):
            start = self.start(seat)
            if MODELS.index(start) >= MODELS.index(seat):
                raise ValueError(f"{seat}.start: {start} is not there before it")
            if len(set(self.data(seat))) < len(self.data(seat)):
                raise ValueError(f"{seat}.data: a set is named twice")
            if wrong := [name for name in self.data(seat) if name not in LEARNABLE[seat]]:
                raise ValueError(f"{seat}.data: the {wrong[0]} set is not there before it")
            given = self.policy(start)
            if given is not None and given.kind not in WITHOUT_WEIGHTS:
                continue
            there = f"is an {given.kind}" if given else "is not named"
            kinds = " or ".join(kind for kind in KINDS[start] if kind not in WITHOUT_WEIGHTS)
            raise ValueError(f"{seat} is trained from {start}, which {there}: give it a {kinds}")
        return self

    @model_validator(mode="after")
    def _exportable(self) -> "Version":
        for wanted in self.exports:
            refuse(self.family, wanted.family or self.family)
        folders = [name for wanted in self.exports for name in wanted.folders().values()]
        if twice := [name for name in folders if folders.count(name) > 1]:
            raise ValueError(f"exports: {twice[0]} is listed twice")
        return self

    def policy(self, seat: str) -> Any:
        """What sits in a seat, of those that ``MODELS`` and "teacher" name; None: nobody."""
        given = getattr(self, seat)
        return given.policy if isinstance(given, Sampled) else given

    def is_trained(self, seat: str) -> bool:
        """Whether a model is trained here."""
        policy = self.policy(seat)
        return policy is not None and policy.kind == "train"

    def start(self, seat: str) -> str:
        """The seat of the model that one is trained from."""
        before = MODELS[TRAINED.index(seat)]
        return self.policy(seat).start or before

    def data(self, seat: str) -> tuple[str, ...]:
        """The sets that a model is trained on."""
        return getattr(self.policy(seat), "data", None) or LEARNT[seat]

    @property
    def reinforced(self) -> str:
        """The seat of the model that RL begins with: its pass rates choose the problems."""
        return self.start("grpo_model") if self.is_trained("grpo_model") else "reflective_model"

    def model_seed(self, seat: str) -> int:
        """What all is drawn from that a seat's model does, in training and in sampling."""
        fixed = seat == "teacher" or self.policy(seat).kind == "oracle"
        return self.seed if fixed else self.seed + self.repetition

    @property
    def trains(self) -> bool:
        """Whether any model is trained here."""
        return any(map(self.is_trained, MODELS))

    def evaluations(self, seat: str) -> int:
        """Trajectories of each problem that a model is evaluated by: an oracle cannot be greedy."""
        policy, asked = self.policy(seat), self.evaluation
        greedy = asked.greedy and policy is not None and policy.kind != "oracle"
        return 0 if policy is None else asked.samples + greedy

    def decided(self, split: str) -> dict[str, Decision]:
        """What a person decided on trajectories of a split, in the order of ids."""
        named = (name for name in sorted(self.decisions) if f"-{split}-" in name)
        return {name: self.decisions[name] for name in named}

    @property
    def wire(self) -> Family:
        return FAMILIES[self.family]

    def sides(self, split: str) -> range:
        """The sides that pictures of a split may have, in patch units."""
        unseen = self.problems.unseen.canvas if split == "unseen_size" else None
        return _sides(unseen or self.canvas, self.wire)

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


def _sides(canvas: Canvas, wire: Family) -> range:
    return range(-(-canvas.smallest // wire.unit), canvas.largest // wire.unit + 1)


def _fits(field: str, canvas: Canvas, wire: Family, family: str, units: int) -> None:
    """Refuses a canvas without a whole patch unit, or with squares above a family's pixel cap."""
    unit = wire.unit
    if not _sides(canvas, wire):
        below = canvas.largest // unit * unit
        raise ValueError(
            f"{field} {canvas.smallest}..{canvas.largest} holds no multiple of "
            f"{unit} px, the patch unit of {family}: the nearest are {below} and {below + unit}"
        )
    if (canvas.largest // unit) ** 2 > units:
        most = (isqrt(units) + 1) * unit - 1
        raise ValueError(
            f"{field}.largest {canvas.largest} is too large for {family}: at most "
            f"{most} px, so that a square picture keeps {units} patches"
        )


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
        by_hand = decisions.read(decisions_of(name))
        return parse(name, path.read_text(encoding="utf-8"), by_hand)
    except UnicodeDecodeError as error:
        raise VersionError(f"versions/{name}.yaml: not UTF-8: {error}") from None
    except DecisionError as error:
        raise VersionError(f"versions/{error}") from None


def decisions_of(name: str) -> Path:
    """Where a version's decisions by hand lie, if there are any."""
    return folder() / f"{name}.decisions.jsonl"


def parse(name: str, text: str, by_hand: Mapping[str, Decision] = NOBODY) -> Version:
    """A version from the text of its file, and what a person decided on its trajectories."""
    where = f"versions/{name}.yaml"
    try:
        content = yaml.load(text, Loader=_OneOfEach)  # noqa: S506  a SafeLoader
    except (yaml.YAMLError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise VersionError(f"{where}: not YAML: {error}") from None
    if not isinstance(content, dict):
        raise VersionError(f"{where}: a mapping is needed, this is {_yaml_name(content)}")
    if "name" in content:
        raise VersionError(f"{where}: name: leave it out, the file's name is the version's")
    if "decisions" in content:
        beside = decisions_of(name).name
        raise VersionError(f"{where}: decisions: leave it out, they lie beside, in {beside}")
    try:
        return Version.model_validate({"name": name, **content, "decisions": dict(by_hand)})
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


class _OneOfEach(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice, instead of forgetting the first.

    ``1e-5`` is a number, as in YAML 1.2.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: list[Any] = []
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.YAMLError(f"key {key!r} twice, line {key_node.start_mark.line + 1}")
            seen.append(key)
        return super().construct_mapping(node, deep)


_OneOfEach.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+[eE][-+]?\d+$"), list("-+0123456789")
)
