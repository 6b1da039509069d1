from __future__ import annotations

import json
from pathlib import Path

import pytest

from octo_errors import InstanceError
from octo_pin_file import FORMAT, read_pin_file

PIN = {"format": FORMAT, "files": {"a.py": "1"}}
KINDS = {"files": dict}


def test_a_pin_is_what_was_kept(tmp_path: Path) -> None:
    file = tmp_path / "pin.json"
    file.write_text(json.dumps(PIN))
    assert read_pin_file(file, KINDS, hint="put it back") == PIN
    with pytest.raises(FileNotFoundError):
        read_pin_file(tmp_path / "none.json", KINDS, hint="put it back")


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("", "can't be read", "put it back"),
        ("[" * 100_000, "can't be read", "put it back"),
        ("[]", "no JSON object", "put it back"),
        ("{}", "'files' is missing or wrong", "put it back"),
        (json.dumps({**PIN, "files": []}), "'files' is missing or wrong", "put it back"),
        (json.dumps({**PIN, "format": FORMAT + 1}), "made by a newer version", "upgrade"),
        (json.dumps({**PIN, "format": "one"}), "made by a newer version", "upgrade"),
    ],
)
def test_what_is_no_pin_is_refused(tmp_path: Path, text: str, said: str, hint: str) -> None:
    file = tmp_path / "pin.json"
    file.write_text(text)
    with pytest.raises(InstanceError, match=said) as caught:
        read_pin_file(file, KINDS, hint="put it back")
    assert caught.value.message.startswith(f"{file}: ")
    assert hint in caught.value.hint
