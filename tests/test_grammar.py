"""The grammar: what is written is read back, and whatever else is read has a typed reason."""

import json
import re
import time
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import grammar
from pipeline.grammar import MAX_CHARS, parse, write
from pipeline.protocol import FAMILIES
from pipeline.types import Answer, Box, Fault, Line, Point, Step, Stop
from tests.conftest import box, line
from tests.fuzz import SPOKEN, turn_case, turns

THINK = "<think> I look. </think> Action: "
ROW = '{"index": 1, "bbox_2d": [1, 2, 30, 40], "label": "cat"}'


def drawing(block: str, tool: str = "Object Mapper") -> str:
    return f"{THINK}{tool}\n```json\n{block}\n```"


texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\r"), min_size=1, max_size=40
).filter(lambda t: t.strip() == t and "think>" not in t and "answer>" not in t)
points = st.builds(Point, st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6))
indexes = st.integers(1, 50)
boxes = st.builds(
    lambda k, p, w, h, label: Box(k, (p, Point(min(p.x + w, 10**6), min(p.y + h, 10**6))), label),
    indexes, points, st.integers(0, 500), st.integers(0, 500), texts,
)  # fmt: skip
lines = st.builds(lambda k, p, q, label: Line(k, (p, q), label), indexes, points, points, texts)
steps = st.builds(Step, texts, st.lists(st.one_of(boxes, lines), min_size=1, max_size=6).map(tuple))
answers = st.builds(Answer, texts, texts.filter(lambda t: "```" not in t))


@given(st.one_of(steps, answers))
def test_what_is_written_is_read_back_as_strict(said: Step | Answer) -> None:
    assert parse(write(said)) == said


def test_a_thought_that_would_end_itself_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="cannot hold"):
        write(Answer("so </think> then", "A"))


def test_the_tool_named_is_that_of_the_first_op() -> None:
    assert "Action: Path Tracer" in write(Step("I look.", (line(0, 0, 9, 9), box(1, 1, 5, 5))))


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("", "no action"),
        ("5", "no action"),
        ("The cat is on the left.", "no action"),
        (f"{THINK}Object Finder\n```json\n[{ROW}]\n```", "unknown action"),
        (f"{THINK}Object Mapper\nAction: Answer\n<answer> A </answer>", "2 actions"),
        (f"{drawing(f'[{ROW}]')}\n<answer> A </answer>", "ops together with an answer"),
        (f"{THINK}Answer\n```json\n[{ROW}]\n```\n<answer> A </answer>", "ops together"),
        (f"{THINK}Answer\n<answer> A </answer> <answer> B </answer>", "2 answers"),
        (f"{THINK}Answer", "no answer"),
        (f"{THINK}Answer\n<answer>   </answer>", "an empty answer"),
        (f"{THINK}Answer\n<answer> A", "not closed"),
        (f"{THINK}Object Mapper", "no single fenced"),
        (drawing("[]"), "an empty list"),
        (drawing("5"), "a JSON int"),
        (drawing('"cat"'), "a JSON str"),
        (drawing("null"), "a JSON NoneType"),
        (drawing("[5]"), "an op that is a JSON int"),
        (drawing('[{"bbox_2d": [1, 2, 3, 4], "label": "a"}]'), "index missing"),
        (drawing('[{"index": true, "bbox_2d": [1, 2, 3, 4], "label": "a"}]'), "index true"),
        (drawing('[{"index": 1.5, "bbox_2d": [1, 2, 3, 4], "label": "a"}]'), "index 1.5"),
        (drawing('[{"index": 99**98**97, "bbox_2d": [1, 2, 3, 4], "label": "a"}]'), "not JSON"),
        (drawing('[{"index": 1, "bbox_2d": [1, 2, 3], "label": "a"}]'), "not 4 numbers"),
        (drawing('[{"index": 1, "bbox_2d": "1,2,3,4", "label": "a"}]'), "not 4 numbers"),
        (drawing('[{"index": 1, "bbox_2d": [1, 2, 3, "4"], "label": "a"}]'), "not a number"),
        (drawing('[{"index": 1, "bbox_2d": [1, 2, 3, true], "label": "a"}]'), "not a number"),
        (drawing('[{"index": 1, "bbox_2d": [1, 2, 3, 1e400], "label": "a"}]'), "no coordinate"),
        (drawing('[{"index": 1, "bbox_2d": [1, 2, 3, NaN], "label": "a"}]'), "not JSON"),
        (drawing('[{"index": 1, "bbox_2d": [1, 2, 3, 4]}]'), "label missing"),
        (drawing('[{"index": 1, "bbox_2d": [1, 2, 3, 4], "label": " "}]'), "empty or no text"),
        (drawing('[{"index": 1, "bbox_2d": [1, 2, 3, 4], "label": 7}]'), "empty or no text"),
        (drawing('[{"index": 1, "label": "a"}]'), "neither"),
        (drawing('[{"index": 1, "start_point_2d": [1, 2], "label": "a"}]'), "end_point_2d missing"),
        (drawing("[" * 5000 + "]" * 5000), "deep"),
        (drawing('["' + "]" * 1000 + '",' + "[" * 1000), "deep"),
        (drawing('[{"index": 1, "bbox_2d": [' + "9" * 5000 + ', 1, 2, 3], "label": "a"}]'), "JSON"),
        (drawing('[{"index": 1, "bbox_2d": [1, 2, 3, 4], "label": "\\ud800"}]'), "label"),
        ("\ud800", "lone surrogate"),
        ("x" * (MAX_CHARS + 1), "characters"),
        ("\0" * 100, "no action"),
    ],
)  # fmt: skip
def test_a_turn_without_meaning_is_malformed_and_says_why(text: str, detail: str) -> None:
    parsed = parse(text)
    assert isinstance(parsed, Fault)
    assert parsed.reason is Stop.MALFORMED
    assert detail in parsed.detail


