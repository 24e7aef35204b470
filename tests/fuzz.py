"""Hostile input by the million: `python -m tests.fuzz --turns 1000000 --pictures 20000 --videos 300`.

Every turn is a valid one, broken; every picture and video a real file, broken. What may come of it
is a typed result, soon, in memory that does not grow. Prints what it saw; exits with 1 if anything
else was.
"""

import argparse
import gc
import io
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from random import Random
from typing import TypeVar

import cv2
import numpy as np
from PIL import Image as Pillow

from pipeline import canvas, video
from pipeline.grammar import parse, write
from pipeline.images import PictureError, encode, read
from pipeline.protocol import FAMILIES, Family, to_wire
from pipeline.rollout import Limits, advance, read_turn
from pipeline.types import Answer, Box, Fault, Line, Point, Size, State, Step, Trajectory
from tests.conftest import box, line, plain_problem, run

SLOW = {"turns": 0.05, "pictures": 2.0, "videos": 60.0}  # s of processor time, each
GROWTH = 16 * 2**20  # bytes of resident memory, from a tenth of the way to the end
SETTLED = {
    "turns": 10_000,
    "pictures": 500,
    "videos": 30,
}  # cases until caches and imports are warm
SPOKEN = ("qwen2.5-vl", "qwen3-vl")  # a family that speaks pixels, and one that speaks thousandths

Case = TypeVar("Case", str, bytes)

PIECES = (
    "<think>", "</think>", "<answer>", "</answer>", "```", "```json\n", "Action:", "Action: Answer",
    "Action: Object Mapper", "Path Tracer", "[", "]", "{", "}", '"', "\\", ",", ":", "null", "true",
    "NaN", "-Infinity", "1e400", "-1e-400", "9" * 5000, "-0", "0.5", "1" * 40, '"index"', '"label"',
    '"bbox_2d"', '"start_point_2d"', '"end_point_2d"', '"index": 0', '"index": -1', "\\ud800",
    "\ud800", "\0", "\r\n", "\u2028", "İ", "ß", "\U0001f600", "​", "%s", "{0}", "__import__",
)  # fmt: skip


# Breaking ----------------------------------------------------------------------------------------


def broken(whole: Case, others: Sequence[Case], pieces: Sequence[Case], rng: Random) -> Case:
    """A case with one to six things done to it."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        at = rng.randrange(len(whole) + 1)
        end = min(len(whole), at + rng.choice((1, 1, 2, 8, 40, 400)))
        what, piece = rng.randrange(8), rng.choice(pieces)
        if what == 0:
            whole = whole[:at] + whole[end:]
        elif what == 1:
            whole = whole[:at] + piece + whole[at:]
        elif what in (2, 3):
            whole = whole[:at] + piece[: end - at] + whole[end:]
        elif what == 4:
            whole = whole[:at] + whole[at:end] * rng.choice((2, 3, 50)) + whole[end:]
        elif what == 5:
            other = rng.choice(others)
            whole = whole[:at] + other[rng.randrange(len(other) + 1) :]
        elif what == 6:
            whole = whole[:at]
        elif rng.random() < 0.02:  # rare: as long as is read at all, and a little longer
            whole = whole[:at] + piece * rng.randrange(1, 70_000 // len(piece) + 2) + whole[at:]
    return whole


# Turns -------------------------------------------------------------------------------------------


@cache
def turns(family: Family) -> tuple[str, ...]:
    """Valid turns as the family writes them, of every kind."""
    rng, made = Random(0), []
    for n in range(120):
        ops = tuple(_op(rng) for _ in range(rng.choice((1, 1, 2, 5))))
        thought = "I look at the picture. " * rng.choice((1, 3, 20))
        wired = tuple(to_wire(op, Size(224, 224), family) for op in ops)
        answer = Answer(thought.strip(), rng.choice(("A", "12", "cat", "3 meters")))
        made.append(write(answer if n % 4 == 0 else Step(thought.strip(), wired)))
    return tuple(made)


def _op(rng: Random) -> Box | Line:
    if rng.random() < 0.1:
        return box(20, 20, 80, 80)  # what `states` have drawn already
    x, y, k = rng.randrange(200), rng.randrange(200), rng.choice((1, 1, 2, 3))
    label = rng.choice(("cat", "dog", "the way out", "Tür ✓"))
    across, down = rng.randrange(1, 24), rng.randrange(1, 24)
    return rng.choice((Box, Line))(k, (Point(x, y), Point(x + across, y + down)), label)


@cache
def states() -> tuple[State, ...]:
    """Before the first turn, after one, and after two."""
    problem = plain_problem(images=(encode(np.full((224, 224, 3), 200, np.uint8)),) * 2)
    said = [Step("One.", (box(20, 20, 80, 80),)), Step("Two.", (line(3, 3, 90, 90, k=3),))]
    after = [run(problem, said[:n]) for n in (1, 2)]
    assert all(isinstance(state, State) for state in after)
    return canvas.opened(problem), *(state for state in after if isinstance(state, State))


def turn_case(rng: Random) -> tuple[str, str]:
    """A family's name, and a turn of it, broken."""
    name = rng.choice(SPOKEN)
    whole = turns(FAMILIES[name])
    return name, broken(rng.choice(whole), whole, PIECES, rng)


