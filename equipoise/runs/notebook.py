"""Display of a run in notebooks: what it is, how far it is, and its last samples."""

import io
import warnings
from pathlib import Path

from equipoise.core.html_display import PLOT_SIZE, format_display
from equipoise.errors import RunError
from equipoise.runs.run import SAMPLES_FOLDER, Run, summarize_run

TEXTS = 8
MAX_BYTES = 32 * 2**20
"""Maximum size of a picture that is embedded."""


def run_html(run: Run) -> str:
    """Return the model, the data, the step and the state of a run and its last samples, as HTML."""
    summary = summarize_run(run)
    steps = "" if summary.steps is None else f" of {summary.steps:,}"
    report = run.folder / "report.html"
    facts = {
        "model": summary.model,
        "data": summary.data,
        "step": f"{summary.step:,}{steps}",
        "state": summary.state,
        "folder": run.folder,
        "report": report if report.is_file() else f"none yet; write it with: equipoise report {run.folder}",
    }
    path = _last_samples(run)
    png, texts = (None, []) if path is None else (_read_picture(path), _read_texts(path))
    return format_display(f"equipoise.Run {run.name}", facts, png=png, texts=texts)


def _last_samples(run: Run) -> Path | None:
    """Return the file of the last samples; None without one. Names in the log are untrusted: only the last part."""
    try:
        lines = run.lines("sampled")
    except RunError:
        return None
    name = Path(str(lines[-1].get("samples", ""))).name if lines else ""
    path = run.folder / SAMPLES_FOLDER / name
    return path if name and path.is_file() and path.stat().st_size <= MAX_BYTES else None


def _read_picture(path: Path) -> bytes | None:
    """Return a sheet of images as PNG, decoded and encoded again; None for another kind of file and a damaged one."""
    from PIL import Image

    from equipoise.runs.artifacts import encode_png

    if path.suffix != ".png":
        return None
    try:
        with warnings.catch_warnings(action="error"), Image.open(io.BytesIO(path.read_bytes())) as image:
            factor = max(1, PLOT_SIZE // max(image.size))
            return encode_png(image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST))
    except (OSError, ValueError, SyntaxError, Warning, Image.DecompressionBombError):
        return None


def _read_texts(path: Path) -> list[str]:
    if path.suffix != ".txt":
        return []
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()[:TEXTS]
    except OSError:
        return []
