from __future__ import annotations

import json
from typing import Any

from banger.api import bodies, routes
from banger.api.endpoints import ENDPOINTS
from banger.api.openapi import describe
from banger.daemon.application import ROUTES

METHODS = ("get", "post", "put", "patch", "delete")


def test_what_is_served_is_described_and_the_other_way_round() -> None:
    served = {
        (method, path)
        for path, endpoint in ROUTES.items()
        for method in METHODS
        if hasattr(endpoint, method)
    }
    described = {(endpoint.method.lower(), endpoint.path) for endpoint in ENDPOINTS}
    assert served == described


def test_every_route_is_served() -> None:
    paths = {
        value for name, value in vars(routes).items() if name.isupper() and str(value)[:1] == "/"
    }
    assert paths == set(ROUTES)


def test_references_lead_somewhere_and_ids_are_unique() -> None:
    document: Any = describe()
    text = json.dumps(document)
    for reference in text.split('"$ref": "#/')[1:]:
        node = document
        for part in reference.partition('"')[0].split("/"):
            node = node[part]
    ids = [endpoint.id for endpoint in ENDPOINTS]
    assert len(ids) == len(set(ids))


def test_limits_are_those_of_the_bodies() -> None:
    document: Any = describe()
    create = document["components"]["schemas"]["CreateVM"]
    assert create["additionalProperties"] is False
    assert create["properties"]["vcpus"]["maximum"] == 16
    listed = document["components"]["schemas"]["ListedVM"]
    assert "required" not in listed
    assert set(listed["properties"]) == set(bodies.VM.__struct_fields__)


def test_errors_are_problems_everywhere() -> None:
    document: Any = describe()
    for item in document["paths"].values():
        for operation in item.values():
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    assert list(answer["content"]) == [routes.PROBLEM]
            assert {"403", "500", "503"} <= set(operation["responses"])
