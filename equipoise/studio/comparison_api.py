"""Routes that compare runs: settings that differ, common steps of samples, and the pages of `equipoise compare`."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from equipoise.errors import EquipoiseError, RunError, SettingError
from equipoise.studio.manual_changes import describe_manual_changes, manual_changes
from equipoise.studio.responses import SANDBOX, json_response, sandboxed_page
from equipoise.studio.studio import Studio

MAX_RUNS = 20
COMPARISON_FILE, PAGE = "plan.json", "report.html"
COMPARISONS_FOLDER = "comparisons"
"""Folder next to that of the runs, in which `equipoise compare` writes by default."""
FILE_TYPES: Mapping[str, str] = {
    ".png": "image/png",
    ".md": "text/plain; charset=utf-8",
    ".csv": "text/plain; charset=utf-8",
    ".toml": "text/plain; charset=utf-8",
    ".json": "text/plain; charset=utf-8",
    ".jsonl": "text/plain; charset=utf-8",
}
"""Extensions of the files of a comparison that are shown, and their media types; none of them can run a script."""
BY_HAND = "changed by hand"
LATENTS = re.compile(r"data($|\.)|model$|model\..*(latent|conditional|classes)")
"""Settings on which the latents of the samples depend, with the seed."""
NOT_COMPARED = ("format", "versions", "track", "device", "threads", "data_processes")
"""Settings that say nothing about what was trained."""


def routes(studio: Studio) -> list[Route]:
    """Return the routes of comparisons."""

    def compare(request: Request) -> Response:
        names = list(dict.fromkeys(name for name in request.query_params.get("runs", "").split(",") if name))
        if not 1 <= len(names) <= MAX_RUNS:
            raise SettingError(f"there are {len(names)} runs; choose 1 to {MAX_RUNS}")
        return json_response(compare_runs(studio, names))

    def list_comparisons(_: Request) -> Response:
        folders = comparison_folders(studio.root)
        return json_response({"comparisons": [_describe(name, folder) for name, folder in sorted(folders.items())]})

    def show_page(request: Request) -> Response:
        return sandboxed_page(_find(studio.root, request.path_params["comparison"]) / PAGE)

    def show_file(request: Request) -> Response:
        folder = _find(studio.root, request.path_params["comparison"])
        files = {path.name: path for path in _files(folder)}
        name = request.path_params["name"]
        if name not in files:
            raise RunError(f"the comparison {folder.name} has no file '{name}'; choose one of the list")
        headers = {"content-security-policy": SANDBOX}
        return FileResponse(files[name], media_type=FILE_TYPES[files[name].suffix], headers=headers)

    return [
        Route("/api/compare", compare),
        Route("/api/comparisons", list_comparisons),
        Route("/api/comparisons/{comparison}", show_page),
        Route(f"/api/comparisons/{{comparison}}/{PAGE}", show_page),
        Route("/api/comparisons/{comparison}/files/{name}", show_file),
    ]


def compare_runs(studio: Studio, names: Sequence[str]) -> dict[str, object]:
    """Return the settings that differ, changes by hand, and the steps at which all runs have samples."""
    settings: dict[str, dict[str, object]] = {}
    steps: dict[str, set[int]] = {}
    problems: dict[str, str] = {}
    changes: dict[str, str] = {}
    for name in names:
        run = studio.runs.open(name)
        steps[name] = {line["step"] for line in run.log.events("sampled")}
        try:
            settings[name] = flatten_settings(run.run.experiment())
        except EquipoiseError as error:
            problems[name] = " ".join(str(error).split())
        changes[name] = describe_manual_changes(manual_changes(run))
    shared = set.intersection(*steps.values())
    samples = [{"step": step} for step in sorted(shared)]
    rows = [*differing_settings(settings), *differing_settings({name: {BY_HAND: changes[name]} for name in names})]
    values = {"runs": names, "settings": rows, "samples": samples, "problems": problems}
    return {**values, "same_latents": share_latents(settings) and not problems}


def flatten_settings(experiment: Mapping[str, object]) -> dict[str, object]:
    """Return the settings of an experiment by flat names: `model`, `model.width`, `knobs.lr_g`, `seed`.

    The knobs of the model with those that the user set are one group. `experiment.json` has the defaults, too.
    """
    values = {name: value for name, value in experiment.items() if name not in NOT_COMPARED}
    model = values.get("model")
    options = model.get("options") if isinstance(model, Mapping) else None
    published = options.get("knobs") if isinstance(options, Mapping) else None
    own = values.pop("knobs", None)
    knobs = {**_table(published), **_table(own)}
    return {**dict(_flatten(values)), **{f"knobs.{name}": value for name, value in knobs.items()}}


def differing_settings(settings: Mapping[str, Mapping[str, object]]) -> list[dict[str, object]]:
    """Return the settings that differ between runs, with their values by run; None where a run has no such setting."""
    names = list(dict.fromkeys(name for values in settings.values() for name in values))
    rows = {name: {run: values.get(name) for run, values in settings.items()} for name in names}
    return [
        {"name": name, "values": values}
        for name, values in rows.items()
        if any(value != next(iter(values.values())) for value in values.values())
    ]


def share_latents(settings: Mapping[str, Mapping[str, object]]) -> bool:
    """Return whether runs draw samples of the same latents: those with the same seed, data, model and its options."""
    names = {name for values in settings.values() for name in values if name == "seed" or LATENTS.match(name)}
    return all(len({str(values.get(name)) for values in settings.values()}) == 1 for name in names)


def comparison_folders(root: Path) -> dict[str, Path]:
    """Return the comparisons in the folder of the runs, and in `comparisons` next to it, by name; the first win."""
    folders: dict[str, Path] = {}
    for place in (root, root.absolute().parent / COMPARISONS_FOLDER):
        try:
            inner = sorted(path for path in place.iterdir() if (path / COMPARISON_FILE).is_file())
        except OSError:
            continue
        for path in inner:
            folders.setdefault(path.name, path)
    return folders


def _describe(name: str, folder: Path) -> dict[str, object]:
    has_page = (folder / PAGE).is_file()
    problem = "" if has_page else f"{name} has no report yet; write it with: equipoise compare PLAN.toml --report-only"
    files = [{"name": path.name, "bytes": path.stat().st_size} for path in _files(folder)]
    return {"id": name, "name": name, "page": has_page, "problem": problem, "files": files}


def _find(root: Path, name: str) -> Path:
    folders = comparison_folders(root)
    if name not in folders:
        raise RunError(f"there is no comparison '{name}'; list them again")
    return folders[name]


def _files(folder: Path) -> list[Path]:
    """Return the files of a comparison that are shown: those in its folder itself that are no links elsewhere."""
    try:
        return sorted(
            path for path in folder.iterdir() if path.suffix in FILE_TYPES and path.is_file() and not path.is_symlink()
        )
    except OSError:
        return []


def _flatten(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield flat names and values; a plug is its name, and its options are named after its role."""
    for name, value in values.items():
        if isinstance(value, Mapping) and set(value) == {"name", "options"}:
            yield f"{prefix}{name}", value["name"]
            options = {key: each for key, each in _table(value["options"]).items() if (name, key) != ("model", "knobs")}
            yield from _flatten(options, f"{prefix}{name}.")
        elif isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _table(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
