"""Coins: how many there are, which is the largest or smallest, how much wider one is.

The photograph is "Greek coins from Pompeii" (Brooklyn Museum Collection, no known copyright
restrictions), 384 × 303 px, as scikit-image ships it; ``coins.json`` holds a box for each of its
24 coins. They lie in four rows of six, and each split owns some: no window shows a part of a coin,
or any of a coin of another split.
"""

import json
import math
from dataclasses import dataclass
from functools import cache
from itertools import combinations, permutations
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from pipeline import geometry
from pipeline.geometry import Corners
from pipeline.images import Pixels, encode, read, size_of
from pipeline.sources.crops import Crop, badge, fitted, some_tone, wheel_file
from pipeline.tasks.phrasing import LETTERS, SMALL, lettered, listed, near_numbers, say
from pipeline.types import Box, Kind, Line, Modality, Point, Problem, Scene, Size, Step

if TYPE_CHECKING:
    from pipeline.sources.photos import Photos

REGIONS: dict[str, Corners] = {  # left, top and right, bottom, px; no two overlap
    "skills": (Point(0, 0), Point(127, 151)),  # 2 × 2 coins
    "cold": (Point(127, 0), Point(243, 151)),  # 2 × 2
    "reflective": (Point(0, 151), Point(243, 225)),  # a row of 4
    "rl": (Point(0, 225), Point(384, 303)),  # a row of 6
    "evaluation": (Point(243, 0), Point(384, 225)),  # two columns of 3
}
MARGIN = 1.08  # by which the largest differs from the next: annotated boxes are good to 4 %
ROUNDED = 0.01  # of a ratio; by how much whole px may change it
ROOM = 24  # px of background at most between a window's border and its coins
LEAST = 22  # px; the smallest coin that is shown

COUNTS = (
    "How many coins are in the picture?",
    "Count the coins.",
    "What is the number of coins shown here?",
    "Find every coin in the photograph. How many are there?",
)
COUNT_PLANS = (
    "I will put a box around every coin and then count the boxes.",
    "Let me mark each coin first, so that none is missed or counted twice.",
    "I box the coins one by one.",
)
COUNT_CLOSINGS = (
    "The boxes hold all coins: there {are} {count}.",
    "Every coin carries a box now. That makes {count}.",
    "Counting the boxes gives {count}.",
)
EXTREMES = (
    "Which of the coins marked {letters} is the {most}?",
    "Some coins carry letters. Which of the coins {letters} is the {most} one?",
    "Compare the coins {letters}: which one is the {most}?",
)
EXTREME_PLANS = (
    "I box the marked coins, so that their sizes can be compared.",
    "A tight box around each of the coins {letters} will show its size.",
    "Boxes first: how large a coin is can be read from its box.",
)
EXTREME_CLOSINGS = (
    "The boxes measure about {sizes} px. Coin {right} is the {most}.",
    "Going by the boxes (about {sizes} px), the {most} one is coin {right}.",
)
RATIOS = (
    "How many times as wide is coin {wide} as coin {narrow}? Answer with two decimals.",
    "Divide the width of coin {wide} by the width of coin {narrow}. Give two decimals.",
    "The width of coin {wide} is how many times that of coin {narrow}? Use two decimals.",
)
RATIO_PLANS = (
    "I box coins {wide} and {narrow} to find where each begins and ends.",
    "First a tight box around each of the two coins.",
)
RATIO_LINES = (
    "Now a line across each coin, from its left to its right edge.",
    "The boxes fit. I draw the width of each coin as a line.",
)
RATIO_CLOSINGS = (
    "Coin {wide} is about {more} px wide and coin {narrow} about {less} px: {more} / {less} = {ratio}.",
    "The lines of coins {wide} and {narrow} are about {more} px and {less} px long: {ratio}.",
)


@cache
def photograph() -> tuple[Pixels, tuple[Corners, ...]]:
    """The picture and the box of each coin, row by row."""
    facts = json.loads(Path(__file__).with_name("coins.json").read_text())
    pixels = read(wheel_file(facts["file"], facts["sha256"]))
    if list(size_of(pixels)) != facts["size"]:
        raise ValueError(f"coins.json is of a picture of {facts['size']}, not {size_of(pixels)}")
    return pixels, tuple((Point(*b[:2]), Point(*b[2:])) for b in facts["boxes"])


def hull(boxes: list[Corners]) -> Corners:
    """The smallest box around boxes."""
    return (
        Point(min(b[0].x for b in boxes), min(b[0].y for b in boxes)),
        Point(max(b[1].x for b in boxes), max(b[1].y for b in boxes)),
    )


@cache
def blocks(split: str) -> tuple[tuple[int, ...], ...]:
    """The groups of a split's coins that some window shows whole, without a part of another."""
    _, boxes = photograph()
    region = REGIONS[split]
    own = [n for n, box in enumerate(boxes) if geometry.iou(box, region) > 0]
    groups = [group for size in range(1, len(own) + 1) for group in combinations(own, size)]
    return tuple(group for group in groups if _shows_only(hull([boxes[n] for n in group]), group))


