"""The nouns, frozen. Behaviour lives in functions over them, one module a verb.

Notation of the paper (arXiv 2506.09965) → code:

=====================  ==========================================================================
I = {I_n}              ``Problem.images``: one picture, several views, or the frames of a video
Q, Â                   ``Problem.question`` and ``options``, ``Problem.answer`` and ``kind``
op (k, p, l)           ``Box(k, p, label)``, ``Line(k, p, label)``
r_t, e_t               ``Step(thought, ops)``
one model turn         ``Turn(text, ids, logprobs, parsed)``: a Step, an Answer or a Fault
o_t                    ``View``: an input picture and the marks drawn on it
(r, e, o)_1..T         ``Trajectory(problem_id, sample, turns, stop)``: views are not stored
S                      ``Score``
φ                      ``Verdict``
=====================  ==========================================================================

Coordinates are integer pixels of the picture the model sees: x to the right, y down, (0, 0) its top
left and (width, height) its bottom right corner.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol, runtime_checkable

SPLITS = ("skills", "cold", "reflective", "rl", "evaluation")  # of a version's problems


class Point(NamedTuple):
    x: int
    y: int


class Size(NamedTuple):
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Box:
    """Object Mapper's op: ``p`` is the top left and the bottom right corner."""

    k: int  # 1-based, over the input images and every observation so far
    p: tuple[Point, Point]
    label: str


@dataclass(frozen=True, slots=True)
class Line:
    """Path Tracer's op: ``p`` is where the line starts and where it ends."""

    k: int
    p: tuple[Point, Point]
    label: str


Op = Box | Line


@dataclass(frozen=True, slots=True)
class Image:
    """One picture, as the PNG bytes that are stored, hashed and sent. Opened by `images.decode`."""

    png: bytes = field(repr=False)
    size: Size
    sha256: str  # of the pixels and the size, so that a change of encoder changes nothing


class Kind(StrEnum):
    CHOICE = "choice"
    NUMBER = "number"


class Modality(StrEnum):
    IMAGE = "image"
    VIEWS = "views"
    VIDEO = "video"


@dataclass(frozen=True, slots=True)
class Step:
    """A drawing turn, parsed. ``lenient`` names the departures from the grammar it got away with."""

    thought: str
    ops: tuple[Op, ...]
    lenient: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """The final turn, parsed."""

    thought: str
    text: str
    lenient: tuple[str, ...] = ()


class Stop(StrEnum):
    """Why a trajectory ended: the first that holds, in this order."""

    TRUNCATED = "truncated"
    MALFORMED = "malformed"
    BAD_OP = "bad_op"
    REPEATED_OP = "repeated_op"
    TOO_MANY_IMAGES = "too_many_images"
    TOO_MANY_TURNS = "too_many_turns"
    TOO_LONG = "too_long"
    ANSWERED = "answered"


@dataclass(frozen=True, slots=True)
class Fault:
    """A turn whose ops were not executed, and why. ``reason`` is never ``ANSWERED``."""

    reason: Stop
    detail: str


Parsed = Step | Answer | Fault