@pytest.mark.parametrize(
    ("text", "lenient"),
    [
        (f"{THINK}Object Mapper\n``` json\n[{ROW}]\n```", {"fence"}),
        (f"{THINK}Object Mapper ```json [{ROW}] ```", {"fence"}),
        (f"{THINK}Object Mapper\n```\n[{ROW}]\n```", {"fence"}),
        (drawing(ROW), {"bare"}),
        (drawing(f"[{ROW}]".replace("1, 2, 30, 40", "30, 40, 1, 2")), {"corners"}),
        (drawing(f"[{ROW}]".replace("30", "29.6")), {"fraction"}),
        (drawing(f"[{ROW}]".replace("30", "30.0")), set()),
        (drawing(f"[{ROW}]".replace("}", ', "score": 1}')), {"keys"}),
        (drawing(f"[{ROW}]") + "\nDone.", {"stray"}),
        (drawing(f"[{ROW}]", tool="Path Tracer"), {"action"}),
        (drawing(f"[{ROW}]", tool="object mapper"), {"action"}),
        (drawing(f"[{ROW}]").replace("Action: ", "Action:"), {"action"}),
        (drawing(f"[{ROW}]").replace("Action: ", "ACTION: "), {"action"}),
        (drawing(f"[{ROW}]").replace('"index": 1', '"index": 2, "index": 1'), {"keys"}),
        (drawing(f"[{ROW}]").replace("Action:", "So. Action:"), {"stray"}),
        (drawing(f"[{ROW}]").replace("<think>", "Well. <think>"), {"think"}),
        (drawing(f"[{ROW}]").replace("<think> I look. </think>", "I look."), {"think"}),
    ],
)
def test_a_lenient_turn_is_understood_and_remembered(text: str, lenient: set[str]) -> None:
    parsed = parse(text)
    assert isinstance(parsed, Step)
    assert parsed.ops == (box(1, 2, 30, 40),)
    assert set(parsed.lenient) == lenient
    assert parsed.thought == "I look."


def test_an_empty_thought_does_not_let_reasoning_outside_the_tags_pass() -> None:
    parsed = parse("<think></think> I reason outside. Action: Answer\n<answer>B</answer>")
    assert parsed == Answer("", "B", ("stray",))


@pytest.mark.parametrize("label", ["Action: stop", "<answer>", "[[[[[[[[[[[[", "``` json", '"]}'])
def test_a_label_may_hold_what_the_grammar_uses(label: str) -> None:
    said = Step("I look.", (box(1, 2, 30, 40, label),))
    assert parse(write(said)) == said


def test_an_answer_may_hold_the_word_action() -> None:
    assert parse(write(Answer("I look.", "Action: jump"))) == Answer("I look.", "Action: jump")


def test_both_kinds_may_mix_in_a_step_and_either_tool_may_be_named() -> None:
    mixed = Step("I look.", (box(1, 1, 5, 5), line(0, 0, 9, 9)))
    assert parse(write(mixed)) == mixed
    renamed = parse(write(mixed).replace("Object Mapper", "Path Tracer"))
    assert isinstance(renamed, Step)
    assert renamed.lenient == ()


NEVER = re.compile(r"(?!)")


