"""State → ids, by appending: shared by every sampler and by the trainers, so they cannot drift.

Guarantees: what a state is written as begins with what the state one turn earlier was; a model's
own tokens stay those that it sampled; text that names a special token is text. Token layout is
ChatML, as the Qwen2.5-VL and Qwen3-VL families have it.
Does not: touch pixels (`pixels` does), or shorten anything: what does not fit is refused.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import Any

from pipeline.protocol import Family, Message, Picture, opening, render, replies
from pipeline.types import Answer, Size, State, Turn

BYTES_PER_TOKEN = (
    3.0  # of English and JSON in UTF-8; the tokenizers of the Qwen family give 2.5 to 4.5
)
FRAME = 6  # tokens around a message and around a picture
FRAGMENTS = 8192  # prompt texts whose ids are kept: they come again and again


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What of a tokenizer it takes to write a state: text → ids, and the ids that frame it."""

    write: Callable[[str], tuple[int, ...]]  # the name of a special token is plain text to it
    start: int  # <|im_start|>
    end: int  # <|im_end|>, the end of a turn: a model token when a model wrote it
    picture_start: int
    picture: int  # once for each merged patch
    picture_end: int
    pad: int
    vision: tuple[int, ...]  # ids that stand for pictures: no model may sample one


@dataclass(frozen=True, slots=True)
class Written:
    """A state as ids."""

    ids: tuple[int, ...]
    pictures: tuple[int, ...]  # the index k of each picture, in the order in which they stand
    spans: tuple[tuple[int, int], ...]  # [first, last) of each turn that the model wrote


def vocabulary(processor: Any) -> Vocabulary:
    """Of a processor of the Qwen2.5-VL or Qwen3-VL family.

    Raises:
        ValueError: if its tokenizer lacks one of the special tokens, or makes one of plain text.
    """
    tokenizer = processor.tokenizer

    @lru_cache(maxsize=FRAGMENTS)
    def write(text: str) -> tuple[int, ...]:
        return tuple(tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True))

    def special(name: str) -> int:
        found = tokenizer.get_vocab().get(name)
        if found is None:
            raise ValueError(f"the tokenizer has no {name}: it is not of the Qwen-VL families")
        if found in write(name):
            raise ValueError(
                f"the tokenizer reads the text {name} as a token: a question could forge it"
            )
        return int(found)

    names = ("<|vision_start|>", "<|image_pad|>", "<|vision_end|>", "<|video_pad|>")
    picture_start, picture, picture_end, video = map(special, names)
    return Vocabulary(
        write=write,
        start=special("<|im_start|>"),
        end=special("<|im_end|>"),
        picture_start=picture_start,
        picture=picture,
        picture_end=picture_end,
        pad=int(tokenizer.pad_token_id or 0),  # masked wherever it stands
        vision=(picture_start, picture, picture_end, video),
    )


def prompt(
    state: State, words: Vocabulary, family: Family, max_turns: int, *, sampled: bool
) -> Written:
    """All that a model is shown before its next turn, up to where that turn begins.

    Args:
        sampled: keeps the ids that each turn was sampled as; else its text is written anew.
    """
    return _joined(_messages(state, words, family, max_turns, sampled), words, next_turn=True)


def told(
    state: State, words: Vocabulary, family: Family, max_turns: int, *, sampled: bool
) -> Written:
    """A whole trajectory, up to the end of the last turn that the model wrote; as `prompt`."""
    return _joined(_messages(state, words, family, max_turns, sampled), words, next_turn=False)


def turn_ids(turn: Turn, words: Vocabulary, *, sampled: bool) -> tuple[int, ...]:
    """A model's own tokens for a turn, its end included.

    A turn that was sampled and has no end was cut off by its limit.

    Raises:
        ValueError: if ``sampled`` ids are wanted and the turn has none.
    """
    if not sampled:
        return (*words.write(turn.text), words.end)
    if turn.ids is None:
        raise ValueError("a turn without the ids it was sampled as")
    return turn.ids


@dataclass(frozen=True, slots=True)
class _Piece:
    """One message as ids, without what joins it to the next."""

    ids: tuple[int, ...]
    pictures: tuple[int, ...] = ()
    own: tuple[int, int] | None = None  # what of it the model wrote


