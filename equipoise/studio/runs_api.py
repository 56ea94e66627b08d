"""Routes that show runs: the table, a run, its curves, its timeline, its samples, its events and its report."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from equipoise.errors import RunError, SettingError, report_command
from equipoise.report.run_summary import rerun_command
from equipoise.runs.run import FIGURES_FOLDER
from equipoise.runs.run_index import LiveRun, row_to_json
from equipoise.runs.run_rows import last_health
from equipoise.runs.series import Bins, Numbers, bin_curves
from equipoise.studio.chart_layout import lay_out_charts
from equipoise.studio.curves import list_curves, make_axis, read_curves
from equipoise.studio.fact_texts import event_text, flat_texts
from equipoise.studio.knob_states import knob_states
from equipoise.studio.progress_words import describe_progress
from equipoise.studio.responses import (
    float_parameter,
    int_parameter,
    json_response,
    png_response,
    sandboxed_page,
)
from equipoise.studio.run_files import data_record, log_tail, skipped_files, warnings_of
from equipoise.studio.sample_pictures import draw_grid, draw_sample, list_samples
from equipoise.studio.studio import Studio
from equipoise.studio.timeline import read_timeline

AXES = ("step", "images", "seconds")
MAX_PIXELS = 4000
MAX_NAMES = 200
REPORT_FILE, FILM = "report.html", ("film", "training_progress.mp4")
FIGURE = (FIGURES_FOLDER, "training_progress.png")


def routes(studio: Studio) -> list[Route]:
    """Return the routes of this topic."""

    def list_runs(_: Request) -> Response:
        return json_response({"root": str(studio.root), "runs": [row_to_json(row) for row in studio.runs.rows()]})

    def show_run(request: Request) -> Response:
        name = request.path_params["run"]
        row, run = studio.runs.row(name), studio.runs.open(name)
        return json_response({"row": row_to_json(row), **describe_run(run), "progress": describe_progress(run, row)})

    def show_series(request: Request) -> Response:
        return json_response(series_of(studio.runs.open(request.path_params["run"]), request))

    def show_timeline(request: Request) -> Response:
        name = request.path_params["run"]
        is_running = studio.runs.row(name).state == "running"
        return json_response(read_timeline(studio.runs.open(name), is_running=is_running))

    def show_events(request: Request) -> Response:
        log, kind = studio.runs.open(request.path_params["run"]).log, request.query_params.get("kind")
        limit = int_parameter(request, "limit", 200, 1, 2000)
        lines = log.last_lines(limit if not kind else 20 * limit)
        events = [line for line in lines if kind in (None, "", line["event"])][-limit:]
        return json_response({"events": events, "texts": [event_text(line) for line in events]})

    return [
        Route("/api/runs", list_runs),
        Route("/api/runs/{run}", show_run),
        Route("/api/runs/{run}/series", show_series),
        Route("/api/runs/{run}/timeline", show_timeline),
        Route("/api/runs/{run}/events", show_events),
        *_file_routes(studio),
        *_sample_routes(studio),
    ]


def describe_run(run: LiveRun) -> dict[str, object]:
    """Return settings, knobs, curves and files of a run as JSON values, without its row.

    `missing`: what the verdict needs to be more certain, "" if nothing.
    """
    try:
        experiment = run.run.experiment()
    except RunError:
        experiment = {}  # the row says what is wrong
    knobs = knob_states(run, experiment.get("freeze"))
    with run.log.lock:
        missing = last_health(run.log).missing
    meaning = {knob.name: (knob.unit, knob.help) for knob in knobs}
    folder, curves = run.run.folder, list_curves(run, meaning)
    return {
        "experiment": experiment,
        "settings": flat_texts(experiment),
        "facts": flat_texts(data_record(folder)),
        "command": rerun_command(experiment) if experiment else "",
        "started": next(iter(run.log.events("started")), None),
        "warnings": warnings_of(run, experiment),
        "knobs": [knob.to_json() for knob in knobs],
        "series": [info._asdict() for info in curves],
        "charts": lay_out_charts(curves, {turn.knob for turn in run.log.turns}),
        "files": {
            "report": (folder / REPORT_FILE).is_file(),
            "film": folder.joinpath(*FILM).is_file(),
            "figure": folder.joinpath(*FIGURE).is_file(),
        },
        "data": data_record(folder),
        "skipped": skipped_files(folder),
        "last_log": log_tail(folder),
        "missing": missing,
        "better": str(next(iter(run.log.events("evaluated")), {}).get("better") or ""),
    }


def series_of(run: LiveRun, request: Request) -> Mapping[str, object]:
    """Return the curves that a request names in bins, as JSON values. Raises SettingError for an unknown axis."""
    names = list(dict.fromkeys(filter(None, request.query_params.get("names", "").split(","))))[:MAX_NAMES]
    kind = request.query_params.get("x") or "step"
    if kind not in AXES:
        raise SettingError(f"x must be {', '.join(AXES[:-1])} or {AXES[-1]}, not '{kind[:40]}'")
    pixels = int_parameter(request, "pixels", 900, 1, MAX_PIXELS)
    axis = make_axis(run, kind, float_parameter(request, "from"), float_parameter(request, "to"))
    binned = bin_curves(read_curves(run, names), axis, pixels)
    series = {name: _bins_to_json(bins) for name, bins in binned.curves.items()}
    return {"x": _to_list(binned.x), "steps": _to_list(binned.steps), "series": series}


def _file_routes(studio: Studio) -> list[Route]:
    def file_of(request: Request, *parts: str) -> Path:
        folder = studio.runs.run(request.path_params["run"]).folder
        path = folder.joinpath(*parts)
        if not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
            raise RunError(f"{folder.name} has no {parts[-1]} yet; write it with: {report_command(folder)}")
        return path

    def show_report(request: Request) -> Response:
        return sandboxed_page(file_of(request, REPORT_FILE), scripts=True)

    def show_film(request: Request) -> Response:
        return FileResponse(file_of(request, *FILM), media_type="video/mp4")

    def show_figure(request: Request) -> Response:
        return FileResponse(file_of(request, *FIGURE), media_type="image/png")

    return [
        Route("/api/runs/{run}/report", show_report),
        Route("/api/runs/{run}/film", show_film),
        Route("/api/runs/{run}/figure", show_figure),
    ]


def _sample_routes(studio: Studio) -> list[Route]:
    def show_samples(request: Request) -> Response:
        return json_response({"items": list_samples(studio.runs.open(request.path_params["run"]))})

    def show_grid(request: Request) -> Response:
        run = studio.runs.open(request.path_params["run"])
        columns = int_parameter(request, "columns", 0, 1, 64) or None
        limit = int_parameter(request, "limit", 1024, 1, 1024)
        return png_response(draw_grid(run, request.path_params["step"], columns, limit))

    def show_sample(request: Request) -> Response:
        run, scale = studio.runs.open(request.path_params["run"]), int_parameter(request, "scale", 1, 1, 16)
        return png_response(draw_sample(run, request.path_params["step"], request.path_params["index"], scale))

    async def show_reals(request: Request) -> Response:
        run = await run_in_threadpool(studio.runs.run, request.path_params["run"])
        size = {
            "columns": int_parameter(request, "columns", 8, 1, 64),
            "limit": int_parameter(request, "limit", 64, 1, 256),
        }
        return png_response(
            (await studio.explorer.request({"action": "reals", "folder": str(run.folder), **size})).content
        )

    return [
        Route("/api/runs/{run}/reals.png", show_reals),
        Route("/api/runs/{run}/samples", show_samples),
        Route("/api/runs/{run}/samples/{step:int}.png", show_grid),
        Route("/api/runs/{run}/samples/{step:int}/{index:int}.png", show_sample),
    ]


def _bins_to_json(bins: Bins) -> dict[str, object]:
    return {"min": _to_list(bins.low), "max": _to_list(bins.high), "last": _to_list(bins.last)}


def _to_list(values: Numbers) -> list[float | None]:
    """Return numbers with eight digits, None for those that are not finite."""
    rounded = (float(f"{value:.8g}") if math.isfinite(value) else None for value in np.asarray(values).tolist())
    return list(rounded)
