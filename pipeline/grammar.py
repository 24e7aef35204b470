"""What the model writes: write(step or answer) → text, parse(text) → Parsed.

Pure syntax, compatible with the data and weights of ViLaSR (arXiv 2506.09965). Model text is
hostile: `parse` never raises, never evaluates, and gives one of Step, Answer or Fault.
What an op points at is not looked into here: `rollout.advance` does that.

The grammar, strictly:
- a drawing turn: ``<think> … </think> Action: Object Mapper`` (or ``Path Tracer``), then a fenced
  ``json`` block with a list of boxes and lines;
- the final turn: ``<think> … </think> Action: Answer``, then ``<answer> … </answer>``.
Departures listed in `LENIENT` are executed all the same, and cost the format score.
"""

import json
import re
from typing import Any

from pipeline.types import Answer, Box, Fault, Line, Op, Parsed, Point, Step, Stop

MAX_CHARS = 64 * 1024  # of a turn; a turn of 1024 tokens is some 4 KB
MAX_DEPTH = 8  # of brackets in the JSON block; a list of ops needs 3
MAX_OPS = 64
MAX_LABEL = 200  # characters
MAX_COORDINATE = 10**6  # either way; no picture is that large

BOX_TOOL, LINE_TOOL, ANSWER = "Object Mapper", "Path Tracer", "Answer"
LENIENT = {
    "think": "no single <think> … </think> at the start",
    "action": "the action's name in other letters, or naming neither kind of op drawn",
    "stray": "text besides thought, action and block",
    "fence": "a fence that is not ```json on a line of its own",
    "bare": "one object instead of a list",
    "corners": "the corners of a box swapped",
    "fraction": "fractional coordinates, rounded",
    "keys": "keys that no op has, or the same key twice",
}

# The grammar to the letter. What does not match, or holds a "<" or "`" where tags or fences could
# hide, is read piece by piece: `parse` gives the same either way, and this way in a third of the time.
_STRICT = re.compile(
    r"""<think>([^<]*)</think>[ ]Action:[ ](?:
        (Object[ ]Mapper|Path[ ]Tracer)\n```json(\n[^`<]*\n)```
        | Answer\n<answer>([^`<]*)</answer>)\s*""",
    re.VERBOSE,
)
_ACTION = re.compile(r"[Aa](?i:ction):[ \t]*([^\n<`]*)")  # a class in front is found quickly
_TOOLS = {tool.casefold(): tool for tool in (BOX_TOOL, LINE_TOOL, ANSWER)}
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_BRACKETS = re.compile(r"[\[{\]}]")
# A list of objects of texts, numbers and lists of these, three brackets deep: what blocks mostly are.
_FLAT = re.compile(
    r"""[^][{}"]*+ \[?+ (?:[^][{}"]++ | \{(?:[^][{}"\\]++ | "[^"\\]*+" | \[[^][{}"]*+\])*+\})*+
    \]?+ [^][{}"]*+""",
    re.VERBOSE,
)
# An op as `write` puts it. A block of such alone is read by this, in two thirds of the time.
_NUMBER = "(0|-?[1-9][0-9]{0,5})"  # whatever it matches is a coordinate, and an index, that may be
_OP = re.compile(
    rf"""(\{{"index":\ {_NUMBER},\ "(?:(start)_point|bbox)_2d":\ \[{_NUMBER},\ {_NUMBER}
        (?(3)\],\ "end_point_2d":\ \[|,\ ){_NUMBER},\ {_NUMBER}\],\ "label":\ """
    rf""""([^"\\\x00-\x1f]{{1,{MAX_LABEL}}})"\}})""",
    re.VERBOSE,
)
_TAG = re.compile(r"[ \t]*(\w*)")


BACKTICK = "\\u0060"  # as JSON escapes it: a label must not close the fence


def write(parsed: Step | Answer) -> str:
    """The text of a turn, strictly by the grammar; ops as they are (see `protocol.to_wire`).

    Raises:
        ValueError: if the text would not be read back as the same, as with "</think>" in a thought.
    """
    text = f"<think> {parsed.thought} </think> Action: "
    if isinstance(parsed, Answer):
        text += f"{ANSWER}\n<answer> {parsed.text} </answer>"
    else:
        tool = BOX_TOOL if isinstance(parsed.ops[0], Box) else LINE_TOOL
        rows = [json.dumps(_row(op), ensure_ascii=False) for op in parsed.ops]
        text += f"{tool}\n```json{_block(rows).replace('`', BACKTICK)}```"
    if parse(text) != parsed:
        raise ValueError(f"the grammar cannot hold {str(parsed)[:200]}")
    return text


def _block(rows: list[str]) -> str:
    """What stands between the fences of a turn that draws."""
    return "\n[" + ",\n ".join(rows) + "]\n"


