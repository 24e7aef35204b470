"""Labelled pairs of problems for `near.py`: which are one problem, and which are two."""

import json
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path
from random import Random

import cv2
import numpy as np

from pipeline import near
from pipeline.images import Pixels, decode, encode, read, resize
from pipeline.near import Signature
from pipeline.sources import SOURCES
from pipeline.tasks import TASKS, Wording
from pipeline.types import Box, Kind, Modality, Problem, Scene, Size

PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png")
SIDES = (112, 168, 224, 336)
Edit = Callable[[Pixels, Random], Pixels]
Distances = tuple[int, int]  # structure and colour, bits


# Problems ----------------------------------------------------------------------------------------


def made(maker: str, n: int, wording: Wording = "varied") -> Problem:
    rng = Random(f"near/{maker}/{n}")
    width, height = rng.choice(SIDES), rng.choice(SIDES)
    difficulty = round(rng.uniform(0, 0.8), 3)
    if maker == "windows":
        return window(rng)
    if maker == "photos":
        side = max(width, height, 168)
        source = SOURCES[maker]()(
            width=side, height=side, unit=28, difficulty=difficulty, wording=wording
        )
        return source.sample(rng, "evaluation")
    task = TASKS[maker]()(width=width, height=height, difficulty=difficulty, wording=wording)
    return task.sample(rng)


def window(rng: Random) -> Problem:
    """A part of a photograph, as a problem from anywhere."""
    name = rng.choice(PHOTOGRAPHS)
    pixels = photograph(name)
    height, width = pixels.shape[:2]
    share = rng.uniform(0.4, 0.8)
    down, across = round(height * share), round(width * share)
    top, left = rng.randrange(height - down), rng.randrange(width - across)
    cut = np.ascontiguousarray(pixels[top : top + down, left : left + across])
    image = encode(resize(cut, Size(280, max(28, round(280 * down / across)))))
    where = [left, top, left + across, top + down]
    facts = {"photograph": name, "window": where, "mirrored": [0, 0]}
    return Problem(
        id="",
        task="windows",
        modality=Modality.IMAGE,
        images=(image,),
        question="What is in the middle of the picture?",
        options=(),
        answer="1",
        kind=Kind.NUMBER,
        scene=Scene((), json.dumps(facts)),
    )


def photograph(name: str) -> Pixels:
    package = find_spec("skimage")
    assert package is not None
    assert package.submodule_search_locations
    return read(Path(package.submodule_search_locations[0]) / "data" / name)


# Pairs of pictures -------------------------------------------------------------------------------


def saved(quality: int) -> Edit:
    def edit(pixels: Pixels, rng: Random) -> Pixels:
        _, data = cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        return read(data.tobytes())

    return edit


def scaled(factor: float) -> Edit:
    def edit(pixels: Pixels, rng: Random) -> Pixels:
        height, width = pixels.shape[:2]
        return resize(pixels, Size(round(width * factor), round(height * factor)))

    return edit


def toned(contrast: float, brightness: float) -> Edit:
    def edit(pixels: Pixels, rng: Random) -> Pixels:
        levels = (pixels.astype(np.float32) - 128) * contrast + 128 + brightness
        return np.asarray(np.clip(np.rint(levels), 0, 255), np.uint8)

    return edit


def cut(share: float) -> Edit:
    """Up to a share of the sides, on each of the four."""

    def edit(pixels: Pixels, rng: Random) -> Pixels:
        height, width = pixels.shape[:2]
        top, bottom, left, right = (rng.uniform(0, share) for _ in range(4))
        rows = slice(round(height * top), height - round(height * bottom))
        return np.ascontiguousarray(
            pixels[rows, round(width * left) : width - round(width * right)]
        )

    return edit


ALIKE: dict[str, Edit] = {
    "JPEG 90": saved(90),
    "JPEG 70": saved(70),
    "× 0.8": scaled(0.8),
    "× 0.95": scaled(0.95),
    "× 1.2": scaled(1.2),
    "brighter": toned(1.15, 12),
    "darker": toned(0.85, -12),
    "cut 2 %": cut(0.02),
    "cut 4 %": cut(0.04),
}
CHANGED = ("moved", "added", "removed", "recoloured", "line")


