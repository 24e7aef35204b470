"""Looks at several pictures at once: frames of a video, views of a scene. See ``glance.py``."""

import re
from collections.abc import Sequence
from itertools import pairwise
from math import dist

import cv2
import numpy as np

from benchmarks.sight import (
    MIDDLE,
    Spot,
    best_option,
    blobs,
    coloured,
    largest,
    like,
    named,
    nearest_option,
    tags,
)
from pipeline.images import Pixels
from pipeline.tasks.shapes import COLOURS

DASHES = (70, 70, 70)
RANKS = ("first", "second", "third")  # else the last
STOPS = (0, 5, 10, 15)  # frames that are looked at


def motion(pictures: Sequence[Pixels], question: str, options: Sequence[str]) -> str:
    """What the first and the last frame tell: where colours have gone, how many changed sides."""
    first, last = pictures[0], pictures[-1]
    names = named(question) or [option for option in options if named(option)]
    if not names:
        ends = [_sides(picture) for picture in (first, last)]
        return nearest_option(abs(ends[0] - ends[1]), options)
    gone = {name: dist(largest(first, name), largest(last, name)) for name in names}
    if options and options[0] in gone:
        return best_option(options, lambda name: gone[name])
    less, more = sorted(max(1.0, gone[name]) for name in names[:2])
    return nearest_option(round(more / less, 1), options)


def _sides(picture: Pixels) -> int:
    """How many patches lie on the first side of the dashed line."""
    dashes = np.argwhere(like(picture, DASHES, 25))[:, ::-1].astype(np.float32)
    vx, vy, x, y = (float(part[0]) for part in cv2.fitLine(dashes, cv2.DIST_L2, 0, 0.01, 0.01))
    if vx + vy < 0:
        vx, vy = -vx, -vy
    return sum(vx * (b.y - y) - vy * (b.x - x) > 0 for b in blobs(coloured(picture), 25))


def views(pictures: Sequence[Pixels], question: str, options: Sequence[str]) -> str:
    """One picture is enough: low is near, left stays left, and the same colour is the same thing."""
    asked = [int(n) for n in re.findall(r"[Pp]icture (\d)", question)] or [1]
    if re.search("different (objects|ones)", question):
        spots = [tags(picture, "X").get("X", MIDDLE) for picture in pictures]
        tones = [_paint(p, spot) for p, spot in zip(pictures, spots, strict=True)]
        return nearest_option(len(set(tones)), options)
    if "nearest to" in question or "farthest from" in question:
        tagged = max((tags(picture, "ABCD") for picture in pictures), key=len)
        sign = -1 if "farthest from" in question else 1
        return max("ABCD", key=lambda one: sign * tagged.get(one, MIDDLE)[1])
    if "object 2" in question or "Objects 1 and 2" in question:
        one, two = (tags(pictures[0], "12").get(tag, MIDDLE) for tag in "12")
        holds = one[0] < two[0] if "left of" in question else one[1] > two[1]
        return nearest_option(len(pictures) if holds else 0, options)
    if options and options[0] == "A":
        tone = _paint(pictures[0], tags(pictures[0], "1").get("1", MIDDLE))
        there = pictures[max(asked) - 1]
        tagged = tags(there, "ABCD")
        same = [tag for tag, spot in sorted(tagged.items()) if _paint(there, spot) == tone]
        return (same or ["A"])[0]
    shown = max(pictures, key=lambda picture: len(tags(picture, "1")))
    own = tags(shown, "1").get("1", MIDDLE)
    return nearest_option(sum(b.y > own[1] for b in blobs(coloured(shown), 60)), options)


def _paint(picture: Pixels, spot: Spot) -> str:
    """The name of the colour that most of what is around a tag has."""
    x, y = round(spot[0]), round(spot[1])
    near = picture[max(0, y - 22) : y + 22, max(0, x - 22) : x + 22].reshape(-1, 3).astype(int)
    near = near[np.ptp(near, axis=1) > 60]
    hues = {name: np.array(tone) / max(tone) for name, tone in COLOURS.items()}
    found = [near / near.max(axis=1, keepdims=True)] if len(near) else [np.zeros((1, 3))]
    away = {name: np.abs(found[0] - hue).sum(axis=1) for name, hue in hues.items()}
    nearest = np.argmin(np.stack(list(away.values())), axis=0)
    return list(away)[int(np.bincount(nearest).argmax())]