def _messages(
    state: State, words: Vocabulary, family: Family, max_turns: int, sampled: bool
) -> Iterator[_Piece]:
    turns = iter(state.turns)
    for message in render(state, family, max_turns):
        if message.role == "assistant":
            head = (words.start, *words.write("assistant\n"))
            own = turn_ids(next(turns), words, sampled=sampled)
            closing = () if own[-1:] == (words.end,) else (words.end,)
            yield _Piece((*head, *own, *closing), own=(len(head), len(head) + len(own)))
        else:
            yield _shown(message, state, words, family)


def _shown(message: Message, state: State, words: Vocabulary, family: Family) -> _Piece:
    """A message to the model. Texts that touch are written as one, as a chat template would."""
    ids, pictures, text = [words.start], [], f"{message.role}\n"
    for part in message.parts:
        if isinstance(part, str):
            text += part
            continue
        base = state.problem.images[state.views[part.k - 1].base - 1]
        slots = of_picture(base.size, family) - 2
        ids += words.write(text)
        ids += [words.picture_start, *[words.picture] * slots, words.picture_end]
        pictures.append(part.k)
        text = ""
    return _Piece((*ids, *words.write(text), words.end), tuple(pictures))


def _joined(pieces: Iterator[_Piece], words: Vocabulary, *, next_turn: bool) -> Written:
    ids: list[int] = []
    pictures: list[int] = []
    spans: list[tuple[int, int]] = []
    through = (0, 0)  # how many ids and pictures there are up to the end of the model's last turn
    for piece in pieces:
        if ids:
            ids += words.write("\n")
        at = len(ids)
        ids += piece.ids
        pictures += piece.pictures
        if piece.own is not None:
            spans.append((at + piece.own[0], at + piece.own[1]))
            through = (spans[-1][1], len(pictures))
    if next_turn:
        ids += [*words.write("\n"), words.start, *words.write("assistant\n")]
        through = (len(ids), len(pictures))
    return Written(tuple(ids[: through[0]]), tuple(pictures[: through[1]]), tuple(spans))


# Lengths -----------------------------------------------------------------------------------------

Count = Callable[[State, Family, int], int]  # tokens of a state for a number of turns


def counter(words: Vocabulary) -> Count:
    """The exact length of a state for a model whose turns keep the ids that were sampled.

    Of one that goes on, it is that of the next prompt: an observation may be what does not fit.
    """

    def count(state: State, family: Family, max_turns: int) -> int:
        answered = bool(state.turns) and isinstance(state.turns[-1].parsed, Answer)
        write = told if answered else prompt
        return len(write(state, words, family, max_turns, sampled=True).ids)

    return count


def of_picture(size: Size, family: Family) -> int:
    """An image costs one token for each patch of unit × unit px, and its two brackets."""
    return (size.width // family.unit) * (size.height // family.unit) + 2


def of_text(text: str) -> int:
    length = len(text) if text.isascii() else len(text.encode("utf-8", "backslashreplace"))
    return ceil(length / BYTES_PER_TOKEN)


def estimate(state: State, family: Family, max_turns: int) -> int:
    """Tokens of everything rendered so far; a turn whose ids are known counts them."""
    problem = state.problem
    sizes = tuple(image.size for image in problem.images)
    total = _of_opening(problem.question, problem.options, sizes, family)
    for turn in state.turns:
        total += FRAME + (of_text(turn.text) if turn.ids is None else len(turn.ids))
    every = [sizes[view.base - 1] for view in state.views]
    for reply in replies(state, max_turns):
        total += FRAME + _of_parts(reply, every, family)
    return total


@lru_cache(maxsize=1024)  # asked for anew with every turn of every sample
def _of_opening(
    question: str, options: tuple[str, ...], sizes: tuple[Size, ...], family: Family
) -> int:
    messages = opening(question, options, sizes, family)
    return sum(FRAME + _of_parts(message.parts, sizes, family) for message in messages)


def _of_parts(parts: Sequence[str | Picture], sizes: Sequence[Size], family: Family) -> int:
    """Of one message; ``sizes`` are those of all pictures."""
    return sum(
        of_text(part) if isinstance(part, str) else of_picture(sizes[part.k - 1], family)
        for part in parts
    )
