"""How long a state is for a model: pictures exactly, text by estimate where ids are not known."""

from math import ceil

from pipeline.protocol import Family, Picture, render
from pipeline.types import Size, State

BYTES_PER_TOKEN = (
    3.0  # of English and JSON in UTF-8; the tokenizers of the Qwen family give 2.5 to 4.5
)
FRAME = 6  # tokens around a message and around a picture


def of_picture(size: Size, family: Family) -> int:
    """An image costs one token for each patch of unit × unit px, and its two brackets."""
    return (size.width // family.unit) * (size.height // family.unit) + 2


def of_text(text: str) -> int:
    return ceil(len(text.encode("utf-8", "backslashreplace")) / BYTES_PER_TOKEN)


def estimate(state: State, family: Family, max_turns: int) -> int:
    """Tokens of everything rendered so far; a turn whose ids are known counts them."""
    total, turns = 0, iter(state.turns)
    for message in render(state, family, max_turns):
        total += FRAME
        if message.role == "assistant" and (ids := next(turns).ids) is not None:
            total += len(ids)
            continue
        for part in message.parts:
            if isinstance(part, Picture):
                view = state.views[part.k - 1]
                total += of_picture(state.problem.images[view.base - 1].size, family)
            else:
                total += of_text(part)
    return total
