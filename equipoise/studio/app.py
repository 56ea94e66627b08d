"""The web application of the studio: all routes behind the guard."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from equipoise.errors import EquipoiseError
from equipoise.studio import (
    comparison_api,
    diagnosis_api,
    explorer_api,
    labels_api,
    launch_api,
    requests_api,
    runs_api,
    sample_texts_api,
    stream,
)
from equipoise.studio.guard import Access, Guard
from equipoise.studio.responses import error_response, json_response
from equipoise.studio.studio import Studio

STATIC = Path(__file__).parent / "static"
PARTS = (
    runs_api,
    sample_texts_api,
    stream,
    explorer_api,
    launch_api,
    requests_api,
    labels_api,
    comparison_api,
    diagnosis_api,
)
"""Modules with the routes of one topic each: `routes(studio)`."""


def make_app(studio: Studio, access: Access) -> Guard:
    """Return the ASGI application of a studio."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        with studio.resources:
            yield

    app = Starlette(
        routes=[
            Route("/", _page),
            Mount("/static", StaticFiles(directory=STATIC)),
            *(route for part in PARTS for route in part.routes(studio)),
        ],
        exception_handlers={EquipoiseError: _describe_error, 404: _not_here, 500: _defect},
        lifespan=lifespan,
    )
    return Guard(app, access)


async def _page(_: Request) -> Response:
    return FileResponse(STATIC / "index.html")


def _describe_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, EquipoiseError)
    return error_response(error)


def _not_here(_: Request, __: Exception) -> Response:
    return json_response({"error": "there is no such page"}, 404)


def _defect(_: Request, error: Exception) -> Response:
    problem = f"{type(error).__name__}: {error}"
    return json_response(
        {"error": f"unexpected error ({problem}); this is a defect of Equipoise, please report it"}, 500
    )