def test_the_grammar_in_one_expression_reads_what_reading_piece_by_piece_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = Random(3)
    whole = [text for name in SPOKEN for text in turns(FAMILIES[name])]
    texts = [*whole, *(turn_case(rng)[1] for _ in range(6000))]
    at_once = [parse(text) for text in texts]
    assert all(grammar._STRICT.fullmatch(text) for text in whole if "<answer>" in text)
    assert sum(bool(grammar._STRICT.fullmatch(text)) for text in texts) > len(texts) / 8
    monkeypatch.setattr(grammar, "_STRICT", NEVER)
    assert [parse(text) for text in texts] == at_once


def test_ops_read_by_one_expression_are_those_that_json_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = Random(5)
    near = [  # what `write` would not put, by a little
        *("-0", "01", "1.0", "1e1", "1000000", "-1000000", "1000001", "999999", "true", '"1"', ""),
        *("1, 2", "[1]", "١", "1١", "1 "),
    ]
    edited = [drawing(f"[{ROW.replace('30', value)}]") for value in near]
    edited += [drawing(f"[{ROW.replace('1,', value + ',', 1)}]") for value in near]
    edited += [
        drawing(f"[{ROW.replace('cat', label)}]")
        for label in ("", " ", "a\tb", "\x1f", "\x7f", "é")
    ]
    long = ("c" * 200, "c" * 201, "é" * 200, "é" * 201)
    edited += [drawing(f"[{ROW.replace('cat', label)}]") for label in long]
    edited += [drawing("[" + ",\n ".join([ROW] * count) + "]") for count in (0, 1, 64, 65)]
    edited += [
        drawing(block)
        for block in (
            f"[{ROW},\n  {ROW}]", f"[{ROW}]]", f"[ {ROW}]", f"[{ROW}],", f"{ROW}", f"[{ROW} {ROW}]",
            f"[{ROW.replace('[1, 2,', '[1, 2], ')}]",
            f"[{ROW.replace('bbox_2d', 'start_point_2d')}]",
            '[{"index": 1, "bbox_2d": [1, 2], "end_point_2d": [3, 4], "label": "a"}]',
            '[{"index": 1, "start_point_2d": [1, 2, 3, 4], "label": "a"}]',
            '[{"index": 1, "bbox_2d": [30, 40, 1, 2], "label": "a"}]',
        )
    ]  # fmt: skip
    written = [text for name in SPOKEN for text in turns(FAMILIES[name])]
    texts = [*edited, *written, *(turn_case(rng)[1] for _ in range(6000))]
    at_once = [parse(text) for text in texts]
    blocks = [text.split("```json")[1].split("```")[0] for text in written if "```" in text]
    assert all(map(grammar._written, blocks))
    monkeypatch.setattr(grammar, "_OP", NEVER)
    assert not any(map(grammar._written, blocks))
    assert [parse(text) for text in texts] == at_once


@settings(max_examples=300)
@given(st.text(max_size=300))
def test_any_text_gives_one_of_three_things(text: str) -> None:
    for said in (text, drawing(text), f"{THINK}Answer\n<answer>{text}</answer>", THINK + text):
        assert isinstance(parse(said), Step | Answer | Fault)


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(["index", "bbox_2d", "start_point_2d", "end_point_2d", "label", "x"]),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=12,
)


@settings(max_examples=300)
@given(json_values)
def test_any_json_in_the_block_gives_a_step_or_a_fault(value: object) -> None:
    assert isinstance(parse(drawing(json.dumps(value))), Step | Fault)


@settings(max_examples=500)
@given(st.lists(st.sampled_from(["[", "]", "{", "}", '"', "\\", "x", " ", "1,"]), max_size=40))
def test_what_is_flat_at_a_glance_is_flat_by_count(pieces: list[str]) -> None:
    block = "".join(pieces)
    if grammar._FLAT.fullmatch(block):
        assert grammar._deepest(block) <= 3


def test_a_strict_block_is_flat_at_a_glance() -> None:
    said = write(Step("Both.", (box(1, 2, 3, 4, "it's [1] {a}"), line(5, 6, 7, 8))))
    assert grammar._FLAT.fullmatch(said.split("```json")[1].split("```")[0])


@pytest.mark.parametrize(
    "piece",
    [
        "<answer>",
        "</answer>",
        "```",
        "<think>",
        "</think>",
        "Action:",
        "[",
        '{"a":',
        '"\\',
        "9",
        "\n",
        "Action: Answer\n",
    ],
)
def test_no_repetition_makes_parsing_slow(piece: str) -> None:
    for head in ("", THINK, f"{THINK}Object Mapper\n", f"{THINK}Object Mapper\n```json\n"):
        text = head + piece * (60_000 // len(piece))
        start = time.process_time()
        parse(text)
        parse(text + "\n```")
        assert time.process_time() - start < 0.1  # two turns, 50 ms each
