"""OpenAI's chat completions as bytes: a request from what a model is shown, an answer read.

Guarantees: an answer is hostile until it is read; what is not as it has to be is `Unusable`, with a
reason, and nothing else is ever raised. Counts that cannot be are replaced by an estimate. Ids and
log-probabilities are both kept, or neither.
Does not: send anything, or look into what the model wrote.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from pipeline.grammar import clean
from pipeline.protocol import Message

LONGEST_REASON = 300  # characters of a server's own words that are told on


@dataclass(frozen=True, slots=True)
class Said:
    """What a model wrote, and what its server counted."""

    text: str
    truncated: bool
    ids: tuple[int, ...] | None
    logprobs: tuple[float, ...] | None
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int


@dataclass(frozen=True, slots=True)
class Expected:
    """What an answer has to be like, and what is taken for counts that cannot be."""

    model: str
    token_ids: bool
    max_tokens: int
    prompt_tokens: int  # by estimate


class Unusable(Exception):
    """An answer that is none. ``final`` says that asking again would bring the same."""

    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


def request(messages: Sequence[Message], urls: Sequence[str], fields: Mapping[str, Any]) -> bytes:
    """The body of a request; picture k is ``urls[k - 1]``."""
    shown = [{"role": m.role, "content": _content(m, urls)} for m in messages]
    return json.dumps({**fields, "messages": shown}, allow_nan=False).encode("ascii")


def _content(message: Message, urls: Sequence[str]) -> str | list[dict[str, Any]]:
    if all(isinstance(part, str) for part in message.parts):
        return "".join(part for part in message.parts if isinstance(part, str))
    return [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image_url", "image_url": {"url": urls[part.k - 1]}}
        for part in message.parts
    ]


def answer(body: bytes, expected: Expected) -> Said:
    """Reads the body of an answer.

    Raises:
        Unusable: if it is none.
    """
    told = _json(body)
    if not isinstance(told, dict):
        raise Unusable("the answer is JSON, but no object")
    if told.get("error") and not told.get("choices"):
        raise Unusable(f"an error under status 200: {reason(body)}")
    _check_model(told.get("model"), expected.model)
    choices = told.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise Unusable("the answer has no choice")
    choice = choices[0]
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    if message.get("reasoning_content") or message.get("reasoning"):
        raise Unusable(
            "the server takes thoughts out of the text: start it without a reasoning parser",
            final=True,
        )
    ended, text = choice.get("finish_reason"), message.get("content")
    if ended == "content_filter":
        raise Unusable("the server's filter withheld the answer", final=True)
    if ended not in ("stop", "length"):
        raise Unusable(f"the answer is not finished: {ended!r}")
    if not isinstance(text, str):
        raise Unusable("the answer has no text")
    ids, logprobs = _sampled(choice) if expected.token_ids else (None, None)
    return Said(text, ended == "length", ids, logprobs, *_counts(told, text, ids, expected))


def reason(body: bytes) -> str:
    """What a server says of an error, in its own words: as long and as wild as they are."""
    try:
        told = _json(body)
    except Unusable:
        return body.decode("utf-8", "replace")
    error = told.get("error", told) if isinstance(told, dict) else told
    said = error.get("message", error.get("detail")) if isinstance(error, dict) else error
    return said if isinstance(said, str) else repr(error)


def brief(words: str) -> str:
    """The start of somebody's words, on one line that every terminal, file and table can hold."""
    start = clean(words[: 4 * LONGEST_REASON])
    shown = "".join(sign if sign.isprintable() else " " for sign in start)
    return " ".join(shown.split())[:LONGEST_REASON]


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):  # also bytes that are no text, and endless numbers
        raise Unusable("the answer is no JSON") from None


def _check_model(given: Any, asked: str) -> None:
    """A name with a date after it is the same model, as its maker pins it."""
    dated = re.escape(asked) + r"-\d{4}-?\d{2}-?\d{2}"
    if given != asked and not (isinstance(given, str) and re.fullmatch(dated, given)):
        raise Unusable(f"answered by the model {given!r}, asked was {asked!r}")


def _sampled(choice: dict[str, Any]) -> tuple[tuple[int, ...] | None, tuple[float, ...] | None]:
    """The ids that were sampled and their log-probabilities, if they agree with each other."""
    ids, told = choice.get("token_ids"), choice.get("logprobs")
    rows = told.get("content") if isinstance(told, dict) else None
    if not isinstance(ids, list) or not isinstance(rows, list) or len(ids) != len(rows):
        return None, None
    logprobs: list[Any] = [row.get("logprob") if isinstance(row, dict) else None for row in rows]
    sound = (
        ids
        and all(type(i) is int and 0 <= i < 2**31 for i in ids)
        and all(type(p) in (int, float) and isfinite(p) and p <= 0 for p in logprobs)
    )
    return (tuple(ids), tuple(float(p) for p in logprobs)) if sound else (None, None)


def _counts(
    told: dict[str, Any], text: str, ids: tuple[int, ...] | None, expected: Expected
) -> tuple[int, int, int]:
    """Prompt, completion and cached tokens: as counted by the server, where that can be."""
    usage = told.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    prompt = _within(usage.get("prompt_tokens"), 1, 100 * expected.prompt_tokens)
    written = _within(usage.get("completion_tokens"), 0, expected.max_tokens)
    if prompt is None:
        prompt = expected.prompt_tokens
    if ids is not None:
        written = len(ids)
    elif written is None:
        written = min(expected.max_tokens, len(text.encode("utf-8", "replace")) // 3 + 1)
    return prompt, written, _within(cached, 0, prompt) or 0


def _within(count: Any, least: int, most: int) -> int | None:
    return count if type(count) is int and least <= count <= most else None