def _row(op: Op) -> dict[str, Any]:
    if isinstance(op, Box):
        return {"index": op.k, "bbox_2d": [*op.p[0], *op.p[1]], "label": op.label}
    ends = {"start_point_2d": [*op.p[0]], "end_point_2d": [*op.p[1]]}
    return {"index": op.k, **ends, "label": op.label}


class _Malformed(Exception):
    """Why a turn has no meaning; becomes a Fault."""


def clean(text: str) -> str:
    """Text that UTF-8 can hold: a lone surrogate becomes its escape, ``\\udc80``."""
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def parse(text: str) -> Parsed:
    """What a turn says. Never raises; a Fault is always ``malformed``."""
    try:
        return _parse(text)
    except _Malformed as why:
        return Fault(Stop.MALFORMED, str(why))


def _parse(text: str) -> Step | Answer:
    if len(text) > MAX_CHARS:
        raise _Malformed(f"{len(text)} characters, at most {MAX_CHARS} are read")
    if text != clean(text):
        raise _Malformed("not Unicode text: it holds a lone surrogate")
    if strict := _STRICT.fullmatch(text):
        return _obeyed(*strict.groups())
    lenient: list[str] = []
    thought, body = _thought(text, lenient)
    fenced = body.split("```")  # no regular expression: a hostile turn must not make it backtrack
    before, answers, after = _split_answers(fenced[0] + "\n".join(fenced[2:]))
    prose = before + after
    actions = list(_ACTION.finditer(prose))
    if not actions:
        raise _Malformed("no action")
    if len(actions) > 1:
        raise _Malformed(f"{len(actions)} actions in one turn")
    action = actions[0]
    ahead = before[: action.start()].strip()
    if "think" in lenient and not thought:
        thought = ahead
    elif ahead:
        lenient.append("stray")
    if prose[action.end() :].strip():
        lenient.append("stray")
    tool = _tool(action, lenient)
    if len(fenced) > 1 and (tool == ANSWER or answers):
        raise _Malformed("ops together with an answer")
    if tool == ANSWER:
        return Answer(thought, _only(answers), _sorted(lenient))
    if answers:
        raise _Malformed("ops together with an answer")
    if len(fenced) != 3:
        raise _Malformed("no single fenced JSON block")
    block = _unfenced(fenced[1], lenient)
    return Step(thought, _ops(block, tool, lenient), _sorted(lenient))


def _obeyed(thought: str, tool: str | None, block: str, answer: str) -> Step | Answer:
    """A turn that obeys the grammar, but for what its block may hold."""
    if tool is None:
        return Answer(thought.strip(), _only([answer]))
    lenient: list[str] = []
    return Step(thought.strip(), _ops(block, tool, lenient), _sorted(lenient))


def _split_answers(prose: str) -> tuple[str, list[str], str]:
    """What stands before the first answer, the answers, and what stands after the last."""
    before, *rest = prose.split("<answer>")
    if not rest:
        return before, [], ""
    answers, after = [], ""
    for part in rest:
        answer, closed, after = part.partition("</answer>")
        if not closed:
            raise _Malformed("an answer that is not closed")
        answers.append(answer)
    return before, answers, after


def _only(answers: list[str]) -> str:
    if len(answers) != 1:
        raise _Malformed("no answer" if not answers else f"{len(answers)} answers")
    if not answers[0].strip():
        raise _Malformed("an empty answer")
    return answers[0].strip()


def _tool(action: re.Match[str], lenient: list[str]) -> str:
    name = action[1].strip()
    tool = _TOOLS.get(name.casefold())
    if tool is None:
        raise _Malformed(f"unknown action {name[:40]!r}")
    if not action[0].startswith(f"Action: {tool}"):
        lenient.append("action")
    return tool


def _sorted(lenient: list[str]) -> tuple[str, ...]:
    return tuple(name for name in LENIENT if name in lenient) if lenient else ()


def _thought(text: str, lenient: list[str]) -> tuple[str, str]:
    """The thought, and what follows it."""
    head, closed, body = text.partition("</think>")
    if not closed:
        lenient.append("think")
        return "", text
    before, opened, thought = head.partition("<think>")
    if not opened or before.strip() or "<think>" in thought or "</think>" in body:
        lenient.append("think")
    return (thought if opened else before).strip(), body


def _unfenced(block: str, lenient: list[str]) -> str:
    """What stands between fences, without the tag of the first."""
    tag = _TAG.match(block)
    assert tag is not None  # it matches the empty text too
    if tag[1].casefold() not in ("json", ""):
        raise _Malformed(f"a block of {tag[1][:20]!r}, not JSON")
    block = block[tag.end() :]
    if tag[0] != "json" or not block.startswith("\n") or not block.rstrip(" \t").endswith("\n"):
        lenient.append("fence")
    return block


def _ops(block: str, tool: str, lenient: list[str]) -> tuple[Op, ...]:
    ops = _written(block) or _read(block, lenient)
    if (Box if tool == BOX_TOOL else Line) not in map(type, ops):
        lenient.append("action")
    return ops


