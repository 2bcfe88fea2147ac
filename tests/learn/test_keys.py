"""Keys: their form, and the places where they are kept."""

import os
import stat

import keyring
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked

from hetagent.errors import StoreError
from hetagent.learn.keys import (
    EnvironmentKeys,
    FolderKeys,
    Key,
    KeyringKeys,
    Keys,
    KeySource,
    key_source,
)

SECRETS = st.binary(min_size=32, max_size=32)


class InMemory(KeyringBackend):
    """A keyring as the package `keyring` has its backends."""

    priority = 1

    def __init__(self):
        super().__init__()
        self.held = {}
        self.locked = False

    def get_password(self, service, username):
        if self.locked:
            raise KeyringLocked("locked")
        return self.held.get((service, username))

    def set_password(self, service, username, password):
        self.held[service, username] = password


@pytest.fixture
def in_memory():
    before, backend = keyring.get_keyring(), InMemory()
    keyring.set_keyring(backend)
    yield backend
    keyring.set_keyring(before)


@given(st.lists(SECRETS, min_size=1, max_size=4))
def test_keys_survive_being_written(secrets):
    keys = Keys(tuple(Key(secret) for secret in secrets))
    assert Keys.from_text(keys.to_text()) == keys
    assert Keys.from_text(",".join(key.to_text() for key in keys.all)) == keys


@given(SECRETS)
def test_printing_a_key_or_its_id_does_not_show_it(secret):
    key = Key(secret)
    for shown in (repr(key), str(Keys((key,))), key.id):
        assert key.to_text() not in shown
        assert secret.hex() not in shown
    assert key.id not in secret.hex()


def test_ids_follow_from_keys():
    secret = os.urandom(32)
    assert Key(secret).id == Key(secret).id != Key.new().id


@pytest.mark.parametrize("text", ["", "abc", "not base64!", "AAAA"])
def test_what_is_no_key_is_refused_without_being_shown(text):
    with pytest.raises(StoreError) as caught:
        Keys.from_text(text)
    assert "new-key" in caught.value.hint
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize("kind", ["folder", "keyring", "environment"])
def test_a_source_gives_back_what_it_was_given(kind, tmp_path, in_memory):
    folder = FolderKeys(tmp_path)
    source = {
        "folder": folder,
        "keyring": KeyringKeys(),
        "environment": EnvironmentKeys(folder, environment={}),
    }[kind]
    assert isinstance(source, KeySource)
    assert source.load("s", "records") is None
    keys = Keys((Key.new(),))
    source.save("s", "records", keys)
    assert source.load("s", "records") == keys
    assert source.load("s", "origins") is None
    assert source.load("other", "records") is None
    more = keys.with_new()
    source.save("s", "records", more)
    assert source.load("s", "records") == more
    assert "s.records" in source.place("s", "records")


def test_key_files_are_their_owners_alone(tmp_path):
    source = FolderKeys(tmp_path / "keys")
    source.save("s", "records", Keys((Key.new(),)))
    (file,) = (tmp_path / "keys").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    file.chmod(0o640)
    with pytest.raises(StoreError, match="Others than its owner") as caught:
        source.load("s", "records")
    assert "chmod 600" in caught.value.hint


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "keys").write_text("a file")
    with pytest.raises(StoreError, match="cannot be written"):
        FolderKeys(tmp_path / "keys").save("s", "records", Keys((Key.new(),)))


def test_variables_come_first_and_are_never_written(tmp_path):
    new, old, other = Key.new(), Key.new(), Key.new()
    folder = FolderKeys(tmp_path)
    folder.save("s", "records", Keys((other,)))
    folder.save("s", "origins", Keys((other,)))
    variables = {"HETAGENT_RECORDS_KEY": f"{new.to_text()}, {old.to_text()}"}
    source = EnvironmentKeys(folder, environment=variables)
    assert source.load("s", "records") == Keys((new, old))
    assert source.load("s", "origins") == Keys((other,))
    assert "HETAGENT_RECORDS_KEY" in source.place("s", "records")
    with pytest.raises(StoreError, match="HETAGENT_RECORDS_KEY"):
        source.save("s", "records", Keys((other,)))


def test_a_locked_keyring_is_told(in_memory):
    in_memory.locked = True
    with pytest.raises(StoreError, match="locked"):
        KeyringKeys().load("s", "records")


def test_one_variable_names_the_place_of_keys(tmp_path, monkeypatch, in_memory):
    for name in ("HETAGENT_RECORDS_KEY", "HETAGENT_ORIGINS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HETAGENT_KEYS", str(tmp_path))
    key_source().save("s", "records", Keys((Key.new(),)))
    assert (tmp_path / "s.records.key").is_file()
    monkeypatch.setenv("HETAGENT_KEYS", "keyring")
    assert key_source().load("s", "records") is None
    key_source().save("s", "records", Keys((Key.new(),)))
    assert list(in_memory.held) == [("hetagent", "s.records")]
