"""Conversations in sharegpt's form → a problem and the turns of its trajectory.

Guarantees: what the user says first is taken apart into question and options, in our own wording and
in ViLaSR's; what the model said is kept to the letter, to be parsed and executed like any turn. The
truth is the answer that the conversation ends with. Pictures after the first message are observations
and are not looked at: they are redrawn.
Does not: tell whether that answer is right; who publishes such files has kept what was solved.
"""

import re
from collections.abc import Mapping
from typing import Any

from pipeline.protocol import CHOOSE, MEASURE
from pipeline.sources.ingest import FRAMES, BadRow, Given
from pipeline.sources.tables import Bad, Found
from pipeline.types import Modality

PLACE = "<image>"
MAX_TURNS = 200

_OURS = re.compile(r"This is picture \d+ \(width \d+, height \d+\)\.")
_THEIRS = ("### Question:", "Begin your reasoning")
_LED = re.compile(r"\(?([A-Z])[.:)]\s+(.+)")
_ASKED = (
    CHOOSE,
    MEASURE,
    "Answer with the option's letter from the given choices directly.",
    "Please answer the question using a single word or phrase (e.g., 42 or 3.14).",
    "Options:",
)


def conversation(
    found: Found, messages: Any, pictures: Any, tags: Mapping[str, str], place: str = PLACE
) -> Given | Bad:
    """A row's messages as a problem with its trajectory.

    Args:
        tags: what the keys and roles are called, as LLaMA-Factory does.
    """
    said = _said(messages, tags)
    if said is None:
        return found.bad(BadRow.NOT_A_CONVERSATION, "not user and model by turns")
    system, users, turns = said
    shown = list(pictures) if isinstance(pictures, list) else [pictures]
    first, every = users[0].count(place), sum(text.count(place) for text in users)
    every += system.count(place)
    if every != len([one for one in shown if one not in (None, "")]):
        return found.bad(BadRow.IMAGES_DISAGREE, f"{every} places, {len(shown)} pictures")
    question, options = asked(users[0].replace(place, "\n"))
    answer, closed, _ = turns[-1].rpartition("<answer>")[2].partition("</answer>")
    if not closed:
        return found.bad(BadRow.NO_ANSWER, "the last turn holds none")
    return Given(
        number=found.number,
        place=found.place,
        question=question,
        options=options,
        answer=answer,
        pictures=shown[:first],
        turns=tuple(turns),
        modality=Modality.VIDEO if first == FRAMES else None,  # nothing else tells
    )


def _said(messages: Any, tags: Mapping[str, str]) -> tuple[str, list[str], list[str]] | None:
    """What the system, the user and the model say, if they speak by turns and the model ends it."""
    if not isinstance(messages, list) or not 2 <= len(messages) <= 2 * MAX_TURNS + 1:
        return None
    spoken = []
    for message in messages:
        if not isinstance(message, dict):
            return None
        role, content = message.get(tags["role_tag"]), message.get(tags["content_tag"])
        if not isinstance(role, str) or not isinstance(content, str):
            return None
        spoken.append((role, content))
    system = spoken.pop(0)[1] if spoken[0][0] == tags["system_tag"] else ""
    by_user = {tags["user_tag"], tags["observation_tag"]}
    by_model = {tags["assistant_tag"], tags["function_tag"]}
    if not spoken or len(spoken) % 2:
        return None
    if any(role not in (by_model if n % 2 else by_user) for n, (role, _) in enumerate(spoken)):
        return None
    return system, [text for _, text in spoken[::2]], [text for _, text in spoken[1::2]]


def asked(text: str) -> tuple[str, list[str]]:
    """A first message without its pictures: the question, and the options if there are any."""
    _, theirs, after = text.partition(_THEIRS[0])
    if theirs:
        text = after.partition(_THEIRS[1])[0]
    told = (line.strip() for line in _OURS.sub("", text).split("\n"))
    lines = [line for line in told if line and line not in _ASKED]
    options: list[str] = []
    while lines and (led := _LED.fullmatch(lines[-1])):
        options.insert(0, led[2])
        if led[1] == "A":
            lines.pop()
            break
        lines.pop()
    return "\n".join(lines), options
