"""What a model is shown: messages that only grow, in the coordinates of its family."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline import canvas
from pipeline.protocol import FAMILIES, GO_ON, LAST, Picture, from_wire, render, to_wire
from pipeline.types import Line, Point, Size, State, Step
from tests.conftest import box, plain_problem, run


@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_thousandths_come_back_within_a_thousandth(
    across: int, down: int, data: st.DataObject
) -> None:
    size, family = Size(across * 32, down * 32), FAMILIES["qwen3-vl"]
    x, y = data.draw(st.integers(0, size.width)), data.draw(st.integers(0, size.height))
    op = Line(1, (Point(x, y), Point(0, 0)), "a")
    back = from_wire(to_wire(op, size, family), size, family)
    assert abs(back.p[0].x - x) <= 1 + size.width / 2000
    assert abs(back.p[0].y - y) <= 1 + size.height / 2000


def test_each_turn_only_appends_to_what_the_model_has_seen() -> None:
    problem, family = plain_problem(), FAMILIES["qwen2.5-vl"]
    states = [canvas.opened(problem)]
    said = [Step("One.", (box(1, 1, 50, 50),)), Step("Two.", (box(5, 5, 60, 60, k=2),))]
    for n in range(len(said)):
        after = run(problem, said[: n + 1])
        assert isinstance(after, State)
        states.append(after)
    shown = [render(state, family, 10) for state in states]
    assert shown[1][: len(shown[0])] == shown[0]
    assert shown[2][: len(shown[1])] == shown[1]
    assert [part for message in shown[2] for part in message.parts if isinstance(part, Picture)] == [
        Picture(1), Picture(2), Picture(3),
    ]  # fmt: skip


def test_the_turn_before_the_last_is_told_that_the_answer_is_due() -> None:
    problem, family = plain_problem(), FAMILIES["qwen2.5-vl"]
    state = run(problem, [Step("One.", (box(1, 1, 50, 50),))])
    assert isinstance(state, State)
    assert render(state, family, max_turns=3)[-1].parts[-1] == GO_ON
    assert render(state, family, max_turns=2)[-1].parts[-1] == LAST


def test_the_first_message_has_pictures_question_and_lettered_options() -> None:
    first = render(canvas.opened(plain_problem()), FAMILIES["qwen2.5-vl"], 10)[1]
    assert first.parts[0] == Picture(1)
    assert "width 224, height 224" in str(first.parts[1])
    assert "A. cat\nB. dog\nC. cow" in str(first.parts[-1])