def changed(how: str, pictures: list[Pixels], problem: Problem, rng: Random) -> list[Pixels] | None:
    """The first picture with one thing changed, or None where there is no such thing."""
    first = pictures[0].copy()
    height, width = first.shape[:2]
    if how == "line":
        start = (rng.randrange(width), rng.randrange(height))
        step = max(12, min(height, width) // 8) * (1 if start[0] < width / 2 else -1)
        cv2.line(first, start, (start[0] + step, start[1]), (40, 40, 40), 2)
        return [first, *pictures[1:]]
    scene = problem.scene
    boxes = [o for o in scene.objects if isinstance(o, Box) and o.k == 1] if scene else []
    small = [box for box in boxes if box.p[1].x - box.p[0].x < width * 0.5]
    if not small:
        return None
    (left, top), (right, bottom) = rng.choice(small).p
    there = first[top:bottom, left:right]
    thing, (down, across) = there.copy(), there.shape[:2]
    if how == "recoloured":
        there[:] = thing[:, :, ::-1]
        seen = np.abs(thing.astype(int) - there).max(initial=0) > 60
        return [first, *pictures[1:]] if seen else None
    if how in ("moved", "removed"):
        border = np.concatenate([first[0], first[-1], first[:, 0], first[:, -1]])
        there[:] = np.median(border, axis=0)
    if how in ("moved", "added"):
        y, x = rng.randrange(height - down + 1), rng.randrange(width - across + 1)
        if abs(y - top) < down / 2 and abs(x - left) < across / 2:
            return None  # hardly moved
        first[y : y + down, x : x + across] = thing
    return [first, *pictures[1:]]


def apart(first: Signature, second: Signature) -> Distances:
    pairs = list(zip(first.pictures, second.pictures, strict=True))
    return (
        max((a[0] ^ b[0]).bit_count() for a, b in pairs),
        max((a[1] ^ b[1]).bit_count() for a, b in pairs),
    )


def picture_pairs(makers: list[str], numbers: range) -> Iterator[tuple[str, Distances]]:
    """How far apart the pictures of labelled pairs are."""
    for maker in makers:
        others: list[tuple[Signature, Problem]] = []
        for n in numbers:
            problem = made(maker, n)
            pictures = [decode(image) for image in problem.images]
            here = near.sign(pictures, "")
            for name, edit in ALIKE.items():
                rng = Random(f"{name}/{n}")
                yield name, apart(here, near.sign([edit(p, rng) for p in pictures], ""))
            for how in CHANGED:
                other = changed(how, pictures, problem, Random(f"{how}/{n}"))
                if other is not None:
                    yield how, apart(here, near.sign(other, ""))
            for there, other_problem in others[-5:]:
                if len(there.pictures) == len(here.pictures) and differ(problem, other_problem):
                    yield "other scene", apart(here, there)
            others.append((here, problem))


def differ(first: Problem, second: Problem) -> bool:
    """Whether two scenes are plainly different: windows of one photograph share less than 0.7."""
    if first.scene is None or second.scene is None:
        return True
    facts, others = json.loads(first.scene.geometry), json.loads(second.scene.geometry)
    if "window" not in facts or facts["photograph"] != others["photograph"]:
        return first.scene.geometry != second.scene.geometry
    (a, b, c, d), (e, f, g, h) = facts["window"], others["window"]
    shared = max(0, min(c, g) - max(a, e)) * max(0, min(d, h) - max(b, f))
    union = (c - a) * (d - b) + (g - e) * (h - f) - shared
    return bool(shared / union < 0.7 or facts["mirrored"] != others["mirrored"])


# Pairs of questions ------------------------------------------------------------------------------

ADDED = ("{}", "{} Answer with one letter.", "Please look at the picture. {}")


def question_pairs(makers: list[str], numbers: range) -> Iterator[tuple[str, float]]:
    """How alike the questions of labelled pairs are. Of two problems of a task in the first wording
    every difference is one of facts."""
    for maker in makers:
        plain = [made(maker, n, "plain") for n in numbers]
        for problem, n in zip(plain, numbers, strict=True):
            said = near.words(problem.question)
            for added in ADDED:
                shouted = added.format(problem.question.upper().replace(",", " ,"))
                yield "something added", near.alike(said, near.words(shouted))
            other = made(maker, n)
            same = problem.scene and other.scene and problem.scene.geometry == other.scene.geometry
            if same and other.question != problem.question:
                yield "other wording", near.alike(said, near.words(other.question))
        texts = dict.fromkeys(near.words(problem.question) for problem in plain)
        for first, second in combinations(texts, 2):
            yield "other facts", near.alike(first, second)
