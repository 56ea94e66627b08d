"""Routes of notes on a run: annotations, blind pairs of samples, marks of samples, and the chosen step."""

import json
import re
import secrets
from collections import OrderedDict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, cast, get_args
from urllib.parse import quote

from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from equipoise.core.printing import format_count
from equipoise.errors import SettingError, shell_path
from equipoise.runs.annotations import change_annotations, choose_step, clear_chosen, read_chosen
from equipoise.runs.labels import (
    Label,
    MarkAnswer,
    MarkLabel,
    PairLabel,
    answered_pairs,
    append_label,
    count_pairs,
    marks_of,
    read_labels,
)
from equipoise.runs.run import CHECKPOINTS_FOLDER
from equipoise.studio.responses import Body, int_parameter, json_response, png_response, read_body
from equipoise.studio.studio import Studio

MAX_PAIRS = 1000
"""Number of pairs whose sides are remembered."""
MAX_STEPS, MAX_NUMBERS = 2**53, 99_999
Side = Literal["left", "right"]


class AnnotationsBody(Body):
    """Annotations to change; None leaves one as it is."""

    tags: list[str] | None = Field(default=None, max_length=100)
    note: str | None = None
    archived: bool | None = None


class LabelBody(Body):
    """An answer: of a pair, or the mark of one sample at a step."""

    kind: Literal["pair", "mark"]
    answer: Literal["left", "right", "neither", "keep", "flaw", "copy", "none"]
    pair: str = ""
    sample: str = ""
    step: int = Field(default=0, ge=0)


class ChosenBody(Body):
    """The chosen step; None for no choice."""

    step: int | None = Field(ge=0)
    note: str = ""


@dataclass(frozen=True, slots=True)
class BlindPair:
    """Two steps of a run whose samples of one latent are compared. `left`, `right`: the steps behind the sides."""

    run: str
    sample: str
    left: int
    right: int


@dataclass(frozen=True, slots=True)
class BlindPairs:
    """The pairs that were shown last, by names from which nobody can tell the sides."""

    _pairs: "OrderedDict[str, BlindPair]" = field(default_factory=OrderedDict)

    def draw(self, run: str, sample: str, steps: tuple[int, int]) -> str:
        """Draw by lot which step is on which side, and return the name of the pair."""
        left, right = steps if secrets.randbelow(2) else steps[::-1]
        name = secrets.token_urlsafe(12)
        self._pairs[name] = BlindPair(run, sample, left, right)
        while len(self._pairs) > MAX_PAIRS:
            self._pairs.popitem(last=False)
        return name

    def find(self, run: str, name: str) -> BlindPair:
        """Return a pair. Raises SettingError for one that was forgotten, or belongs to another run."""
        pair = self._pairs.get(name)
        if pair is None or pair.run != run:
            raise SettingError("this pair is not known any more, because the studio was restarted; load the next one")
        return pair


def routes(studio: Studio) -> list[Route]:
    """Return the routes of annotations and labels."""
    notes = _NoteRoutes(studio)
    run = "/api/runs/{run}"
    return [
        Route(f"{run}/annotations", notes.annotate, methods=["POST"]),
        Route(f"{run}/chosen", notes.choose, methods=["GET", "POST"]),
        Route(f"{run}/pair", notes.draw_pair),
        Route(f"{run}/pair/{{pair}}/{{side}}.png", notes.show_side),
        Route(f"{run}/labels", notes.show_labels),
        Route(f"{run}/labels", notes.label, methods=["POST"]),
    ]


@dataclass(frozen=True, slots=True)
class _NoteRoutes:
    """The routes, with the pairs that were shown."""

    studio: Studio
    pairs: BlindPairs = field(default_factory=BlindPairs)

    async def annotate(self, request: Request) -> Response:
        folder, body = self._folder(request), await read_body(request, AnnotationsBody)
        changed = await run_in_threadpool(change_annotations, folder, **body.model_dump())
        return json_response(changed.to_json())

    async def choose(self, request: Request) -> Response:
        folder = self._folder(request)
        if request.method == "POST":
            body = await read_body(request, ChosenBody)
            if body.step is None:
                clear_chosen(folder)
            else:
                await _check_weights(self.studio, folder, body.step)
                choose_step(folder, body.step, body.note)
        return json_response(_chosen(folder))

    def draw_pair(self, request: Request) -> Response:
        folder, run = self._folder(request), request.path_params["run"]
        a, b = _two_steps(request)
        answered, number = answered_pairs(read_labels(folder), a, b), int_parameter(request, "n", 0, 0, MAX_NUMBERS)
        while f"0/{number}" in answered and number < MAX_NUMBERS:
            number += 1
        name = self.pairs.draw(run, f"0/{number}", (a, b))
        sides = {side: f"/api/runs/{quote(run, safe='')}/pair/{name}/{side}.png" for side in get_args(Side)}
        return json_response({"pair": name, "n": number, "sample": f"0/{number}", **sides})

    async def show_side(self, request: Request) -> Response:
        folder, run, side = self._folder(request), request.path_params["run"], request.path_params["side"]
        pair = self.pairs.find(run, request.path_params["pair"])
        step = pair.left if side == "left" else pair.right
        return png_response(await draw_named_sample(self.studio, folder, run, pair.sample, step))

    async def label(self, request: Request) -> Response:
        folder, body = self._folder(request), await read_body(request, LabelBody)
        if body.kind == "mark":
            mark = _mark(body)
            await run_in_threadpool(append_label, folder, mark)
            return json_response({"marks": marks_of(await run_in_threadpool(read_labels, folder), mark.step)})
        pair = self.pairs.find(request.path_params["run"], body.pair)
        await run_in_threadpool(append_label, folder, _pair_label(pair, body))
        labels = await run_in_threadpool(read_labels, folder)
        counts = asdict(count_pairs(labels, pair.left, pair.right))
        result = describe_result(labels, *sorted((pair.left, pair.right)))
        return json_response({**counts, "left": pair.left, "right": pair.right, **result})

    def show_labels(self, request: Request) -> Response:
        folder = self._folder(request)
        labels = read_labels(folder)
        if "a" in request.query_params:
            a, b = _two_steps(request)
            return json_response({**asdict(count_pairs(labels, a, b)), **describe_result(labels, a, b)})
        step = int_parameter(request, "step", 0, 0, MAX_STEPS)
        chosen = {"steps": saved_steps(folder), "chosen": _chosen(folder), "labels": len(labels)}
        return json_response({**chosen, "marks": marks_of(labels, step)})

    def _folder(self, request: Request) -> Path:
        return self.studio.runs.run(request.path_params["run"]).folder


