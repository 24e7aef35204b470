"""States as ids, against what the families' own processors make of the same conversation."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import canvas, grammar, protocol, tokens
from pipeline.images import decode
from pipeline.protocol import FAMILIES, Picture
from pipeline.rollout import Limits, advance, read_turn, retrace
from pipeline.types import Answer, Modality, State, Stop, Trajectory
from tests.trainers.conftest import TURNS, Small, problem_of, solved, told
from trainers import tiny

SPECIAL = ("<|im_end|>", "<|im_start|>", "<|image_pad|>", "<|vision_start|>", "<|endoftext|>")
ANSWER = grammar.write(Answer("So it is the cat.", "A"))


def chat(state: State, small: Small) -> tuple[list[dict[str, Any]], list[Any]]:
    """The state as the messages and pictures that a processor takes."""
    messages, pictures = [], []
    for message in protocol.render(state, small.family, TURNS):
        parts: list[dict[str, Any]] = []
        for part in message.parts:
            if isinstance(part, Picture):
                parts.append({"type": "image"})
                pictures.append(canvas.pixels(state.problem, state.views[part.k - 1]))
            else:
                parts.append({"type": "text", "text": part})
        messages.append({"role": message.role, "content": parts})
    return messages, pictures


def reference(state: State, small: Small, template: str | None = None) -> tuple[int, ...]:
    """The ids that the processor itself makes of a conversation that the model is to go on with."""
    messages, pictures = chat(state, small)
    text = small.processor.apply_chat_template(
        messages, add_generation_prompt=True, chat_template=template
    )
    made = small.processor(
        text=[text], images=pictures, return_tensors="pt", input_data_format="channels_last"
    )
    return tuple(made["input_ids"][0].tolist())


def before(state: State, turns: int) -> State:
    """The state as it was after that many turns."""
    done = Trajectory(state.problem.id, state.sample, state.turns[:turns], Stop.ANSWERED)
    return retrace(state.problem, done)


def sampled(state: State, small: Small) -> State:
    """The same state as if its turns had been sampled token by token."""
    ids = [tokens.turn_ids(turn, small.words, sampled=False) for turn in state.turns]
    turns = tuple(replace(turn, ids=own) for turn, own in zip(state.turns, ids, strict=True))
    return replace(state, turns=turns)


def written(state: State, small: Small, *, sampled: bool = False) -> tokens.Written:
    return tokens.prompt(state, small.words, small.family, TURNS, sampled=sampled)


@pytest.fixture(params=list(Modality))
def drawn_twice(request: pytest.FixtureRequest, small: Small) -> State:
    """After two drawing turns, on one picture, on several views, on frames."""
    problem = problem_of(request.param, small.family)
    state = retrace(problem, solved(problem, small.family, draws=2))
    return before(state, 2)


def test_ids_are_those_of_the_processors_own_template_and_tokenizer(
    drawn_twice: State, small: Small
) -> None:
    for turns in range(3):
        state = before(drawn_twice, turns)
        assert written(state, small).ids == reference(state, small)


@pytest.mark.parametrize(
    ("name", "file"), [("qwen2.5-vl", "qwen2_5_vl.jinja"), ("qwen3-vl", "qwen3_vl.jinja")]
)
@pytest.mark.parametrize("modality", list(Modality))
def test_ids_are_those_of_the_template_that_the_family_is_published_with(
    name: str, file: str, modality: Modality, smalls: dict[str, Small]
) -> None:
    trl = pytest.importorskip("trl")
    template = (Path(trl.__file__).parent / "chat_templates" / file).read_text()
    small = smalls[name]
    problem = problem_of(modality, small.family)
    state = before(retrace(problem, solved(problem, small.family, draws=2)), 2)
    assert written(state, small).ids == reference(state, small, template)


@pytest.fixture(scope="module")
def wordy() -> Small:
    """A tokenizer that learnt its words and nothing else: whole phrases are no tokens of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny, "phrases", list)
        texts = [protocol.SYSTEM, f"Nothing was drawn. {protocol.GO_ON}"]
        processor = tiny.build_processor("qwen2.5-vl", texts)
    family = FAMILIES["qwen2.5-vl"]
    return Small("qwen2.5-vl", Path(), processor, tokens.vocabulary(processor), family)


@pytest.mark.parametrize("modality", list(Modality))
def test_texts_that_touch_are_tokenised_as_one(modality: Modality, wordy: Small) -> None:
    """As after a fault, which is told in front of the invitation to go on."""
    now = canvas.opened(problem_of(modality, wordy.family))
    limits = Limits(max_turns=TURNS, tell_faults=True)
    for text in ("I draw nothing.", "Action: Nothing at all"):
        after = advance(now, read_turn(now, text, wordy.family), limits, wordy.family)
        assert isinstance(after, State)
        assert written(after, wordy).ids == reference(after, wordy)
        now = after
    assert len(wordy.words.write(protocol.GO_ON)) > 5


