"""Near-duplicates: what is found, what is not, and the index beside a comparison of all with all."""

import io
from collections.abc import Callable
from dataclasses import replace
from random import Random

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from pipeline import near
from pipeline.images import Pixels, decode, encode, read, resize
from pipeline.near import (
    CLOSE,
    WIDE,
    Index,
    Signature,
    Tolerance,
    alike,
    picture_hash,
    sign,
    signature,
    unless_contaminated,
    unless_near,
    words,
)
from pipeline.sources import SOURCES
from pipeline.tasks import TASKS
from pipeline.types import KEPT, Problem, Size
from tests.conftest import plain_problem


def scene(task: str, seed: int, wording: str = "plain") -> Problem:
    made = TASKS[task]()(width=224, height=224, difficulty=0.4, wording=wording)  # type: ignore[arg-type]
    return replace(made.sample(Random(f"{task}/{seed}")), id=f"{task}-{seed}")


def coins(seed: int = 4) -> Pixels:
    photos = SOURCES["photos"]()(width=280, height=280, unit=28, difficulty=0.5, wording="plain")
    return decode(photos.sample(Random(seed), "rl").images[0])


def jpeg(pixels: Pixels) -> Pixels:
    data = io.BytesIO()
    Pillow.fromarray(pixels).save(data, "JPEG", quality=70)
    return read(data.getvalue())


def larger(pixels: Pixels) -> Pixels:
    return resize(pixels, Size(round(pixels.shape[1] * 1.2), round(pixels.shape[0] * 1.2)))


def smaller(pixels: Pixels) -> Pixels:
    return resize(pixels, Size(round(pixels.shape[1] * 0.8), round(pixels.shape[0] * 0.8)))


def darker(pixels: Pixels) -> Pixels:
    return np.asarray(pixels * 0.9, np.uint8)