def describe_result(labels: list[Label], a: int, b: int) -> dict[str, object]:
    """Return the result so far in words. `winner`: the better step, None if undecided; `share`: that `a` has won."""
    counts = count_pairs(labels, a, b)
    share, low, high = counts.share_a, counts.low, counts.high
    if share is None or low is None or high is None:
        text = f"No decision in {format_count(counts.neither, 'answer')}." if counts.neither else "No answer yet."
        return {"words": text, "detail": "", "winner": None, "share": None}
    winner = a if low > 0.5 else b if high < 0.5 else None
    words = "Not decided: the interval holds one half." if winner is None else f"Step {winner:,} is better."
    percents = [f"{100 * part:.0f} %" for part in (share, low, high)]
    detail = f"Step {a:,} won {counts.a} of {counts.a + counts.b} ({percents[0]}), "
    detail += f"with 95 % confidence {percents[1]} to {percents[2]}."
    detail += f" Neither: {counts.neither}, which do not count." if counts.neither else ""
    return {"words": words, "detail": detail, "winner": winner, "share": share}


async def draw_named_sample(studio: Studio, folder: Path, run: str, sample: str, step: int) -> bytes:
    """Draw one sample of a step of a run, as PNG, by the explorer."""
    body = {"run": run, "kind": "seeds", "samples": [sample], "step": step}
    values = {"action": "explore", "folder": str(folder)}
    return (await studio.explorer.request(values, json.dumps(body).encode())).content


def saved_steps(folder: Path) -> list[int]:
    """Return the steps of the checkpoints of a run folder, ascending."""
    try:
        names = [path.name for path in (folder / CHECKPOINTS_FOLDER).iterdir() if path.is_dir()]
    except OSError:
        return []
    return sorted(int(match[1]) for name in names if (match := re.fullmatch(r"step-(\d+)", name)))


def _two_steps(request: Request) -> tuple[int, int]:
    steps = [int_parameter(request, name, -1, -1, MAX_STEPS) for name in ("a", "b")]
    if min(steps) < 0 or steps[0] == steps[1]:
        raise SettingError("two different steps are compared; give both as a and b")
    return steps[0], steps[1]


async def _check_weights(studio: Studio, folder: Path, step: int) -> None:
    """Raise the error of the explorer for a step without weights; it is only started if there is no checkpoint."""
    if step not in saved_steps(folder):
        await studio.explorer.request({"action": "describe", "folder": str(folder), "step": step})


def _chosen(folder: Path) -> dict[str, object] | None:
    chosen = read_chosen(folder)
    command = f"equipoise sample {shell_path(folder)} --step chosen --out samples.png"
    return None if chosen is None else {**asdict(chosen), "command": command}


def _mark(body: LabelBody) -> MarkLabel:
    if body.answer not in get_args(MarkAnswer):
        raise SettingError(f"answer: '{body.answer}' is no mark; use one of: {', '.join(get_args(MarkAnswer))}")
    return MarkLabel(body.sample, body.step, cast(MarkAnswer, body.answer))


def _pair_label(pair: BlindPair, body: LabelBody) -> PairLabel:
    """Return the answer to a pair, with the steps instead of the sides."""
    match body.answer:
        case "left":
            return PairLabel(pair.sample, pair.left, pair.right, "a")
        case "right":
            return PairLabel(pair.sample, pair.left, pair.right, "b")
        case "neither":
            return PairLabel(pair.sample, pair.left, pair.right, "neither")
    raise SettingError(f"answer: '{body.answer}' is no answer to a pair; use one of: left, right, neither")
