"""A native row → what a model of the target family is told: messages, places of pictures, tokens.

Guarantees: texts come from `protocol.render` alone; coordinates are the target family's; observations
are redrawn from what the exported texts say; a row that a trainer would cut, or whose text a loader
would take for a picture, is omitted with a reason.
Does not: draw before a row is known to fit, or change a word of a turn that needs no conversion.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any

from pipeline import canvas, grammar, images, protocol, rows, tokens
from pipeline.geometry import clip_box
from pipeline.models import check_grid
from pipeline.protocol import FAMILIES, Family, Message, Picture
from pipeline.rollout import retrace
from pipeline.rows import Row
from pipeline.types import (
    Box,
    Fault,
    Op,
    Problem,
    Size,
    State,
    Step,
    Trajectory,
    Turn,
    View,
)

SPECIAL = (  # what the tokenizers of the Qwen families take for a token wherever it stands
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|vision_start|>", "<|vision_end|>",
    "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
UNBOUNDED = 10**12  # px: for `images.fit_size`, where only the grid counts


class FamilyMismatch(ValueError):
    """Pictures that lie on another grid than the one whose pixels the target family speaks."""


class Why(StrEnum):
    """Why a row is omitted."""

    TOO_LONG = "too_long"  # more tokens than a trainer would take
    RESIZED = "picture_resized"  # the processor would resize a picture, and pixels would be off
    PLACEHOLDER = "placeholder_in_text"  # the loader would take the text for a picture
    NOT_CONVERTIBLE = "not_convertible"  # a turn that says nothing in other coordinates
    NO_TURN = "no_turn"  # nothing to train on


@dataclass(frozen=True, slots=True)
class Omitted:
    id: str
    why: Why


@dataclass(frozen=True, slots=True)
class Told:
    """A row as it is told. ``views`` are its pictures, in the order of their places."""

    id: str
    row: Row
    state: State
    messages: tuple[Message, ...]
    views: tuple[View, ...]
    tokens: int
    index: int  # of the row in its set
    resized: int = 0  # pictures that the target's processor lays on its own grid

    @property
    def problem(self) -> Problem:
        return self.state.problem


class Misfit(ValueError):
    """A text that a count tells apart from what it should be: more places than pictures."""


Count = Callable[[Sequence[Message], Sequence[Size]], int]  # messages, sizes of their pictures


@dataclass(frozen=True, slots=True)
class Target:
    """Whom rows are told to: a family, how their length is counted, and the most that fits.

    ``family`` "" leaves each row its own; ``max_tokens`` 0 is no limit.
    """

    family: str = ""
    max_tokens: int = 0
    processor: Any = None  # of the target model; without one lengths are estimates

    def __post_init__(self) -> None:
        if self.family and self.family not in FAMILIES:
            raise ValueError(f"no family {self.family!r}; there are {', '.join(FAMILIES)}")

    def of(self, row: Row) -> Family:
        """The family that a row is told in.

        Raises:
            FamilyMismatch: if it speaks pixels of another grid than the row's pictures lie on.
        """
        refuse(row["family"], self.family or row["family"])
        return FAMILIES[self.family or row["family"]]


def refuse(source: str, target: str) -> None:
    """Refuses a family whose pixels are not those of the pictures.

    Raises:
        FamilyMismatch: naming both, and what to do.
    """
    given, asked = FAMILIES[source], FAMILIES[target]
    if asked.coordinates == "pixels" and asked.unit != given.unit:
        raise FamilyMismatch(
            f"{target} speaks pixels on a grid of {asked.unit} px, and the pictures lie on one of "
            f"{given.unit} px ({source}): build the version anew with family {target}"
        )


def tell(
    row: Row,
    target: Target,
    tags: Sequence[str] = (),
    framed: Callable[[tuple[Message, ...]], tuple[Message, ...]] | None = None,
    index: int = 0,
) -> Told | Omitted:
    """A row of a set of trajectories or of problems, told to a target, or why it cannot be.

    Args:
        tags: texts that the loader takes for placeholders.
        framed: what the framework makes of the messages before it counts them.

    Raises:
        FamilyMismatch: see `refuse`.
    """
    family, problem = target.of(row), rows.problem(row)
    name: str = row["id"] if "id" in row else row["problem_id"]
    state = canvas.opened(problem)
    if "turns" in row:
        trajectory = _converted(rows.trajectory(row), problem, FAMILIES[row["family"]], family)
        if trajectory is None:
            return Omitted(name, Why.NOT_CONVERTIBLE)
        state = retrace(problem, trajectory)
    messages = _spoken(protocol.render(state, family, row["max_turns"]), "turns" in row)
    if not messages:
        return Omitted(name, Why.NO_TURN)
    messages = framed(messages) if framed else messages
    views = tuple(state.views[k - 1] for k in places(messages))
    forged = (*SPECIAL, *tags)
    texts = (part for message in messages for part in message.parts if isinstance(part, str))
    if any(tag in text for text in texts for tag in forged):
        return Omitted(name, Why.PLACEHOLDER)
    sizes = [problem.images[view.base - 1].size for view in views]
    count = estimate(family) if target.processor is None else exact(target.processor, family)
    seen = [_seen(size, family, target.processor) for size in sizes]
    resized = sum(size != shown for size, shown in zip(sizes, seen, strict=True))
    if resized and family.coordinates == "pixels":
        return Omitted(name, Why.RESIZED)
    try:
        length = count(messages, seen)
    except Misfit:
        return Omitted(name, Why.PLACEHOLDER)
    if target.max_tokens and length > target.max_tokens:
        return Omitted(name, Why.TOO_LONG)
    return Told(name, row, state, messages, views, length, index, resized)


def places(messages: Sequence[Message]) -> list[int]:
    """The index k of each picture, in the order in which they stand."""
    return [part.k for m in messages for part in m.parts if isinstance(part, Picture)]


def flat(message: Message, tag: str = "<image>") -> str:
    """A message as one text, with a tag where a picture stands."""
    return "".join(part if isinstance(part, str) else tag for part in message.parts)


def _spoken(messages: tuple[Message, ...], trajectory: bool) -> tuple[Message, ...]:
    """Up to the last turn that the model wrote: what follows it teaches nothing."""
    if not trajectory:
        return messages
    turns = [n for n, message in enumerate(messages) if message.role == "assistant"]
    return messages[: turns[-1] + 1] if turns else ()


# Coordinates -------------------------------------------------------------------------------------


def _converted(
    trajectory: Trajectory, problem: Problem, source: Family, target: Family
) -> Trajectory | None:
    """The trajectory in the coordinates of another family; None if a turn cannot be said in them.

    Ops become those that the new texts say, so that what is drawn is what is read.
    """
    if source.coordinates == target.coordinates:
        return trajectory
    state = canvas.opened(problem)
    turns: list[Turn] = []
    for turn in trajectory.turns:
        if isinstance(turn.parsed, Fault):
            return None
        said, step = turn.parsed, turn.parsed
        if isinstance(said, Step):
            sizes = [problem.images[state.views[op.k - 1].base - 1].size for op in said.ops]
            pairs = zip(said.ops, sizes, strict=True)
            wired = tuple(protocol.to_wire(op, size, target) for op, size in pairs)
            pairs = zip(wired, sizes, strict=True)
            step = replace(said, ops=tuple(_read(op, size, target) for op, size in pairs))
            said = replace(said, ops=wired)
        try:
            text = grammar.write(replace(said, lenient=()))
        except ValueError:  # the grammar cannot hold what a lenient turn thought
            return None
        turns.append(Turn(text, step))
        if isinstance(step, Step):
            state = canvas.execute(state, step)
    return replace(trajectory, turns=tuple(turns))


def _read(op: Op, size: Size, family: Family) -> Op:
    """An op of a text in pixels, as `rollout` reads it."""
    back = protocol.from_wire(op, size, family)
    return replace(back, p=clip_box(back.p, size)) if isinstance(back, Box) else back


# Lengths -----------------------------------------------------------------------------------------


def _seen(size: Size, family: Family, processor: Any) -> Size:
    """The size that the target's processor gives a picture."""
    if processor is None:
        return images.fit_size(size, family.unit, UNBOUNDED)
    return _resized(size, processor.image_processor)


