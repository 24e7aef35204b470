"""A dataset version: one YAML file under versions/, its file name the version's name.

It holds everything that a run needs, because a backfill takes no run config. A file that is wrong is
refused with the field, the value and what is allowed.

What is asked is in `mix`. Each seat of the recipe names its model, as `policies` says. ``base_model``
and ``grpo_model`` may be left out: then the version has no such model, and nothing takes its place.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from pipeline import decisions, mix, refusals
from pipeline.decisions import NOBODY, Decision, DecisionError
from pipeline.exporters.told import refuse
from pipeline.exporters.wanted import Wanted
from pipeline.fields import Count, Flag, Real, Section, Share, Whole, among
from pipeline.fields import VersionError as VersionError
from pipeline.mix import Canvas, Problems
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
from pipeline.version_files import NAME, decisions_of, mapping
from pipeline.version_files import folder as folder
from pipeline.version_files import names as names

Facet = Literal["task", "answer", "difficulty"]


class Rollout(Section):
    """Where a trajectory is stopped; a task's own number of turns overrides ``max_turns``."""

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
        mix.check_sides("canvas", self.canvas, self.wire, self.family, mix.TRAINING_UNITS)
        if (unseen := self.problems.unseen.canvas) is None:
            return self
        where, most = "problems.unseen.canvas", mix.EVALUATION_UNITS
        mix.check_sides(where, unseen, self.wire, self.family, most)
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
        of_split = re.compile(rf".*-{split}-\d+#\d+", re.DOTALL)
        named = (name for name in sorted(self.decisions) if of_split.fullmatch(name))
        return {name: self.decisions[name] for name in named}

    @property
    def wire(self) -> Family:
        return FAMILIES[self.family]

    def sides(self, split: str) -> range:
        """The sides that pictures of a split may have, in patch units."""
        unseen = self.problems.unseen.canvas if split == "unseen_size" else None
        return mix.sides(unseen or self.canvas, self.wire)

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


def parse(name: str, text: str, by_hand: Mapping[str, Decision] = NOBODY) -> Version:
    """A version from the text of its file, and what a person decided on its trajectories."""
    where = f"versions/{name}.yaml"
    content = mapping(where, text)
    if "name" in content:
        raise VersionError(f"{where}: name: leave it out, the file's name is the version's")
    if "decisions" in content:
        beside = decisions_of(name).name
        raise VersionError(f"{where}: decisions: leave it out, they lie beside, in {beside}")
    try:
        return Version.model_validate({"name": name, **content, "decisions": dict(by_hand)})
    except ValidationError as error:
        raise VersionError(refusals.told(where, error)) from None