def turn_result(case: tuple[str, str]) -> str:
    """What comes of a turn, by every way that it goes; anything but a typed result raises."""
    family, text = FAMILIES[case[0]], case[1]
    parsed = parse(text)
    assert isinstance(parsed, Step | Answer | Fault), type(parsed)
    state = states()[len(text) % len(states())]
    turn = read_turn(state, text, family)
    assert isinstance(turn.parsed, type(parsed)), "read_turn and parse differ"
    turn.text.encode()
    ends: list[str] = []
    for tell in (False, True):
        after = advance(state, turn, Limits(tell_faults=tell), family)
        assert isinstance(after, State | Trajectory), type(after)
        assert after.turns[-1].text == turn.text
        ends.append("goes on" if isinstance(after, State) else str(after.stop))
    return f"{type(parsed).__name__} → {ends[0]}"


# Pictures and videos -----------------------------------------------------------------------------


@cache
def pictures() -> tuple[bytes, ...]:
    """A photograph in every format and kind that is read, with a colour profile and EXIF."""
    with Pillow.open(Path(str(resources.files("skimage"))) / "data" / "rocket.jpg") as shipped:
        profile = shipped.info["icc_profile"]
        photo = shipped.convert("RGB").crop((250, 100, 314, 148))
    exif = Pillow.Exif()
    exif[0x112], exif[0x11A], exif[0x10E] = 6, 72.0, "a rocket"
    known = {"exif": exif, "icc_profile": profile}
    deep = Pillow.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257)
    more = {"save_all": True, "append_images": [photo.rotate(180)]}
    wanted = [
        (photo, "PNG", known), (photo, "JPEG", known), (photo, "WEBP", known),
        (photo, "TIFF", {"compression": "tiff_lzw", **known}), (photo, "BMP", {}),
        (photo, "JPEG", {"progressive": True, "quality": 60}), (photo, "GIF", more),
        (photo, "WEBP", {"lossless": True}), (photo, "WEBP", more), (photo, "PNG", more),
        (photo, "TIFF", {}), (photo, "TIFF", {"compression": "jpeg"}),
        (photo, "TIFF", {"compression": "tiff_deflate", **more}), (deep, "PNG", {}),
        (deep, "TIFF", {}), (photo.convert("CMYK"), "JPEG", {}), (photo.convert("CMYK"), "TIFF", {}),
        (photo.convert("P"), "PNG", {"transparency": 3}), (photo.convert("1"), "TIFF", {}),
        (photo.convert("1"), "TIFF", {"compression": "group4"}), (photo.convert("LA"), "PNG", {}),
        (photo.convert("RGBA"), "WEBP", {}), (photo.convert("P"), "BMP", {}),
        (photo.convert("L"), "TIFF", {"compression": "packbits"}),
    ]  # fmt: skip
    made = []
    for picture, kind, options in wanted:
        stream = io.BytesIO()
        picture.save(stream, kind, **options)
        made.append(stream.getvalue())
    return tuple(made)


@cache
def videos() -> tuple[bytes, ...]:
    """Short videos in every container that is read."""
    made = []
    with tempfile.TemporaryDirectory() as folder:
        for name, codec in (("a.mp4", "mp4v"), ("a.mov", "MJPG"), ("a.avi", "XVID"),
                            ("b.avi", "MJPG"), ("a.webm", "VP80"), ("b.webm", "VP90"),
                            ("a.mkv", "mp4v")):  # fmt: skip
            place = Path(folder) / name
            writer = cv2.VideoWriter(str(place), cv2.VideoWriter_fourcc(*codec), 10, (64, 48))
            for n in range(20):
                writer.write(np.full((48, 64, 3), 12 * n, np.uint8))
            writer.release()
            made.append(place.read_bytes())
    return tuple(made)