@lru_cache(maxsize=4096)
def _resized(size: Size, images_: Any) -> Size:
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

    height, width = smart_resize(
        size.height,
        size.width,
        factor=images_.patch_size * images_.merge_size,
        min_pixels=images_.size["shortest_edge"],
        max_pixels=images_.size["longest_edge"],
    )
    return Size(width, height)


def estimate(family: Family) -> Count:
    """Tokens of messages by `tokens`' rule of thumb."""

    def count(messages: Sequence[Message], sizes: Sequence[Size]) -> int:
        texts = (part for message in messages for part in message.parts if isinstance(part, str))
        pictures = sum(tokens.of_picture(size, family) for size in sizes)
        return len(messages) * tokens.FRAME + sum(map(_of_text, texts)) + pictures

    return count


_of_text = lru_cache(maxsize=256)(tokens.of_text)  # prompts come again and again


def exact(processor: Any, family: Family) -> Count:
    """Tokens of messages as a processor's own chat template writes them.

    Raises:
        GridMismatch: if the processor is of another family.
        Misfit: when a text stands for a picture.
    """
    check_grid(processor, family)
    pad = processor.tokenizer.convert_tokens_to_ids("<|image_pad|>")

    def count(messages: Sequence[Message], sizes: Sequence[Size]) -> int:
        text = processor.apply_chat_template(chat(messages), tokenize=False)
        ids = processor.tokenizer(text, add_special_tokens=False)["input_ids"]
        if ids.count(pad) != len(sizes):
            raise Misfit(f"{ids.count(pad)} places for {len(sizes)} pictures")
        return len(ids) + sum(tokens.of_picture(size, family) - 3 for size in sizes)

    return count


def chat(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages in the parts that chat templates take: ``{type: image}`` and ``{type: text, text}``."""
    return [
        {
            "role": message.role,
            "content": [
                {"type": "text", "text": part} if isinstance(part, str) else {"type": "image"}
                for part in message.parts
            ],
        }
        for message in messages
    ]
