from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banger.api import codec, requests
from banger.api.problems import Refusal
from banger.errors import InvalidInput


def refused(data: bytes) -> Refusal:
    with pytest.raises(Refusal) as raised:
        codec.decode(data, requests.CreateVM)
    return raised.value


def test_absent_fields_take_the_defaults() -> None:
    body = codec.decode(b"{}", requests.CreateVM)
    assert (body.name, body.vcpus, body.memory_mib, body.network) == ("", 2, 1024, "auto")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"vcpus": 0}, "vcpus"),
        ({"vcpus": 17}, "vcpus"),
        ({"vcpus": "2"}, "vcpus"),
        ({"vcpus": 2.5}, "vcpus"),
        ({"memory_mib": 32769}, "memory_mib"),
        ({"overlay_bytes": 0}, "overlay_bytes"),
        ({"name": "-x"}, "name"),
        ({"name": "Ünïcode"}, "name"),
        ({"name": "a" * 65}, "name"),
        ({"rootfs": "relative"}, "rootfs"),
        ({"kernel": "/a\x00b"}, "kernel"),
        ({"kernel": "/" + "a" * 4096}, "kernel"),
        ({"network": "bridge"}, "network"),
        ({"vmm": "../x"}, "vmm"),
        ({"name": None}, "name"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(fields: dict[str, object], named: str) -> None:
    refusal = refused(json.dumps(fields).encode())
    assert refusal.status == 422
    assert named in refusal.error.brief
    assert refusal.error.cause
    assert refusal.error.resolution


def test_an_unknown_field_is_refused() -> None:
    refusal = refused(b'{"vcpu": 2}')
    assert refusal.status == 422
    assert "vcpu" in refusal.error.cause


@pytest.mark.parametrize("data", [b"", b"{", b"nonsense", b"\xff\xfe", b'{"name":"\\ud800"}'])
def test_what_is_no_json_is_400(data: bytes) -> None:
    assert refused(data).status == 400


@pytest.mark.parametrize("data", [b"[]", b"3", b"null", b'"x"'])
def test_json_that_is_no_object_is_422(data: bytes) -> None:
    assert refused(data).status == 422


@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"name":' * 100_000])
def test_deep_nesting_is_refused(data: bytes) -> None:
    assert refused(data).status in {400, 422}


@given(st.binary(max_size=200))
def test_no_body_crashes_the_decoder(data: bytes) -> None:
    with contextlib.suppress(Refusal):
        codec.decode(data, requests.BuildImage)


def test_flags_and_numbers_of_the_query() -> None:
    assert codec.flag({"force": "true"}, "force")
    assert not codec.flag({}, "force")
    assert codec.number({"wait": "1.5"}, "wait", 0, 60) == 1.5
    assert codec.number({}, "wait", 0, 60) == 0
    assert codec.whole_number({"lines": "12"}, "lines", 100) == 12


@pytest.mark.parametrize(
    "value", ["", "yes", "True", "1", "nan", "inf", "-1", "1_0", " 1", "٣", "1e999", "61"]
)
def test_odd_values_of_the_query_are_refused(value: str) -> None:
    with pytest.raises(InvalidInput):
        codec.flag({"x": value}, "x")
    if value != "1":
        with pytest.raises(InvalidInput):
            codec.number({"x": value}, "x", 0, 60)


@pytest.mark.parametrize("value", ["", "-1", "1.0", "+1", "1" * 5000, "٣", "101"])
def test_odd_whole_numbers_are_refused(value: str) -> None:
    with pytest.raises(InvalidInput):
        codec.whole_number({"x": value}, "x", 100)


def test_the_media_type_may_carry_parameters() -> None:
    codec.check_media_type("Application/JSON; charset=utf-8")
    for wrong in ("", "text/plain", "application/jsonx"):
        with pytest.raises(Refusal) as raised:
            codec.check_media_type(wrong)
        assert raised.value.status == 415
