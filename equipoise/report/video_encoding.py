"""Frames into a film: H.264 in MP4, as browsers, phones and QuickTime play it."""

import contextlib
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from equipoise.errors import RunError, unwritable

RATE = 4_500_000
"""Bits a second at most, kept over any second (x264's VBV): 30 seconds stay below 18 MB, whatever is shown."""
QUALITY = 20
"""x264's constant rate factor, on its scale from 0 (lossless) to 51; 23 is its default."""
TOOL_MISSING = "ffmpeg is not there; install it with: pip install imageio-ffmpeg"


def write_video(path: Path, frames: Iterable[Image.Image], size: tuple[int, int], rate: int) -> None:
    """Write RGB frames of `size` (width, height; both even), `rate` a second, as a film; whole or not at all.

    The same frames give the same bytes with the same build of ffmpeg. Raises RunError without ffmpeg, where it fails,
    and where the file cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(exist_ok=True)
        _encode(_command(_tool(), partial, size, rate), frames)
        partial.replace(path)
    except OSError as error:
        raise RunError(f"no film: {unwritable(path.parent, error)}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _tool() -> str:
    try:
        from imageio_ffmpeg import get_ffmpeg_exe
    except ImportError as error:
        raise RunError(f"no film: {TOOL_MISSING}") from error
    try:
        return str(get_ffmpeg_exe())
    except RuntimeError as error:
        raise RunError(f"no film: {TOOL_MISSING}") from error


def _command(tool: str, path: Path, size: tuple[int, int], rate: int) -> list[str]:
    """One thread, and nothing of date or machine in the file: the bytes depend on the frames alone."""
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size[0]}x{size[1]}", "-r", str(rate), "-i", "pipe:0"]
    # Players take films of this size for BT.709; ffmpeg would convert by BT.601 and say neither.
    named = "color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv"
    colours = ["-vf", f"scale=out_color_matrix=bt709:out_range=tv,format=yuv420p,setparams={named}"]
    coding = ["-c:v", "libx264", "-preset", "veryfast", "-profile:v", "high", "-crf", str(QUALITY), "-threads", "1"]
    bounds = ["-maxrate", str(RATE), "-bufsize", str(RATE), "-g", str(2 * rate)]
    bare = ["-map_metadata", "-1", "-fflags", "+bitexact", "-flags:v", "+bitexact"]
    kind = ["-movflags", "+faststart", "-f", "mp4", "-y", str(path)]
    return [tool, "-hide_banner", "-loglevel", "error", "-nostats", *raw, *colours, *coding, *bounds, *bare, *kind]


def _encode(command: list[str], frames: Iterable[Image.Image]) -> None:
    """Run ffmpeg over the frames, in a process group of its own: a Ctrl-C is for us to answer."""
    with tempfile.TemporaryFile() as said:
        try:
            tool = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said, process_group=0
            )
        except OSError as error:
            raise RunError(f"no film: ffmpeg ({command[0]}) cannot be started: {error.strerror or error}") from error
        try:
            _feed(tool, frames)
            code = tool.wait()
        finally:
            tool.kill()
            tool.wait()
        if code:
            said.seek(0)
            words = said.read().decode(errors="replace").strip().splitlines() or [f"it ended with {code}"]
            raise RunError(f"no film: ffmpeg failed: {' '.join(words[-1].split())}")


def _feed(tool: "subprocess.Popen[bytes]", frames: Iterable[Image.Image]) -> None:
    assert tool.stdin is not None
    try:
        with tool.stdin as pipe:
            for frame in frames:
                pipe.write(frame.tobytes())
    except BrokenPipeError:
        return  # It has failed, and its exit code and words say how.
