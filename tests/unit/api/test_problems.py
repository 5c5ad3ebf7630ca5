from __future__ import annotations

import pytest

from banger.api import bodies
from banger.api.problems import STATUS, problem, status_of
from banger.errors import BangerError, NotFound, families, from_dict

EXPECTED = {
    "invalid_input": 400,
    "permission_refused": 403,
    "not_found": 404,
    "already_exists": 409,
    "conflict": 409,
    "no_agent": 409,
    "daemon_stale": 412,
    "host_not_ready": 503,
    "deadline_exceeded": 504,
    "internal": 500,
    "failed": 500,
    "vmm_failed": 500,
}


@pytest.mark.parametrize(("code", "status"), EXPECTED.items())
def test_each_family_has_its_status(code: str, status: int) -> None:
    assert status_of(families()[code]("x")) == status


def test_every_error_class_gives_a_known_status_and_a_full_body() -> None:
    fields = set(bodies.Problem.__struct_fields__) - {"operation_id"}
    for cls in families().values():
        body = problem(cls("brief", cause="cause", resolution="resolution"))
        assert set(body) == fields
        assert body["status"] in {500, *STATUS.values()}


def test_a_problem_becomes_the_same_error_again() -> None:
    error = NotFound("no VM web", cause="there is none", resolution="banger ls", details="a\nb")
    body = problem(error)
    again = from_dict({key: value for key, value in body.items() if isinstance(value, str)})
    assert type(again) is NotFound
    assert again.as_dict() == error.as_dict()


def test_the_operation_is_named_where_there_is_one() -> None:
    error = BangerError("x")
    error.operation_id = "0123456789ab"  # type: ignore[attr-defined]
    assert problem(error)["operation_id"] == "0123456789ab"