def test_a_prompt_begins_with_the_prompt_before_it_and_the_turn_in_between(
    drawn_twice: State, small: Small
) -> None:
    for turns in range(2):
        now, then = before(drawn_twice, turns), before(drawn_twice, turns + 1)
        turn = tokens.turn_ids(drawn_twice.turns[turns], small.words, sampled=False)
        start = written(now, small).ids + turn
        assert written(then, small).ids[: len(start)] == start


SAID = st.one_of(
    st.just(ANSWER),
    st.sampled_from(
        [*SPECIAL, "", "\n", "Action: Object Mapper", "<think> hm", "e\u0301", "\udc80"]
    ),
    st.text(max_size=40),
    st.integers(0, 60).map(
        lambda at: (
            f"<think> {at} </think> Action: Object Mapper\n```json\n"
            f'[{{"index": 1, "bbox_2d": [{at}, {at}, {at + 20}, {at + 20}], "label": "cat"}}]\n```'
        )
    ),
)


@settings(max_examples=60)
@given(said=st.lists(SAID, max_size=4), data=st.data())
def test_whatever_is_said_and_however_it_was_sampled_prompts_only_grow(
    said: list[str], data: st.DataObject, smalls: dict[str, Small]
) -> None:
    small = data.draw(st.sampled_from(list(smalls.values())))
    words, limits = small.words, Limits(max_turns=TURNS, tell_faults=True)
    now: State | Trajectory = canvas.opened(problem_of(Modality.IMAGE, small.family))
    for text in said:
        turn = read_turn(now, text, small.family)
        ids = tokens.turn_ids(turn, words, sampled=False)[: data.draw(st.integers(0, 60))]
        then = advance(now, replace(turn, ids=ids), limits, small.family)
        if isinstance(then, Trajectory):
            break
        grown = written(then, small, sampled=True)
        start = written(now, small, sampled=True).ids + ids
        assert grown.ids[: len(start)] == start
        assert [grown.ids[slice(*span)] for span in grown.spans] == [t.ids for t in then.turns]
        now = then


@pytest.mark.parametrize("name", SPECIAL)
def test_text_that_names_a_special_token_is_text(name: str, small: Small) -> None:
    problem = problem_of(Modality.IMAGE, small.family)
    asked = replace(problem, question=f"What is {name}?", options=(f"a {name}", "b", "c"))
    thought = grammar.write(Answer(f"I see {name} there.", "A"))
    plain = [canvas.opened(problem), canvas.opened(asked)]
    plain, hostile = (
        tokens.told(
            replace(state, turns=(read_turn(state, said, small.family),), observed=(0,)),
            small.words,
            small.family,
            TURNS,
            sampled=False,
        )
        for state, said in zip(plain, (ANSWER, thought), strict=True)
    )
    special = small.processor.tokenizer.all_special_ids
    named = {token for token in special if token in (*plain.ids, *hostile.ids)}
    assert [hostile.ids.count(i) for i in named] == [plain.ids.count(i) for i in named]
    assert small.processor.tokenizer.decode(hostile.ids).count(name) == 3 + sum(
        small.processor.tokenizer.decode([i]) == name for i in plain.ids
    )


def test_an_observation_stands_where_it_was_shown(drawn_twice: State, small: Small) -> None:
    shown = written(drawn_twice, small)
    assert shown.pictures == tuple(range(1, len(drawn_twice.views) + 1))
    ids = list(shown.ids)
    starts = [n for n, i in enumerate(ids) if i == small.words.picture_start]
    turns = [first for first, _ in shown.spans]
    inputs = len(drawn_twice.problem.images)
    assert starts[inputs - 1] < turns[0] < starts[inputs] < turns[1] < starts[inputs + 1]


def test_sampled_ids_stay_as_they_were_even_if_their_text_has_shorter_ones(one: Small) -> None:
    state = before(retrace(*_pair(one)), 1)
    letters = [i for sign in state.turns[0].text for i in one.words.write(sign)]
    spelt = (*letters, one.words.end)
    turn = replace(state.turns[0], ids=spelt)
    shown = written(replace(state, turns=(turn,)), one, sampled=True)
    assert shown.ids[slice(*shown.spans[0])] == spelt
    assert len(spelt) > len(tokens.turn_ids(turn, one.words, sampled=False))