BYTES = (b"\0", b"\xff", b"\x7f", b"\x80", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xd9", b"\x01",
         b"IDAT", b"\x7f\xff\xff\xff", b"\x00\x2c", b"ICC_PROFILE\0", b"Exif\0\0")  # fmt: skip


def file_case(whole: Sequence[bytes], rng: Random) -> bytes:
    """A file, broken; half of the time near its start, where its header is."""
    one = rng.choice(whole)
    if rng.random() < 0.5:
        return broken(one, whole, BYTES, rng)
    head = rng.choice((60, 200, 700))
    return broken(one[:head], [other[:head] for other in whole], BYTES, rng) + one[head:]


def picture_case(rng: Random) -> bytes:
    return file_case(pictures(), rng)


def video_case(rng: Random) -> bytes:
    return file_case(videos(), rng)


def picture_result(data: bytes) -> str:
    try:
        pixels = read(data)
    except PictureError as error:
        return str(error.reason)
    assert (pixels.dtype, pixels.ndim, pixels.shape[2]) == (np.uint8, 3, 3)
    return "read"


def video_result(data: bytes) -> str:
    try:
        taken = [frame.shape for frame in video.frames(data)]
    except PictureError as error:
        return str(error.reason)
    assert len(taken) == 16
    return "read"


# Counting ----------------------------------------------------------------------------------------


@dataclass
class Seen:
    """What came of all cases of a kind."""

    kind: str
    results: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0  # s of processor time
    memory: tuple[int, int] = (0, 0)  # bytes, at a tenth of the way and at the end
    wrong: list[str] = field(default_factory=list)


def attack(
    kind: str,
    count: int,
    case: Callable[[Random], object],
    result: Callable[..., str],
    seed: int,
) -> Seen:
    """Breaks so many cases and takes their results, times and memory.

    Growth is wrong only where a tenth of them is enough to settle.
    """
    seen, rng, early = Seen(kind), Random(f"{kind} {seed}"), 0
    for n in range(count):
        if n == count // 10:
            early = resident()
        made = case(rng)
        try:
            seconds, came = timed(result, made)
            if seconds > SLOW[kind]:  # slow three times, or the machine was
                seconds = min(seconds, *(timed(result, made)[0] for _ in range(2)))
        except Exception as error:  # what is looked for
            seen.wrong.append(f"{type(error).__name__}: {error}: {made!r:.300}")
            continue
        seen.results[came] += 1
        seen.slowest = max(seen.slowest, seconds)
        if seconds > SLOW[kind]:
            seen.wrong.append(f"{seconds * 1000:.0f} ms: {made!r:.300}")
    seen.memory = early, resident()
    if count >= 10 * SETTLED[kind] and seen.memory[1] - seen.memory[0] > GROWTH:
        seen.wrong.append(f"memory grew from {seen.memory[0]} to {seen.memory[1]} bytes")
    return seen


def timed(result: Callable[..., str], case: object) -> tuple[float, str]:
    start = spent()
    came = result(case)
    return spent() - start, came


def spent() -> float:
    """Seconds of processor time, of this process and those that it waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def resident() -> int:
    """Bytes of this process that are in memory now."""
    gc.collect()
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description="Hostile input by the million.")
    for kind, count in (("turns", 1_000_000), ("pictures", 20_000), ("videos", 300)):
        parser.add_argument(f"--{kind}", type=int, default=count)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    print(
        f"{'':10}{'cases':>10}{'slowest':>12}{'memory at 10 %':>16}{'at the end':>12}{'wrong':>8}"
    )
    wrong = []
    for kind, case, result in (
        ("turns", turn_case, turn_result), ("pictures", picture_case, picture_result),
        ("videos", video_case, video_result),
    ):  # fmt: skip
        count = getattr(asked, kind)
        seen = attack(kind, count, case, result, asked.seed)
        early, late = (f"{size / 2**20:.1f} MB" for size in seen.memory)
        slowest = f"{seen.slowest * 1000:.1f} ms"
        print(f"{kind:10}{count:>10,}{slowest:>12}{early:>16}{late:>12}{len(seen.wrong):>8}")
        for name, times in seen.results.most_common():
            print(f"{'':10}{times:>10,}  {name}", flush=True)
        wrong += seen.wrong
    print("", *wrong[:50], sep="\n", end="")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