@dataclass(frozen=True, slots=True)
class Usage:
    """What was asked of a backend, and what it counted: of a turn, or added up."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0  # of the prompt's, those that the backend had computed before
    pictures: int = 0  # sent
    requests: int = 0  # retries included
    retries: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        pairs = ((getattr(self, name), getattr(other, name)) for name in self.__slots__)
        return Usage(*(mine + theirs for mine, theirs in pairs))


@dataclass(frozen=True, slots=True)
class Turn:
    """One model turn, whatever it was. ``ids`` and ``logprobs`` are what was sampled, where known.

    ``usage`` is no part of what a turn is: two that differ in it alone are equal.
    """

    text: str
    parsed: Parsed
    ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    usage: Usage | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Grid:
    """A lattice of square cells on the first picture, along whose cell centres lines must run."""

    left: float
    top: float
    cell: float  # side of a cell, px
    columns: int
    rows: int


@dataclass(frozen=True, slots=True)
class Scene:
    """What is known to be true of the pictures of a problem.

    ``objects`` are all objects whose place is known, as the op that would mark each exactly, on
    input pictures; an object seen in several pictures appears once for each. ``geometry`` is the
    generator's own numbers as canonical JSON: enough to tell two scenes apart without pixels.
    """

    objects: tuple[Op, ...]
    geometry: str
    grid: Grid | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """A question about pictures, its true answer and, where it is known, how to draw the way to it.

    ``gold`` are steps whose ops are exact and target input pictures; ``conclusion`` is the thought
    that goes with the answer. Both are empty for problems that come without a solution.
    """

    id: str
    task: str  # the task or source that made it
    modality: Modality
    images: tuple[Image, ...]
    question: str
    options: tuple[str, ...]  # unique; empty for a number
    answer: str  # a letter for a choice, a number otherwise
    kind: Kind
    difficulty: float = 0.0  # 0 easiest, 1 hardest; of the generator that made it
    gold: tuple[Step, ...] = ()
    conclusion: str = ""
    scene: Scene | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """An op that was executed. A successor inherits its predecessor's lineage, and so its colour."""

    op: Op
    base: int  # 1-based index of the input picture it lies on
    step: int  # 0-based index of the turn that drew it
    lineage: int


@dataclass(frozen=True, slots=True)
class View:
    """What index k shows: an input picture and the marks on it. Inputs have no marks."""

    base: int
    marks: tuple[Mark, ...] = ()


class Succession(NamedTuple):
    """``later`` took the place of ``earlier``."""

    earlier: Mark
    later: Mark


@dataclass(frozen=True, slots=True)
class State:
    """A rollout under way: everything a policy may look at, and what drawing has come to.

    ``views`` holds the inputs and then every observation, so ``views[k - 1]`` is index k;
    ``observed[t]`` is how many observations turn t added.
    """

    problem: Problem
    sample: int
    turns: tuple[Turn, ...] = ()
    views: tuple[View, ...] = ()
    observed: tuple[int, ...] = ()
    live: tuple[Mark, ...] = ()
    successions: tuple[Succession, ...] = ()

    @property
    def due(self) -> str:
        """Names the turn that is due: what is drawn at random for it hangs on that."""
        return f"{self.problem.id}/{self.sample}/{len(self.turns)}"


@dataclass(frozen=True, slots=True)
class Trajectory:
    """A finished rollout, without its pictures: `rollout.retrace` brings them back."""

    problem_id: str
    sample: int
    turns: tuple[Turn, ...]
    stop: Stop

    @property
    def id(self) -> str:
        return f"{self.problem_id}#{self.sample}"


@dataclass(frozen=True, slots=True)
class Failure:
    """A rollout that could not be run to an end: the server's fault, not the model's."""

    problem_id: str
    sample: int
    reason: str


@dataclass(frozen=True, slots=True)
class Score:
    """S: ``total`` is 1[correct > β] · (correct + format + w_draw · draw)."""

    correct: float  # S_correct, 0..1
    format: float  # S_format, 0 or 1
    draw: float | None  # S_draw, 0..1; None where the scene's truth is not known
    total: float


class Verdict(NamedTuple):
    """What a filter says of a row: ``reason`` is empty when it is kept."""

    keep: bool
    reason: str = ""
    detail: str = ""


KEPT = Verdict(True)


class Policy(Protocol):
    """Teacher, student, oracle and test double alike."""

    async def act(self, state: State) -> Turn:
        """The next turn. Raises `PolicyError` when the backend, not the model, is at fault."""
        ...


@runtime_checkable
class Closing(Protocol):
    """A policy with an engine, or with connections, until it is closed. Nothing is due by then."""

    async def aclose(self) -> None: ...


class PolicyError(Exception):
    """A backend that could not answer; the rollout becomes a `Failure` with this reason.

    ``usage`` is what was asked of it in vain.
    """

    def __init__(self, reason: str, usage: Usage | None = None) -> None:
        super().__init__(reason)
        self.usage = usage or Usage()
