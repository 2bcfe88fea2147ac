"""A file is there whole or not at all."""

import os
import threading
from pathlib import Path

import pytest

from hetagent.files import write_whole


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path):
    path = tmp_path / "a.json"
    for text in ("one", "zwölf\n"):
        assert write_whole(path, text) == path
        assert path.read_text(encoding="utf-8") == text
    assert os.listdir(tmp_path) == ["a.json"]


def test_where_it_fails_the_old_content_stays_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = write_whole(tmp_path / "a.json", "old")

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_of_several_writers_at_once_one_is_the_last(tmp_path: Path):
    path, failed = tmp_path / "a.json", []
    texts = [str(number) * 5000 for number in range(8)]

    def write(text: str) -> None:
        try:
            for _ in range(30):
                write_whole(path, text)
        except OSError as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert path.read_text() in texts
    assert os.listdir(tmp_path) == ["a.json"]
