"""Answers of the studio: JSON, images, pages in a sandbox, and errors in one line; validated bodies of requests."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from equipoise.errors import EquipoiseError, RunError, SettingError, UnknownRunError

SANDBOX = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; media-src data: blob:; "
    "frame-ancestors 'self'"
)
"""Content security policy of pages that a run or a comparison has written: no script, no request, no origin."""
SANDBOX_WITH_SCRIPTS = SANDBOX.replace("sandbox;", "sandbox allow-scripts; script-src 'unsafe-inline';")
"""The same for the interactive report. Its scripts have no origin: they cannot read or send anything."""


class Body(BaseModel):
    """Base class of the bodies of requests: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


BodyT = TypeVar("BodyT", bound=BaseModel)


def encode_json(value: object) -> bytes:
    """Return a value as JSON in one line; numbers that are not finite become null."""
    try:
        text = json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    except ValueError:
        text = json.dumps(_finite(value), allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace")


def json_response(value: object, status: int = 200) -> Response:
    """Return a value as JSON, see :func:`encode_json`."""
    return Response(encode_json(value), status, media_type="application/json")


def error_response(error: EquipoiseError) -> Response:
    """Return an error as {"error": "one line"}: 404 for a run that does not exist, 422 otherwise."""
    return json_response({"error": " ".join(str(error).split())}, 404 if isinstance(error, UnknownRunError) else 422)


def png_response(content: bytes) -> Response:
    """Return an image."""
    return Response(content, media_type="image/png")


def sandboxed_page(path: Path, *, scripts: bool = False) -> Response:
    """Return a page that a run or a comparison has written: it may show its own pictures and styles, nothing else.

    `scripts`: whether its own scripts run, without an origin and without requests. Raises RunError if there is no such
    file.
    """
    if not path.is_file():
        raise RunError(f"there is no {path.name} yet")
    return FileResponse(
        path,
        media_type="text/html; charset=utf-8",
        headers={"content-security-policy": SANDBOX_WITH_SCRIPTS if scripts else SANDBOX},
    )


async def read_body(request: Request, model: type[BodyT]) -> BodyT:
    """Read and validate the JSON body of a request. Raises SettingError, naming the first field that is wrong."""
    return parse_body(await request.body(), model)


def parse_body(content: bytes, model: type[BodyT]) -> BodyT:
    """Validate JSON. Raises SettingError, naming the first field that is wrong."""
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"])) or "the request"
        raise SettingError(f"{place}: {problem['msg'].lower()}; send the fields that the page sends") from error


def int_parameter(request: Request, name: str, default: int, low: int, high: int) -> int:
    """Return a whole number of the query, limited to [low, high]. Raises SettingError for anything else."""
    text = request.query_params.get(name, "")
    if not text:
        return default
    try:
        return min(max(int(text), low), high)
    except ValueError as error:
        raise SettingError(f"{name} must be a whole number from {low} to {high}, not '{text[:40]}'") from error


def float_parameter(request: Request, name: str) -> float | None:
    """Return a finite number of the query; None without it. Raises SettingError for anything else."""
    text = request.query_params.get(name, "")
    try:
        value = float(text) if text else None
    except ValueError:
        value = math.nan
    if value is not None and not math.isfinite(value):
        raise SettingError(f"{name} must be a number, not '{text[:40]}'")
    return value


def _finite(value: object) -> object:
    """Replace numbers that are not finite by None, anywhere in a value."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value