def appearance(pictures: Sequence[Pixels], question: str, options: Sequence[str]) -> str:
    """Four of the frames: in which of them there is something of a colour, and where."""
    names = named(question) or [option for option in options if named(option)] or [*COLOURS]
    seen = {name: _seen(pictures, name.split()[0]) for name in (*names, *COLOURS)}
    first = {name: min(frames, default=15) for name, frames in seen.items()}
    last = {name: max(frames, default=0) for name, frames in seen.items()}
    own = names[0]
    if options and options[0] in names:
        by = last if re.search("leave|left|gone|disappear", question) else first
        order = sorted(names, key=lambda name: by[name])
        rank = next((n for n, word in enumerate(RANKS) if word in question), -1)
        return best_option(options, lambda name: name == order[rank])
    if options and not options[0].isdigit():
        x, y = largest(pictures[last[own]], own)
        sides = {"left": -x, "right": x - 224, "top": -y, "bottom": y - 224}
        return best_option(options, lambda where: sum(sides.get(w, -999) for w in where.split()))
    if "frame" in question.lower() and not re.search("How many|Count", question):
        return str((last if re.search(r"\blast|gone", question) else first)[own] + 1)
    if not named(question):
        return nearest_option(sum(_returns(seen[colour]) for colour in COLOURS), options)
    earlier = [colour for colour in COLOURS if seen[colour] and first[colour] < first[own]]
    return nearest_option(len(earlier), options)


def _seen(pictures: Sequence[Pixels], colour: str) -> list[int]:
    """The frames, of those looked at, that show a colour."""
    return [n for n in STOPS if blobs(like(pictures[n], COLOURS[colour]), 25)]


def _returns(frames: Sequence[int]) -> bool:
    """Whether there is a frame between, of those looked at, that does not show it."""
    return any(b - a > 5 for a, b in pairwise(frames))


def turn(pictures: Sequence[Pixels], question: str, options: Sequence[str]) -> str:
    """As one picture shows it: left is left, and a turn is how far the largest thing moves aside."""
    asked = re.search(r"pictures? (\d)\D+(\d)\D*$", question.replace("to the nearest 10", ""))
    if asked and ("degrees" in question or "°" in "".join(options)):
        degrees, side = _turned(*(pictures[int(n) - 1] for n in asked.groups()))
        if not options:
            return str(degrees)
        aside = {said: 99 * (side in said) for said in options}
        return best_option(
            options, lambda said: aside[said] - abs(int(said.split("°")[0]) - degrees)
        )
    tones = re.findall(rf"\b({'|'.join(COLOURS)})\b", question)
    as_in = re.search(r"picture (\d)", question)
    picture = pictures[int(as_in[1]) - 1 if as_in else 0]
    ahead = MIDDLE if as_in else largest(picture, tones[1 if len(tones) > 1 else 0])
    side = "left" if "left" in question else "right"
    sign = 1 if side == "right" else -1
    if options and options[0].split()[0] in COLOURS:
        return best_option(options, lambda name: sign * largest(picture, name)[0])
    if options and not options[0].isdigit():
        side = "right" if largest(picture, tones[-1])[0] > ahead[0] else "left"
        return best_option(options, lambda where: side in where)
    there = blobs(coloured(picture), 40)
    return nearest_option(sum(sign * (blob.x - ahead[0]) > 0 for blob in there), options)


def _turned(one: Pixels, two: Pixels) -> tuple[int, str]:
    """By how many degrees, to the nearest ten, the largest thing of both pictures moves, and where
    the camera turned, then."""
    sizes = {
        colour: min(int(like(one, tone).sum()), int(like(two, tone).sum()))
        for colour, tone in COLOURS.items()
    }
    shared = max(sizes, key=lambda colour: sizes[colour])
    moved = largest(one, shared)[0] - largest(two, shared)[0]
    return max(10, 10 * round(8 * abs(moved) / one.shape[1])), "right" if moved > 0 else "left"
