"""What waits to be recorded, and what is on its way, never takes more memory than it may."""

from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from hetagent.gateway import HttpUpstream, Limits
from hetagent.gateway.room import Room
from tests.support.gateways import served
from tests.support.stream_server import Piecewise, StreamServer

CHAT = "/v1/chat/completions"
ASKED = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "stream": True}
SSE = (("Content-Type", "text/event-stream"),)


@given(st.integers(1, 100), st.lists(st.integers(1, 60)))
def test_no_more_is_taken_than_there_is(size, wanted):
    room = Room(size)
    taken = [one for one in wanted if room.take(one)]
    assert sum(taken) + room.left == size
    assert room.left >= 0
    for one in taken:
        room.give(one)
    assert room.left == size


def test_streams_under_way_share_the_room_and_give_it_back():
    with StreamServer() as upstream:
        gate = upstream.gate()
        pieces = [b": " + b"x" * 30_000 + b"\n\n", b"data: [DONE]\n\n"]
        upstream.reply = lambda got: Piecewise(pieces, headers=SSE, gate=gate)
        limits = Limits(record_bytes=100_000)
        with served(HttpUpstream(upstream.url), limits=limits) as gateway:
            room = gateway.gateway._tap._room
            with ThreadPoolExecutor(8) as pool:
                answers = [pool.submit(gateway.post, CHAT, ASKED) for _ in range(8)]
                assert upstream.wait_for(lambda: upstream.most_at_once == 8)
                # All of them hold their first piece; each would fit alone.
                assert upstream.wait_for(lambda: room.left < 30_000)
                gate.open()
                # Those that are not recorded are answered as well.
                assert {one.result().content for one in answers} == {b"".join(pieces)}
            assert upstream.wait_for(lambda: gateway.status()["records"]["lost"] == 5)
            assert len(gateway.records(3)) == 3
            assert upstream.wait_for(lambda: room.left == 100_000)
            gateway.record_of(gateway.post(CHAT, ASKED))


def test_tiny_pieces_count_for_what_they_really_take():
    with StreamServer() as upstream:
        upstream.reply = lambda got: Piecewise([b"\n"] * 2000, headers=SSE)
        limits = Limits(record_bytes=50_000)
        with served(HttpUpstream(upstream.url), limits=limits) as gateway:
            assert gateway.post(CHAT, ASKED).content == b"\n" * 2000
            assert upstream.wait_for(lambda: gateway.status()["records"]["lost"] == 1)
