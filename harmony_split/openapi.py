"""The JSON API in OpenAPI, answered at ``/api/openapi.json``."""

from __future__ import annotations

from typing import Any

import common
from common import audio
from harmony_split.limits import STATUS

TITLE = "harmony_split"


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(name: str, description: str) -> dict[str, Any]:
    content = {"application/json": {"schema": _reference(name)}}
    return {"description": description, "content": content}


def _file(media_type: str, description: str) -> dict[str, Any]:
    schema = {"type": "string", "format": "binary"}
    return {"description": description, "content": {media_type: {"schema": schema}}}


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    required = list(properties)
    return {"type": "object", "required": required, "properties": properties}


def _nullable(type_: str) -> dict[str, Any]:
    return {"type": [type_, "null"]}


def _optional(name: str) -> dict[str, Any]:
    return {"anyOf": [_reference(name), {"type": "null"}]}


TEXT, NUMBER = {"type": "string"}, {"type": "number"}
INTEGER, TRUTH = {"type": "integer"}, {"type": "boolean"}


def _many(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _parameter(name: str, where: str, schema: dict[str, Any], text: str) -> dict:
    return {
        "name": name,
        "in": where,
        "required": where == "path",
        "schema": schema,
        "description": text,
    }


ID = _parameter(
    "id", "path", TEXT, "Identifier of the job, 22 letters; keep it secret."
)
STEM = _parameter("file", "path", TEXT, "A stem and a suffix, such as vocals.flac.")
FORMAT = _parameter(
    "format",
    "query",
    {"type": "string", "enum": list(audio.FORMATS), "default": "wav"},
    "Format of the file, by default that of the suffix; wav is 32-bit float.",
)
MODEL = _parameter(
    "model", "query", TEXT, "Name of a model (default: the first of /api/models)."
)
WATCHED = _parameter("job", "query", _many(TEXT), "Identifiers of 1 to 100 jobs.")
WATCHED["required"] = True
STATES = ["queued", "decoding", "separating", "done", "failed", "cancelled"]
ERROR = _object(code={"type": "string", "enum": list(STATUS)}, message=TEXT)

SCHEMAS: dict[str, Any] = {
    "Error": _object(error=ERROR),
    "Model": _object(
        name=TEXT, source=TEXT, licence=TEXT, score=TEXT, ready=TRUTH, bundled=TRUTH
    ),
    "Models": _object(
        models=_many(_reference("Model")),
        formats=_many(TEXT),
        limits=_object(
            bytes=INTEGER, seconds=NUMBER, keep_hours=NUMBER, preview_seconds=NUMBER
        ),
    ),
    "Part": _object(
        start=NUMBER,
        samples=INTEGER,
        sample_rate=INTEGER,
        channels=INTEGER,
        stems=_many(TEXT),
        elapsed=NUMBER,
    ),
    "Job": _object(
        id=TEXT,
        model=TEXT,
        state={"type": "string", "enum": STATES},
        created=NUMBER,
        expires=NUMBER,
        progress=NUMBER,
        remaining=_nullable("number"),
        note=TEXT,
        error={"anyOf": [ERROR, {"type": "null"}]},
        position=_nullable("integer"),
        preview=_optional("Part"),
        stems=_optional("Part"),
    ),
    "Gone": _object(id=TEXT, state={"const": "gone"}, error=ERROR),
    "Overview": _object(
        stems={
            "type": "object",
            "additionalProperties": _object(
                peaks=_many(NUMBER), frames=INTEGER, bands=INTEGER, spectrogram=TEXT
            ),
        }
    ),
}


def _operation(
    summary: str, answers: dict[str, Any], *parameters: dict[str, Any], **more: Any
) -> dict[str, Any]:
    answers = answers | {"default": _json("Error", "Refused, with a sentence.")}
    return {
        "summary": summary,
        "parameters": list(parameters),
        "responses": answers,
        **more,
    }


def _part(words: str) -> dict[str, Any]:
    """Addresses below ``/api/jobs/{id}/stems`` or ``/preview``."""
    stem = _file("audio/*", "The file; range requests are supported.")
    archive = _file("application/zip", "The zip.")
    view = _json("Overview", "By the name of the stem.")
    return {
        "/overview": {
            "get": _operation(f"Waveforms of {words}", {"200": view}, ID),
        },
        "/{file}": {
            "get": _operation(f"One of {words}", {"200": stem}, ID, STEM, FORMAT),
        },
        ".zip": {
            "get": _operation(f"All of {words}", {"200": archive}, ID, FORMAT),
        },
    }


STREAM = _file(
    "text/event-stream",
    "Events, each with a Job in JSON as its data: one at the start, and one at each "
    "change until all jobs are finished. A job that does not exist has one event with "
    "Gone.",
)
BODY = {
    "required": True,
    "description": "The sound file itself, not a form.",
    "content": {
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
    },
}
PATHS: dict[str, Any] = {
    "/api/openapi.json": {
        "get": _operation(
            "This document", {"200": {"description": "OpenAPI 3.1 in JSON."}}
        )
    },
    "/api/models": {
        "get": _operation(
            "Models, formats and limits",
            {"200": _json("Models", "What the server offers.")},
        )
    },
    "/api/events": {"get": _operation("Watch several jobs", {"200": STREAM}, WATCHED)},
    "/api/jobs": {
        "post": _operation(
            "Upload a song", {"202": _json("Job", "Queued.")}, MODEL, requestBody=BODY
        )
    },
    "/api/jobs/{id}": {
        "get": _operation("State of a job", {"200": _json("Job", "The state.")}, ID),
        "delete": _operation(
            "Remove a job and its files", {"204": {"description": "Removed."}}, ID
        ),
    },
    "/api/jobs/{id}/cancel": {
        "post": _operation("Cancel a job", {"200": _json("Job", "Cancelled.")}, ID)
    },
    "/api/jobs/{id}/events": {"get": _operation("Watch a job", {"200": STREAM}, ID)},
}
for word, words in (
    ("stems", "the stems of the song"),
    ("preview", "the stems of the loudest part"),
):
    for ending, operations in _part(words).items():
        PATHS[f"/api/jobs/{{id}}/{word}{ending}"] = operations

DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {
        "title": TITLE,
        "version": common.__version__,
        "description": "Songs in, stems out. curl --data-binary @song.mp3 "
        "'http://127.0.0.1:8765/api/jobs?model=unmix/singing' makes a job.",
    },
    "paths": PATHS,
    "components": {"schemas": SCHEMAS},
}