def _shows_only(window: Corners, coins: tuple[int, ...]) -> bool:
    _, boxes = photograph()
    return all(n in coins or geometry.iou(box, window) == 0 for n, box in enumerate(boxes))


def _width(box: Corners) -> float:
    return box[1].x - box[0].x


def _diameter(box: Corners) -> float:
    """The mean of width and height."""
    return (box[1].x - box[0].x + box[1].y - box[0].y) / 2


@dataclass(frozen=True, slots=True)
class Case:
    """Coins to compare, and a group in view that holds them."""

    margin: float  # ratio of the odd one's size to the next, or the other way round; above 1
    block: tuple[int, ...]
    marked: tuple[int, ...]  # the odd one first


@cache
def cases(split: str, count: int, most: str) -> tuple[Case, ...]:
    """All ways to ask for the ``most`` (widest, largest or smallest) of ``count`` coins, clearest
    first."""
    _, boxes = photograph()
    measure = _width if most == "widest" else _diameter
    found = []
    for block in blocks(split):
        for odd, *others in permutations(block, count):
            if others != sorted(others):  # an order of its own is no case of its own
                continue
            ratios = [measure(boxes[odd]) / measure(boxes[other]) for other in others]
            margin = 1 / max(ratios) if most == "smallest" else min(ratios)
            if margin >= MARGIN:
                found.append(Case(margin, block, (odd, *others)))
    return tuple(sorted(found, key=lambda case: (-case.margin, case.block, case.marked)))


def problem(rng: Random, photos: "Photos", split: str) -> Problem:
    """One problem on a window of the split's region."""
    for attempt in range(400):  # not every group fits every canvas, nor every question
        if attempt % 20 == 0:
            ask = rng.choice((_count, _extreme, _ratio))
        made = ask(rng, photos, split)
        if made is not None:
            return made
    raise ValueError(f"no coins of {split} fit on {photos.width}×{photos.height} px")


def _crop(rng: Random, photos: "Photos", split: str, block: tuple[int, ...]) -> Crop | None:
    """A window that shows these coins and no other; None if none was found that fits."""
    _, boxes = photograph()
    coins = [boxes[n] for n in block]
    inner, outer = hull(coins), REGIONS[split]
    mirrored = rng.random() < 0.5, rng.random() < 0.5
    tone = some_tone(rng)
    for attempt in range(20):
        room = max(3, round(ROOM * 0.9**attempt))  # a narrower window cuts fewer neighbours
        left, top, right, bottom = (rng.randint(2, room) for _ in range(4))
        window = (
            Point(max(outer[0].x, inner[0].x - left), max(outer[0].y, inner[0].y - top)),
            Point(min(outer[1].x, inner[1].x + right), min(outer[1].y, inner[1].y + bottom)),
        )
        size = fitted(window, Size(photos.width, photos.height), photos.unit)
        if size is None or not _shows_only(window, block):
            continue
        crop = Crop(window, size, mirrored, tone)
        shown = [crop.box(coin) for coin in coins]
        if all(min(b[1].x - b[0].x, b[1].y - b[0].y) >= LEAST for b in shown):
            return crop
    return None


def _count(rng: Random, photos: "Photos", split: str) -> Problem | None:
    sizes = {len(block) for block in blocks(split)}
    counts = sorted(size for size in sizes if size <= _crowd(photos))
    count = rng.choice(counts)  # first, so that every answer is equally likely
    block = rng.choice([block for block in blocks(split) if len(block) == count])
    crop = _crop(rng, photos, split, block)
    if crop is None:
        return None
    coins = _objects(crop, block, {})
    kind = rng.choice(list(Kind))
    options: tuple[str, ...] = ()
    answer = str(count)
    if kind is Kind.CHOICE:
        options, answer = lettered(rng, str(count), near_numbers(rng, count, 3, low=0))
    facts = {"count": SMALL[count], "are": "is" if count == 1 else "are"}
    return Problem(
        id="",
        task="photos",
        modality=Modality.IMAGE,
        images=(encode(crop.cut(photograph()[0])),),
        question=say(rng, photos.wording, COUNTS),
        options=options,
        answer=answer,
        kind=kind,
        difficulty=photos.difficulty,
        gold=(Step(say(rng, photos.wording, COUNT_PLANS), coins),),
        conclusion=say(rng, photos.wording, COUNT_CLOSINGS, **facts),
        scene=Scene(objects=coins, geometry=_geometry(crop, {})),
    )


def _crowd(photos: "Photos") -> int:
    """How many coins are in view at most."""
    return round(2 + 4 * photos.difficulty)


def _case(rng: Random, photos: "Photos", split: str, count: int, most: str) -> Case | None:
    """One of the cases; the easier, the clearer, and the fewer coins in view."""
    crowd = max(4, _crowd(photos))
    known = [case for case in cases(split, count, most) if len(case.block) <= crowd]
    clear = math.ceil(len(known) * (0.3 + 0.7 * photos.difficulty))
    return rng.choice(known[:clear]) if known else None


