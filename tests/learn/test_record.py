"""Call records, as JSON and back."""

import json
import time
from datetime import UTC, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetagent.errors import InputError
from hetagent.learn.record import CallError, CallRecord, Usage, new_id

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
RECORDS = st.builds(
    CallRecord,
    id=st.builds(new_id),
    time=st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5))])),
    form=st.sampled_from(["openai.chat", "anthropic.messages"]),
    source=st.just("import"),
    model=st.text(),
    request=st.dictionaries(st.text(), JSON, max_size=3),
    response=st.none() | st.dictionaries(st.text(), JSON, max_size=3),
    error=st.none() | st.builds(CallError, st.text(), st.none() | st.integers(400, 599), st.text()),
    usage=st.builds(Usage, st.none() | st.integers(0, 10**9)),
    seconds=st.none() | st.floats(0, 1e6),
    tags=st.dictionaries(st.text(), st.text(), max_size=3),
    redacted=st.none() | st.dictionaries(st.text(), st.integers(0, 9), max_size=3),
)


@given(RECORDS)
def test_a_record_survives_json(record):
    assert CallRecord.from_dict(json.loads(record.to_json())) == record


def test_ids_rise_and_are_uuids_of_version_7():
    first = new_id()
    time.sleep(0.002)
    second = new_id()
    assert first < second
    assert UUID(first).version == 7
    assert UUID(first).variant == "specified in RFC 4122"


def test_what_is_no_record_is_refused():
    with pytest.raises(InputError, match="format"):
        CallRecord.from_dict({"messages": []})
    with pytest.raises(InputError, match="broken"):
        CallRecord.from_dict({"format": 1, "id": "x"})