def cut(pixels: Pixels) -> Pixels:
    """About 1 % of each side, on each of the four."""
    down, across = (max(1, side // 100) for side in pixels.shape[:2])
    return np.ascontiguousarray(pixels[down:-down, across:-across])


EDITS: list[Callable[[Pixels], Pixels]] = [jpeg, larger, smaller, darker, cut]


def kept(*problems: Problem, tolerance: Tolerance = CLOSE, question: bool = True) -> Index:
    index = Index(tolerance, question=question)
    for problem in problems:
        index.add(problem.id, signature(problem))
    return index


# Pictures ----------------------------------------------------------------------------------------


def naive_hash(pixels: Pixels) -> tuple[list[bool], list[bool]]:
    """The same definition with the transform written out as a sum of cosines."""
    planes = cv2.cvtColor(pixels, cv2.COLOR_RGB2YCrCb).astype(float) - 128
    n = np.arange(64)
    basis = np.sqrt(2 / 64) * np.cos(np.pi * (n[None, :] + 0.5) * n[:, None] / 64)
    basis[0] /= np.sqrt(2)
    structure: list[bool] = []
    colour: list[bool] = []
    for channel, side in ((0, 8), (1, 4), (2, 4)):
        lowest = (basis @ planes[:, :, channel] @ basis.T)[:side, :side].ravel()
        bound = max(0.25 * np.sqrt(np.mean(lowest[1:] ** 2)), 16)
        if channel == 0:
            structure = [False, *(lowest[1:] > bound)]
        else:
            up = [lowest[0] > 512, *(lowest[1:] > bound)]
            colour += [*up, lowest[0] < -512, *(lowest[1:] < -bound)]
    return structure, colour


@pytest.mark.parametrize("seed", range(3))
def test_a_hash_is_the_signs_of_the_lowest_frequencies(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rough = rng.integers(0, 256, (9, 9, 3)).astype(np.uint8)
    pixels = resize(rough, Size(64, 64))
    found = [[bit == "1" for bit in f"{word:064b}"] for word in picture_hash(pixels)]
    assert found == [*naive_hash(pixels)]


def test_a_stored_hash_stays_what_it_is() -> None:
    """Indexes outlive a run: another definition needs other tolerances."""
    ramp = np.add.outer(np.arange(64) * 2, np.arange(64)).astype(np.uint8)
    pixels = np.stack([ramp, 255 - ramp, ramp // 2], axis=2)
    assert picture_hash(pixels) == (0x5080008000800000, 0x0000C8080000C808)


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
@pytest.mark.parametrize("task", [*TASKS, "photos"])
def test_a_picture_that_is_saved_scaled_toned_or_cut_is_found(
    task: str, edit: Callable[[Pixels], Pixels]
) -> None:
    pictures = [coins()] if task == "photos" else [decode(i) for i in scene(task, 1).images]
    index = Index(WIDE)
    index.add("first", sign(pictures, "Which one?"))
    found = index.find(sign([edit(pixels) for pixels in pictures], "Which one?"))
    assert found is not None
    assert found.id == "first"


@pytest.mark.parametrize("task", TASKS)
def test_scenes_of_a_task_are_told_apart_by_their_pictures(task: str) -> None:
    index = Index(WIDE, question=False)
    index.add("first", sign([decode(i) for i in scene(task, 1).images], ""))
    for seed in range(2, 8):
        other = scene(task, seed)
        assert index.find(sign([decode(i) for i in other.images], "")) is None


def test_pictures_of_one_colour_are_told_apart_by_it() -> None:
    red, blue = (np.full((64, 64, 3), colour, np.uint8) for colour in ((200, 0, 0), (0, 0, 200)))
    index = Index(Tolerance(structure=3, colour=1, question=1.0))
    index.add("red", sign([red], "Which colour?"))
    assert index.find(sign([blue], "Which colour?")) is None
    assert index.find(sign([red], "Which colour?")) is not None


def test_an_object_in_another_colour_of_the_same_brightness_changes_the_hash_of_colour() -> None:
    pixels = np.full((96, 96, 3), 255, np.uint8)
    pixels[20:50, 20:50] = (200, 60, 60)
    other = pixels.copy()
    other[20:50, 20:50] = (10, 149, 60)  # the same luma
    first, second = picture_hash(pixels), picture_hash(other)
    assert (first[0] ^ second[0]).bit_count() <= CLOSE.structure
    assert (first[1] ^ second[1]).bit_count() > CLOSE.colour


def test_several_pictures_are_near_only_if_each_is_in_its_place() -> None:
    first, second, third = coins(1), decode(scene("maze", 1).images[0]), coins(9)
    index = Index(WIDE)
    index.add("both", sign([first, second], "Where?"))
    assert index.find(sign([jpeg(first), jpeg(second)], "Where?")) is not None
    assert index.find(sign([first, third], "Where?")) is None
    assert index.find(sign([second, first], "Where?")) is None
    assert index.find(sign([first], "Where?")) is None
    assert index.find(sign([first, second, second], "Where?")) is None


def test_a_picture_stretched_to_another_shape_is_another_one() -> None:
    square = decode(scene("chart", 1).images[0])
    index = Index(WIDE)
    index.add("first", sign([square], "Which?"))
    assert index.find(sign([resize(square, Size(224, 196))], "Which?")) is not None
    assert index.find(sign([resize(square, Size(224, 112))], "Which?")) is None


# Questions ---------------------------------------------------------------------------------------

MUCH_MORE = "and which of the other figures lies nearest to the left border"


def test_letter_case_punctuation_spacing_and_width_do_not_count() -> None:
    assert words("  How many RED　circles, １２ or 3.5?") == "how many red circles 12 or 3.5"
    assert words("Is x > -3?") != words("Is x < -3?")
    assert words("Is x > -3?") != words("Is x > 3?")


@pytest.mark.parametrize(
    ("other", "near_"),
    [
        ("how many red circles are in the picture", True),
        ("How many red circles are in the picture? Answer with a number.", True),
        ("Look closely. How many red circles are in the picture?", True),
        ("How many blue circles are in the picture?", False),
        ("How many circles are in the red picture?", False),
        (
            "How many red circles are in the picture, "
            + "and which of the other figures lies nearest to the left border",
            False,
        ),
        ("", False),
    ],
)
def test_what_is_added_to_a_question_does_not_count_and_what_is_exchanged_does(
    other: str, near_: bool
) -> None:
    said = words("How many red circles are in the picture?")
    assert (alike(said, words(other)) >= CLOSE.question) is near_
    assert alike(said, words(other)) == alike(words(other), said)


def test_the_same_picture_with_another_question_is_another_problem() -> None:
    index = Index()
    index.add("first", sign([coins()], "How many coins are there?"))
    other = sign([coins()], "Which coin is the largest?")
    assert index.find(other) is None
    alone = Index(question=False)
    alone.add("first", sign([coins()], "How many coins are there?"))
    assert alone.find(other) is not None


# Drawn scenes ------------------------------------------------------------------------------------


def test_of_two_drawn_scenes_the_geometry_decides() -> None:
    plain = scene("maze", 5)
    assert plain.scene is not None
    asked_otherwise = replace(plain, id="b", question="Say it in other words, please.")
    moved = replace(plain, id="c", scene=replace(plain.scene, geometry="{}"))
    index = kept(plain)
    assert index.find(signature(asked_otherwise)) is not None
    assert index.find(signature(moved)) is None


def test_a_drawn_scene_is_found_in_a_set_that_knows_no_geometry() -> None:
    drawn = scene("chart", 5)
    index = Index(WIDE)
    index.add("eval-7", sign([jpeg(decode(i)) for i in drawn.images], drawn.question))
    verdict = unless_contaminated(index, signature(drawn))
    assert (verdict.keep, verdict.reason) == (False, "contaminated")
    assert verdict.detail.startswith("eval-7: pictures ")


def test_with_the_picture_alone_geometry_excuses_nothing() -> None:
    plain = scene("maze", 5)
    assert plain.scene is not None
    moved = replace(plain, id="c", scene=replace(plain.scene, geometry="{}"))
    assert kept(plain, question=False).find(signature(moved)) is not None


def test_the_geometry_of_a_photograph_decides_nothing() -> None:
    photo = plain_problem(task="photos", images=(encode(coins()),))
    assert signature(photo).scene == 0


# The index ---------------------------------------------------------------------------------------


def flipped(word: int, rng: Random, count: int) -> int:
    for bit in rng.sample(range(64), count):
        word ^= 1 << bit
    return word


def crowd(count: int, rng: Random) -> list[Signature]:
    """Random signatures and their neighbours at 0 to 10 bits, of one to three pictures."""
    ones: list[Signature] = []
    for n in range(count):
        if ones and n % 2:
            last = rng.choice(ones)
            pictures = tuple(
                (flipped(structure, rng, rng.randint(0, 10)), flipped(colour, rng, 2))
                for structure, colour in last.pictures
            )
            aspect = last.aspect * rng.choice([1.0, 1.0, 1.0, 1.2, 1.3, 0.75])
            ones.append(replace(last, pictures=pictures, aspect=aspect))
        else:
            size = rng.randint(1, 3)
            pictures = tuple((rng.getrandbits(64), rng.getrandbits(64)) for _ in range(size))
            task, fact = rng.choice([("", 0), ("maze", rng.randint(1, 40))])
            aspect = rng.choice([1.0, 1.2, 1.5])
            ones.append(Signature(pictures, f"what is {n % 3}", aspect, task, fact))
    return ones


def is_near(a: Signature, b: Signature, tolerance: Tolerance, question: bool) -> bool:
    """The definition, without an index."""
    if len(a.pictures) != len(b.pictures):
        return False
    if a.task and a.task == b.task and (question or a.scene == b.scene):
        return a.scene == b.scene
    pairs = list(zip(a.pictures, b.pictures, strict=True))
    return (
        max(a.aspect, b.aspect) / min(a.aspect, b.aspect) <= near.ASPECT
        and all(bin(x[0] ^ y[0]).count("1") <= tolerance.structure for x, y in pairs)
        and all(bin(x[1] ^ y[1]).count("1") <= tolerance.colour for x, y in pairs)
        and (not question or alike(a.question, b.question) >= tolerance.question)
    )


@pytest.mark.parametrize("question", [True, False])
@pytest.mark.parametrize("structure", [0, 3, 4, 7, 9])
def test_the_index_finds_the_first_of_all_that_are_near_and_misses_none(
    structure: int, question: bool
) -> None:
    tolerance = Tolerance(structure, 8, 1.0)
    ones = crowd(400, Random(structure))
    index = Index(tolerance, question=question)
    hits = 0
    for n, one in enumerate(ones):
        first = next((k for k in range(n) if is_near(ones[k], one, tolerance, question)), None)
        found = index.find(one)
        assert (None if found is None else found.id) == (None if first is None else str(first))
        hits += found is not None
        index.add(str(n), one)
    assert 10 < hits < 390


def test_in_order_of_ids_the_smallest_stays() -> None:
    index = Index()
    one, other = (
        sign([coins()], "How many?"),
        sign([decode(scene("maze", 1).images[0])], "How many?"),
    )
    given = [("a", one), ("b", one), ("c", other), ("d", one), ("e", other)]
    verdicts = {id_: unless_near(index, id_, signed) for id_, signed in given}
    assert [id_ for id_, verdict in verdicts.items() if verdict.keep] == ["a", "c"]
    assert verdicts["d"].reason == "near_duplicate"
    assert verdicts["d"].detail.startswith("a: ")
    assert verdicts["e"].detail.startswith("c: ")
    assert len(index) == 2


def test_asking_about_contamination_adds_nothing() -> None:
    index = Index(WIDE)
    assert unless_contaminated(index, sign([coins()], "How many?")) == KEPT
    assert len(index) == 0


def test_a_problem_takes_tens_of_bytes_and_a_look_at_few_others() -> None:
    rng, index = Random(3), Index(WIDE)
    for n in range(20_000):
        index.add(str(n), Signature(((rng.getrandbits(64), rng.getrandbits(64)),), "what"))
    assert index.bytes / len(index) < 80
    looked = sum(len([*index._looked_at(rng.getrandbits(64))]) for _ in range(20))
    assert looked / 20 < 100


def test_a_problem_without_a_picture_has_no_signature() -> None:
    with pytest.raises(ValueError, match="without a picture"):
        sign([], "How many?")
