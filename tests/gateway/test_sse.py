"""Server-sent events are read alike however the bytes are cut."""

from hypothesis import given
from hypothesis import strategies as st

from hetagent.gateway.sse import Event, EventReader, event_bytes
from tests.support.stream_server import cut

TEXTS = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]))
LINES = st.lists(TEXTS, min_size=1).map("\n".join)
EVENTS = st.lists(st.builds(Event, data=LINES, name=TEXTS))


def read(pieces: list[bytes]) -> list[Event]:
    reader = EventReader()
    found = [event for piece in pieces for event in reader.feed(piece)]
    return found + reader.end()


@given(EVENTS, st.lists(st.integers(0)), st.sampled_from(["\n", "\r\n", "\r"]))
def test_what_is_written_is_read_again_in_any_cut(events, places, line_end):
    events = [Event(one.data, one.name.lstrip(" ")) for one in events]
    data = b"".join(map(event_bytes, events)).replace(b"\n", line_end.encode())
    if data.startswith(b"\xef\xbb\xbf"):
        return  # a byte order mark is no part of the stream
    assert read(cut(data, places)) == events


def test_comments_and_unknown_fields_are_passed_over():
    data = b": hello\nid: 4\nretry: 10\ndata:x\n\n: bye\n\n"
    assert read([data]) == [Event("x")]


def test_an_event_whose_empty_line_is_missing_is_read_at_the_end():
    assert read([b"data: a\n\ndata: b"]) == [Event("a"), Event("b")]


def test_a_character_that_is_cut_in_two_is_one():
    data = event_bytes(Event("Zürich"))
    place = data.index(b"\xc3") + 1
    assert read([data[:place], data[place:]]) == [Event("Zürich")]
