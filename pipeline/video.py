"""The only way in for a video: a few frames of it, evenly spaced, as pixels.

Guarantees: every frame of the file decodes before the first is given out; frames are upright; one
frame at a time is in memory; the same bytes give the same pixels; nothing but the file is read: the
decoder sees it as an open stream, of a container that names no other files. Decoders are large and
files hostile, so each video has a process of its own, with its time and memory bounded: a file that
kills it, or keeps it busy for ever, is refused as any other.
Does not: see a damaged frame that the decoder makes up for, or keep time when frames come at
uneven rates: frames are counted.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from pipeline.images import BadPicture, PictureError, Pixels, opened

MAX_BYTES = 2**31
MAX_FRAMES = 36_000  # twenty minutes at thirty a second
MAX_AREA = 4096 * 4096  # px of a frame
MAX_SECONDS = 900  # of the decoder's processor time
MAX_MEMORY = 4 * 2**30  # bytes of its address space
DECODER = (sys.executable, "-m", "pipeline.video")
OUTLASTS = 0.5  # s that the sound of a Matroska file may go on after its last frame


def frames(source: Path | bytes, count: int = 16) -> Iterator[Pixels]:
    """``count`` frames of an untrusted video: the middles of as many equal stretches, in order.

    It is decoded twice, once to see that it is whole and once to take the frames.

    Raises:
        PictureError: before the first frame, if it is missing, larger or longer than ``MAX_*``, no
            MP4, MOV, AVI, Matroska or WebM, ends before its header says, or has too few frames.
    """
    asked = {"count": count, "max_frames": MAX_FRAMES, "max_area": MAX_AREA}
    with (
        _file(source) as file,
        subprocess.Popen(  # noqa: S603  our own module
            [*DECODER, json.dumps(asked)],
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # FFmpeg has a line for every bad byte
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        ) as decoder,
    ):
        try:
            for _ in range(count):
                yield _received(decoder)
        finally:
            decoder.kill()


@contextmanager
def _file(source: Path | bytes) -> Iterator[BinaryIO]:
    """An open file, which the decoder inherits; its kind is what it starts as, whatever its name."""
    with opened(source, MAX_BYTES) as stream:
        start = stream.read(12)
        if _container(start) is None:
            raise PictureError(BadPicture.NOT_A_VIDEO, f"starts with {start!r}")
        if isinstance(source, Path):
            yield stream
            return
        with tempfile.TemporaryFile() as file:
            file.write(source)
            file.flush()
            yield file


def _container(start: bytes) -> str | None:
    if start[4:8] == b"ftyp":
        return "mp4"
    if start[:4] == b"RIFF" and start[8:12] == b"AVI ":
        return "avi"
    return "matroska" if start[:4] == b"\x1a\x45\xdf\xa3" else None


def _received(decoder: "subprocess.Popen[bytes]") -> Pixels:
    """The next frame that the decoder sends, or what it says is wrong."""
    assert decoder.stdout is not None
    line = decoder.stdout.readline()
    if line.endswith(b"\n"):
        told = json.loads(line)
        if "reason" in told:
            raise PictureError(BadPicture(told["reason"]), told["detail"])
        pixels = np.empty((told["height"], told["width"], 3), np.uint8)
        if decoder.stdout.readinto(pixels.data) == pixels.nbytes:  # type: ignore[attr-defined]
            return pixels
    code = decoder.wait()
    if code >= 0:  # no fault of the file
        raise RuntimeError(f"the decoder ended with {code}: {' '.join(DECODER)} would say why")
    if code == -signal.SIGXCPU:
        raise PictureError(BadPicture.TOO_LONG, f"it decodes for more than {MAX_SECONDS} s")
    raise PictureError(BadPicture.TRUNCATED, f"its decoder died of it (signal {-code})")


# In the process of its own -----------------------------------------------------------------------


def _decode(file: str, asked: dict[str, int], sink: BinaryIO) -> None:
    """Counts the frames of a video, then sends those asked for: a line of JSON, then RGB."""
    total = _length(file, asked["max_frames"], asked["max_area"])
    count, at = asked["count"], -1
    if total < count:
        raise PictureError(BadPicture.TOO_SHORT, f"{total} frames, {count} are asked for")
    video = _opened(file, asked["max_area"])
    for n in range(count):
        wanted = (2 * n + 1) * total // (2 * count)
        while at < wanted and video.grab():
            at += 1
        ok, bgr = video.retrieve() if at == wanted else (False, None)
        if not ok or bgr is None:
            raise PictureError(BadPicture.TRUNCATED, f"frame {wanted} decodes once and not again")
        height, width = bgr.shape[:2]
        sink.write(json.dumps({"width": width, "height": height}).encode() + b"\n")
        sink.write(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).tobytes())


def _length(file: str, max_frames: int, max_area: int) -> int:
    """The number of frames that decode, when the video is whole."""
    video, found, reached = _opened(file, max_area), 0, 0.0
    promised, rate = video.get(cv2.CAP_PROP_FRAME_COUNT), video.get(cv2.CAP_PROP_FPS)
    while found <= max_frames and video.grab():
        found += 1
        reached = max(reached, video.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    if found > max_frames:
        raise PictureError(BadPicture.TOO_LONG, f"more than {max_frames} frames")
    missing = promised - found
    if _container(_start(file)) == "matroska" and rate > 0:
        missing = (promised / rate - reached - OUTLASTS) * rate  # it tells a duration, no number
    if missing > 1 or not found:
        raise PictureError(BadPicture.TRUNCATED, f"{found} of {promised:.0f} frames decode")
    return found


def _start(file: str) -> bytes:
    with open(file, "rb") as stream:
        return stream.read(12)


def _opened(file: str, max_area: int) -> cv2.VideoCapture:
    video = cv2.VideoCapture(file, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    if not video.isOpened():
        raise PictureError(BadPicture.TRUNCATED, "its header is cut, or tells of no picture")
    width = int(video.get(cv2.CAP_PROP_FRAME_WIDTH))
    height = int(video.get(cv2.CAP_PROP_FRAME_HEIGHT))
    if width * height > max_area:  # a frame of another size than the header's is scaled to that
        raise PictureError(BadPicture.TOO_LARGE, f"frames of {width}×{height} px")
    return video


def main() -> None:
    """Decodes the video on standard input to standard output, as the one argument asks."""
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_SECONDS, MAX_SECONDS + 5))
    with suppress(ValueError):  # a system that bounds no memory
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    asked = json.loads(sys.argv[1])
    said: dict[str, str] | None = None
    try:
        _decode("/dev/fd/0", asked, sys.stdout.buffer)
    except PictureError as error:
        said = {"reason": error.reason, "detail": error.detail}
    except (cv2.error, MemoryError) as error:
        said = {"reason": BadPicture.TRUNCATED, "detail": str(error)}
    if said:
        sys.stdout.buffer.write(json.dumps(said).encode() + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
