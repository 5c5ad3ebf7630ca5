from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banger.api import frames
from banger.errors import InvalidInput

FRAMES = st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.binary(max_size=300)), max_size=20)


@given(FRAMES, st.data())
def test_any_cut_of_the_stream_gives_the_same_frames(
    sent: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    stream = b"".join(frames.encode(channel, payload) for channel, payload in sent)
    decoder, got, at = frames.Decoder(), [], 0
    while at < len(stream):
        size = data.draw(st.integers(1, len(stream) - at))
        got += decoder.feed(stream[at : at + size])
        at += size
    assert got == sent
    assert decoder.pending == 0


@given(st.binary(max_size=2000))
def test_noise_is_refused_or_kept_but_never_crashes(noise: bytes) -> None:
    decoder = frames.Decoder()
    with contextlib.suppress(InvalidInput):
        got = decoder.feed(noise)
        assert sum(len(frame.payload) + 5 for frame in got) + decoder.pending == len(noise)


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.text())))
def test_control_messages_survive(message: dict[str, object]) -> None:
    (frame,) = frames.Decoder().feed(frames.encode_control(message))
    assert frame.channel == frames.CONTROL
    assert frames.decode_control(frame.payload) == message


def test_the_layout_is_as_documented() -> None:
    assert frames.encode(2, b"abc") == b"\x02\x00\x00\x00\x03abc"
    assert frames.encode(1, b"") == b"\x01\x00\x00\x00\x00"


def test_a_long_payload_is_cut_into_frames() -> None:
    payload = bytes(range(256)) * 4096 * 2 + b"x"
    got = frames.Decoder().feed(frames.encode(1, payload))
    assert [len(frame.payload) for frame in got] == [frames.MAX_PAYLOAD, frames.MAX_PAYLOAD, 1]
    assert b"".join(frame.payload for frame in got) == payload


def test_an_announced_giant_is_refused_before_it_is_stored() -> None:
    with pytest.raises(InvalidInput, match="malformed"):
        frames.Decoder().feed(b"\x01\x7f\xff\xff\xff")


def test_a_channel_of_the_other_direction_is_refused() -> None:
    with pytest.raises(InvalidInput):
        frames.Decoder(frozenset({0, 1})).feed(frames.encode(2, b"x"))


@pytest.mark.parametrize("payload", [b"", b"[]", b"3", b"\xff", b"{", b"[" * 100000])
def test_control_must_be_an_object(payload: bytes) -> None:
    with pytest.raises(InvalidInput):
        frames.decode_control(payload)


def test_a_control_message_is_never_cut() -> None:
    with pytest.raises(InvalidInput, match="too long"):
        frames.encode_control({"argv": ["x" * frames.MAX_PAYLOAD]})
    assert json.loads(frames.encode_control({"a": 1})[5:]) == {"a": 1}
