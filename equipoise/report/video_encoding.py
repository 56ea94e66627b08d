"""Encoding of frames as a film: H.264 in MP4, which browsers, phones and QuickTime play."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from PIL import Image

from equipoise.errors import RunError, unwritable

MAX_BIT_RATE = 4_500_000
"""Bits per second, averaged over any second (x264's VBV): 30 seconds are below 18 MB for any content."""
QUALITY = 20
"""x264's constant rate factor, from 0 (lossless) to 51; its default is 23."""
FFMPEG_MISSING = "ffmpeg is not installed; install it with: pip install imageio-ffmpeg"


def write_video(path: Path, frames: Iterable[Image.Image], size: tuple[int, int], rate: int) -> None:
    """Write RGB frames of `size` (width, height; both even), `rate` per second, as a film, atomically.

    The same frames give the same bytes with the same build of ffmpeg. Raises RunError if ffmpeg is not installed or
    fails, and if the file cannot be written.
    """
    for _ in video_steps(path, frames, size, rate):
        pass


def video_steps(path: Path, frames: Iterable[Image.Image], size: tuple[int, int], rate: int) -> Iterator[int]:
    """Write a film as :func:`write_video` does, and yield the number of frames after each frame.

    If the iterator is closed before its end, no file is written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(exist_ok=True)
        yield from _encode(_command(_find_ffmpeg(), partial, size, rate), frames)
        partial.replace(path)
    except OSError as error:
        raise RunError(f"no film: {unwritable(path.parent, error)}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _find_ffmpeg() -> str:
    try:
        from imageio_ffmpeg import get_ffmpeg_exe
    except ImportError as error:
        raise RunError(f"no film: {FFMPEG_MISSING}") from error
    try:
        return str(get_ffmpeg_exe())
    except RuntimeError as error:
        raise RunError(f"no film: {FFMPEG_MISSING}") from error


def _command(ffmpeg: str, path: Path, size: tuple[int, int], rate: int) -> list[str]:
    """Return the command of ffmpeg: one thread and no metadata, so that the bytes depend on the frames alone."""
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size[0]}x{size[1]}", "-r", str(rate), "-i", "pipe:0"]
    # Players assume BT.709 for films of this size; ffmpeg would convert by BT.601 and tag neither.
    tags = "color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv"
    colours = ["-vf", f"scale=out_color_matrix=bt709:out_range=tv,format=yuv420p,setparams={tags}"]
    codec = ["-c:v", "libx264", "-preset", "veryfast", "-profile:v", "high", "-crf", str(QUALITY), "-threads", "1"]
    limits = ["-maxrate", str(MAX_BIT_RATE), "-bufsize", str(MAX_BIT_RATE), "-g", str(2 * rate)]
    no_metadata = ["-map_metadata", "-1", "-fflags", "+bitexact", "-flags:v", "+bitexact"]
    target = ["-movflags", "+faststart", "-f", "mp4", "-y", str(path)]
    quiet = ["-hide_banner", "-loglevel", "error", "-nostats"]
    return [ffmpeg, *quiet, *source, *colours, *codec, *limits, *no_metadata, *target]


def _encode(command: list[str], frames: Iterable[Image.Image]) -> Iterator[int]:
    """Run ffmpeg on the frames, in its own process group, so that Ctrl-C reaches only this process."""
    with tempfile.TemporaryFile() as error_output:
        try:
            ffmpeg = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=error_output, process_group=0
            )
        except OSError as error:
            raise RunError(f"no film: ffmpeg ({command[0]}) cannot be started: {error.strerror or error}") from error
        try:
            yield from _write_frames(ffmpeg, frames)
            code = ffmpeg.wait()
        finally:
            ffmpeg.kill()
            ffmpeg.wait()
        if code:
            error_output.seek(0)
            lines = error_output.read().decode(errors="replace").strip().splitlines() or [f"exit code {code}"]
            raise RunError(f"no film: ffmpeg failed: {' '.join(lines[-1].split())}")


def _write_frames(ffmpeg: "subprocess.Popen[bytes]", frames: Iterable[Image.Image]) -> Iterator[int]:
    """Write the frames to ffmpeg, and yield their number after each."""
    assert ffmpeg.stdin is not None
    try:
        with ffmpeg.stdin as pipe:
            for count, frame in enumerate(frames, 1):
                pipe.write(frame.tobytes())
                yield count
    except BrokenPipeError:
        return  # ffmpeg has failed; its exit code and error output say why.
