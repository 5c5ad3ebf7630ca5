"""Renders the OpenAPI 3.1 description from the endpoint table and the body types."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

import msgspec

from banger import __version__
from banger.api import bodies, requests
from banger.api.endpoint import Endpoint, Parameter
from banger.api.endpoints import ENDPOINTS
from banger.api.routes import FRAMES, PROBLEM
from banger.naming import NAME_PATTERN

_REFERENCE = "#/components/schemas/{name}"
_REF_SCHEMA = {
    "ref": ({"type": "string", "pattern": NAME_PATTERN}, "A name, an id, or 4 digits of it."),
    "id": ({"type": "string", "pattern": "^[0-9a-f]{4,12}$"}, "An id, or 4 digits of it."),
}
_DESCRIPTION = """Real virtual machines, over HTTP on one user's Unix socket.

What changes a VM or an image answers 202 with an Operation and goes on in the background; follow
it with `wait` or as events. Every error is a Problem with a stable `code`."""


def describe() -> dict[str, object]:
    """The whole description as JSON-ready data."""
    paths: dict[str, dict[str, object]] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    _, components = msgspec.json.schema_components(_body_types(), ref_template=_REFERENCE)
    _loosen_list(components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "banger",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "http://banger", "description": "the daemon's Unix socket"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": {"Problem": {"description": "An error", "content": _content(PROBLEM)}},
        },
    }


def _loosen_list(components: dict[str, dict[str, Any]]) -> None:
    """With ``?fields=`` a listed VM has only some of its fields."""
    listed = {key: value for key, value in components["VM"].items() if key != "required"}
    components["ListedVM"] = {**listed, "title": "ListedVM"}
    reference = {"$ref": _REFERENCE.format(name="ListedVM")}
    components["VMs"]["properties"]["vms"]["items"] = reference


def _body_types() -> list[type]:
    used = [endpoint.answer for endpoint in ENDPOINTS] + [endpoint.body for endpoint in ENDPOINTS]
    extra: list[type | None] = [bodies.Problem, requests.ExecStart, requests.ExecSignal]
    return [kind for kind in dict.fromkeys(used + extra) if kind is not None and kind is not bytes]


def _content(media_type: str, kind: type | None = None) -> dict[str, object]:
    schema: dict[str, object]
    if media_type == PROBLEM:
        schema = {"$ref": _REFERENCE.format(name="Problem")}
    elif kind is None or kind is bytes:
        binary = {"type": "string", "contentEncoding": "binary"}
        schema = {"type": "object"} if media_type == "application/json" else {"type": "string"}
        schema = dict(binary) if media_type == FRAMES else schema
    else:
        schema = {"$ref": _REFERENCE.format(name=kind.__name__)}
    return {media_type: {"schema": schema}}


def _operation(endpoint: Endpoint) -> dict[str, object]:
    success: dict[str, object] = {
        "description": "Accepted" if endpoint.status == 202 else "Success",
        "content": _content(endpoint.media_type, endpoint.answer),
    }
    responses: dict[str, object] = {str(endpoint.status): success}
    for status in endpoint.all_errors:
        responses[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "content": _content(PROBLEM),
        }
    described: dict[str, object] = {
        "operationId": endpoint.id,
        "summary": endpoint.summary,
        "parameters": [*_path_parameters(endpoint.path), *map(_parameter, endpoint.parameters)],
        "responses": responses,
    }
    if endpoint.description:
        described["description"] = endpoint.description
    if endpoint.body is not None:
        described["requestBody"] = {
            "required": endpoint.body_required,
            "content": _content(endpoint.body_type, endpoint.body),
        }
    return described


def _path_parameters(path: str) -> list[dict[str, object]]:
    found = []
    for name in re.findall(r"{(\w+)}", path):
        schema, description = _REF_SCHEMA[name]
        found.append(
            {
                "name": name,
                "in": "path",
                "required": True,
                "schema": schema,
                "description": description,
            }
        )
    return found


def _parameter(parameter: Parameter) -> dict[str, object]:
    # Lists are written "a,b" and not as repeated parameters.
    style = {"style": "form", "explode": False} if parameter.schema["type"] == "array" else {}
    return {
        **style,
        "name": parameter.name,
        "in": parameter.place,
        "required": False,
        "schema": parameter.schema,
        "description": parameter.description,
    }