def test_a_turn_cut_off_by_its_limit_is_closed_but_its_end_is_not_the_models(one: Small) -> None:
    problem = problem_of(Modality.IMAGE, one.family)
    ids = one.words.write("<think> I never get to")
    opened = canvas.opened(problem)
    turn = read_turn(opened, "<think> I never get to", one.family, truncated=True, ids=ids)
    state = advance(opened, turn, Limits(max_turns=TURNS, tell_faults=True), one.family)
    assert isinstance(state, State)
    shown = written(state, one, sampled=True)
    first, last = shown.spans[0]
    assert shown.ids[first:last] == ids
    assert shown.ids[last] == one.words.end
    assert "Nothing was drawn (truncated" in one.processor.tokenizer.decode(shown.ids[last:])
    alone = tokens.told(state, one.words, one.family, TURNS, sampled=True)
    assert alone.ids[-1] == ids[-1]


def test_a_turn_without_its_ids_is_no_sampled_turn(one: Small) -> None:
    state = retrace(*_pair(one))
    with pytest.raises(ValueError, match="without the ids"):
        tokens.told(state, one.words, one.family, TURNS, sampled=True)


def test_what_is_told_ends_with_the_models_last_token(drawn_twice: State, small: Small) -> None:
    done = tokens.told(drawn_twice, small.words, small.family, TURNS, sampled=False)
    assert done.spans[-1][1] == len(done.ids)
    assert done.ids[-1] == small.words.end
    assert len(done.pictures) == len(drawn_twice.views) - 1  # nobody looks at the last drawing
    assert written(drawn_twice, small).ids[: len(done.ids)] == done.ids


def test_the_exact_count_is_of_all_that_the_model_is_shown_next(
    drawn_twice: State, small: Small
) -> None:
    count = tokens.counter(small.words)
    state = sampled(drawn_twice, small)
    assert count(state, small.family, TURNS) == len(reference(drawn_twice, small))
    turn = read_turn(state, ANSWER, small.family, ids=(*small.words.write(ANSWER), small.words.end))
    answered = replace(state, turns=(*state.turns, turn), observed=(*state.observed, 0))
    expected = len(reference(drawn_twice, small)) + len(turn.ids or ())
    assert count(answered, small.family, TURNS) == expected


def test_a_rollout_ends_before_its_next_prompt_is_too_long(one: Small) -> None:
    problem = problem_of(Modality.IMAGE, one.family)
    opened = canvas.opened(problem)
    step = solved(problem, one.family).turns[0]
    turn = replace(step, ids=tokens.turn_ids(step, one.words, sampled=False))
    count = tokens.counter(one.words)
    grown = advance(opened, turn, Limits(max_turns=TURNS), one.family, count)
    assert isinstance(grown, State)
    length = len(written(grown, one, sampled=True).ids)
    tight = Limits(max_turns=TURNS, max_context=length - 1)
    ended = advance(opened, turn, tight, one.family, count)
    assert isinstance(ended, Trajectory)
    assert ended.stop is Stop.TOO_LONG


def test_a_picture_takes_as_many_places_as_the_processor_makes_patches(small: Small) -> None:
    for modality in Modality:
        state = canvas.opened(problem_of(modality, small.family))
        pictures = [decode(image) for image in state.problem.images]
        grids = small.processor.image_processor(pictures, return_tensors="pt")["image_grid_thw"]
        ids = written(state, small).ids
        assert ids.count(small.words.picture) == int((grids.prod(1) // 4).sum())


def test_the_estimate_is_near_the_truth(one: Small) -> None:
    """The tiny tokenizer is far terser than any real one: the estimate must not be below it."""
    for problem, trajectory in told(one.family, 6):
        state = retrace(problem, trajectory)
        exact = len(tokens.told(state, one.words, one.family, TURNS, sampled=False).ids)
        assert tokens.estimate(state, one.family, TURNS) > exact


class Foreign:
    """A tokenizer that knows the given names, and takes text that names one for the token itself."""

    pad_token_id = None

    def __init__(self, *names: str) -> None:
        self.names = {name: n for n, name in enumerate(names)}

    def get_vocab(self) -> dict[str, int]:
        return self.names

    def encode(self, text: str, **_: bool) -> list[int]:
        return [self.names[text]]


def test_a_tokenizer_of_another_family_is_refused() -> None:
    with pytest.raises(ValueError, match=r"has no <\|vision_start\|>"):
        tokens.vocabulary(SimpleNamespace(tokenizer=Foreign("<s>")))


def test_a_tokenizer_that_lets_text_forge_a_picture_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the text <\|vision_start\|> as a token"):
        tokens.vocabulary(SimpleNamespace(tokenizer=Foreign("<|vision_start|>")))


def _pair(small: Small) -> tuple[Any, Trajectory]:
    problem = problem_of(Modality.IMAGE, small.family)
    return problem, solved(problem, small.family)