def _written(block: str) -> tuple[Op, ...]:
    """The ops of a block as `write` puts them, or none: then `_read` says what it holds."""
    rows = _OP.findall(block)
    if len(rows) > MAX_OPS or block != _block([row[0] for row in rows]):
        return ()
    ops: list[Op] = []
    for _, k, line, x1, y1, x2, y2, label in rows:
        first, last = p = Point(int(x1), int(y1)), Point(int(x2), int(y2))
        if label.isspace() or not (line or (first[0] <= last[0] and first[1] <= last[1])):
            return ()
        ops.append(Line(int(k), p, label) if line else Box(int(k), p, label))
    return tuple(ops)


def _read(block: str, lenient: list[str]) -> tuple[Op, ...]:
    """The ops of a block of any JSON."""
    rows = _load(block)
    if isinstance(rows, dict):
        lenient.append("bare")
        rows = [rows]
    if not isinstance(rows, list):
        raise _Malformed(f"a JSON {type(rows).__name__} instead of a list of ops")
    if not rows or len(rows) > MAX_OPS:
        raise _Malformed("an empty list" if not rows else f"{len(rows)} ops in one turn")
    return tuple([_op(row, lenient) for row in rows])


def _load(block: str) -> Any:
    opened = block.count("[") + block.count("{")  # mostly so few that none need be looked at
    if (
        opened > MAX_DEPTH
        and not _FLAT.fullmatch(block)
        and (deepest := _deepest(block)) > MAX_DEPTH
    ):
        raise _Malformed(f"brackets {deepest} deep")
    try:
        return _JSON.decode(block)
    except ValueError as error:  # also an integer of more digits than Python converts
        raise _Malformed(f"not JSON: {str(error)[:80]}") from None


def _deepest(block: str) -> int:
    """How many brackets are open at once, at most."""
    depth = deepest = 0
    for bracket in _BRACKETS.findall(_STRING.sub("", block)):
        depth = depth + 1 if bracket in "[{" else max(0, depth - 1)
        deepest = max(deepest, depth)
    return deepest


class _Twice(dict[str, Any]):
    """An object that gives a key twice; the last one counts."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    return made if len(made) == len(pairs) else _Twice(made)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


_JSON = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=_object)
_KEYS = {"index", "bbox_2d", "start_point_2d", "end_point_2d", "label"}


def _op(row: Any, lenient: list[str]) -> Op:
    if not isinstance(row, dict):
        raise _Malformed(f"an op that is a JSON {type(row).__name__}")
    k, label = row.get("index"), row.get("label")
    if type(k) is not int:  # a boolean is an int, and no index
        raise _Malformed("index missing" if k is None else f"index {_brief(k)} is not an integer")
    if not isinstance(label, str) or not label.strip():
        raise _Malformed("label missing" if label is None else "a label that is empty or no text")
    if len(label) > MAX_LABEL or label != clean(label):
        raise _Malformed("a label that is too long or not Unicode text")
    if not -(2**31) <= k < 2**31:
        raise _Malformed("index out of any range")
    if not row.keys() <= _KEYS or isinstance(row, _Twice):
        lenient.append("keys")
    box = "bbox_2d" in row
    if box == ("start_point_2d" in row or "end_point_2d" in row):
        raise _Malformed(
            "an op with neither bbox_2d nor start and end" if not box else "an op that is both"
        )
    if box:
        x1, y1, x2, y2 = _numbers(row, "bbox_2d", 4, lenient)
        if x1 > x2 or y1 > y2:
            lenient.append("corners")
            x1, y1, x2, y2 = min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)
        return Box(k, (Point(x1, y1), Point(x2, y2)), label)
    x1, y1 = _numbers(row, "start_point_2d", 2, lenient)
    x2, y2 = _numbers(row, "end_point_2d", 2, lenient)
    return Line(k, (Point(x1, y1), Point(x2, y2)), label)


def _numbers(row: dict[str, Any], key: str, count: int, lenient: list[str]) -> list[int]:
    values = row.get(key)
    if not isinstance(values, list) or len(values) != count:
        raise _Malformed(f"{key} missing" if values is None else f"{key} is not {count} numbers")
    whole = True
    for value in values:
        if type(value) is not int:  # a boolean is an int, and no number
            if type(value) is not float:
                raise _Malformed(f"{key} holds {_brief(value)}, not a number")
            whole = False
        if not -MAX_COORDINATE <= value <= MAX_COORDINATE:  # infinite is out of range too
            raise _Malformed(f"{key} holds a number that is no coordinate")
    if whole:  # as nearly always
        return values
    if any(value % 1 for value in values):
        lenient.append("fraction")
    return [round(value) for value in values]


def _brief(value: Any) -> str:
    return json.dumps(value)[:40]