def _extreme(rng: Random, photos: "Photos", split: str) -> Problem | None:
    most = rng.choice(("largest", "smallest"))
    count = rng.randint(3, 3 + round(photos.difficulty))
    right = rng.randrange(count)  # first, so that every letter is equally likely
    case = _case(rng, photos, split, count, most)
    crop = _crop(rng, photos, split, case.block) if case else None
    if case is None or crop is None:
        return None
    others = rng.sample(case.marked[1:], count - 1)
    order = [*others[:right], case.marked[0], *others[right:]]
    marks = dict(zip(LETTERS, order, strict=False))
    if not _clear(crop, case, most):
        return None
    coins = _objects(crop, case.block, marks)
    marked = tuple(coin for coin in coins if coin.label != "coin")
    sides = [(b.p[1].x - b.p[0].x, b.p[1].y - b.p[0].y) for b in marked]
    facts = {
        "letters": listed(list(marks)),
        "most": most,
        "right": LETTERS[right],
        "sizes": listed([f"{m}: {w}×{h}" for m, (w, h) in zip(marks, sides, strict=True)]),
    }
    return Problem(
        id="",
        task="photos",
        modality=Modality.IMAGE,
        images=(encode(_marked(crop, marks)),),
        question=say(rng, photos.wording, EXTREMES, **facts),
        options=tuple(f"coin {letter}" for letter in marks),
        answer=LETTERS[right],
        kind=Kind.CHOICE,
        difficulty=photos.difficulty,
        gold=(Step(say(rng, photos.wording, EXTREME_PLANS, **facts), marked),),
        conclusion=say(rng, photos.wording, EXTREME_CLOSINGS, **facts),
        scene=Scene(objects=coins, geometry=_geometry(crop, marks)),
    )


def _clear(crop: Crop, case: Case, most: str) -> bool:
    """Whether the odd one stands out as shown, too: a crop may change the aspect a little."""
    _, boxes = photograph()
    across, down = crop.scale
    odd, *others = (
        (b[1].x - b[0].x) * across + (b[1].y - b[0].y) * down
        for b in (boxes[n] for n in case.marked)
    )
    return min(others) / odd >= MARGIN if most == "smallest" else odd / max(others) >= MARGIN


def _ratio(rng: Random, photos: "Photos", split: str) -> Problem | None:
    case = _case(rng, photos, split, 2, "widest")
    crop = _crop(rng, photos, split, case.block) if case else None
    if case is None or crop is None:
        return None
    wide, narrow = rng.sample("AB", 2)
    marks = dict(sorted(zip((wide, narrow), case.marked, strict=True)))
    coins = _objects(crop, case.block, marks)
    boxes = tuple(coin for coin in coins if coin.label != "coin")
    lines = tuple(_across(box) for box in boxes)
    less, more = sorted(line.p[1].x - line.p[0].x for line in lines)
    if abs(more / less / case.margin - 1) > ROUNDED:
        return None
    ratio = f"{more / less:.2f}"
    facts = {"wide": wide, "narrow": narrow, "more": more, "less": less, "ratio": ratio}
    steps = (
        Step(say(rng, photos.wording, RATIO_PLANS, **facts), boxes),
        Step(say(rng, photos.wording, RATIO_LINES, **facts), lines),
    )
    return Problem(
        id="",
        task="photos",
        modality=Modality.IMAGE,
        images=(encode(_marked(crop, marks)),),
        question=say(rng, photos.wording, RATIOS, **facts),
        options=(),
        answer=ratio,
        kind=Kind.NUMBER,
        difficulty=photos.difficulty,
        gold=steps,
        conclusion=say(rng, photos.wording, RATIO_CLOSINGS, **facts),
        scene=Scene(objects=(*coins, *lines), geometry=_geometry(crop, marks)),
    )


def _across(box: Box) -> Line:
    """The width of a coin, at half its height."""
    (left, top), (right, bottom) = box.p
    y = (top + bottom) // 2
    return Line(box.k, (Point(left, y), Point(right, y)), box.label.replace("coin", "width"))


def _objects(crop: Crop, block: tuple[int, ...], marks: dict[str, int]) -> tuple[Box, ...]:
    """Every coin in view: the marked ones by letter, then the others by place."""
    _, boxes = photograph()
    marked = [Box(1, crop.box(boxes[n]), f"coin {letter}") for letter, n in marks.items()]
    rest = [Box(1, crop.box(boxes[n]), "coin") for n in block if n not in marks.values()]
    return (*marked, *sorted(rest, key=lambda coin: coin.p))


def _marked(crop: Crop, marks: dict[str, int]) -> Pixels:
    """The picture shown, with a letter in the middle of each marked coin."""
    pixels = crop.cut(photograph()[0])
    boxes = [crop.box(photograph()[1][n]) for n in marks.values()]
    height = max(9, min(16, round(min(_diameter(box) for box in boxes) / 4)))
    for letter, ((left, top), (right, bottom)) in zip(marks, boxes, strict=True):
        badge(pixels, letter, (left + right) // 2, (top + bottom) // 2, height)
    return pixels


def _geometry(crop: Crop, marks: dict[str, int]) -> str:
    facts = {"photograph": "coins", **crop.facts(), "marks": marks}
    return json.dumps(facts, separators=(",", ":"))
