from __future__ import annotations

import base64
import json
import re
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.recipe_secrets import MASK, Masker, MaskingStream

SECRET = 'p"ä/ss+\\w rd=%1'


def shown(secret: Any, text: str) -> str:
    return Masker([secret]).mask_text(text)


# --- what is found ---


@pytest.mark.parametrize(
    "written",
    [
        SECRET,
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        repr([SECRET]),
        repr(SECRET.encode()),
        quote(SECRET, safe=""),
        quote(SECRET),
        quote_plus(SECRET),
        re.sub("%..", lambda found: found[0].lower(), quote(SECRET, safe="")),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
        *(base64.b64encode(b"user:"[:n] + SECRET.encode() + b"!").decode() for n in range(5)),
    ],
)
def test_a_secret_is_found_as_others_write_it(written: str) -> None:
    masked = shown(SECRET, f"before {written} after")
    assert masked.startswith("before ") and masked.endswith(" after")
    assert MASK in masked
    assert len(masked) <= len("before  after") + len(MASK) + 8


def test_each_long_line_of_a_secret_is_a_secret() -> None:
    secret = "-----BEGIN-----\nMIIEvQIBADANBg\nshort\n"
    assert shown(secret, "x MIIEvQIBADANBg y") == "x *** y"
    assert shown(secret, "short") == "short"
    assert shown(secret, f"[{secret}]") == "[***]"


def test_a_secret_is_found_without_the_blanks_around_it() -> None:
    assert shown("  token42\n", "a token42 b") == "a *** b"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("ab", "***"), ("cab", "cab"), ("abc", "abc"), ("x=ab;", "x=***;"), ("ab_ ab", "ab_ ***")],
)
def test_a_short_secret_is_masked_as_a_whole_word(text: str, expected: str) -> None:
    assert shown("ab", text) == expected


def test_secrets_that_overlap_are_masked_together() -> None:
    assert Masker(["abcd", "cdefg"]).mask_text("xabcdefgx") == "x***x"
    assert shown("aaaa", "aaaaaa") == "***"


def test_numbers_and_what_is_in_lists_and_dicts_are_secrets_keys_and_flags_are_not() -> None:
    masker = Masker([{"password": ["hunter22", 123456], "on": True, "none": None}])
    value = {"password": "x hunter22", "n": [123456, 7, True, None, 1.5], "hunter22": ()}
    assert masker.mask_value(value) == {
        "password": "x ***",
        "n": [MASK, 7, True, None, 1.5],
        MASK: [],
    }


def test_nothing_is_masked_without_secrets() -> None:
    nothing: list[list[Any]] = [[], [""], [None, True], [{}]]
    assert not any(Masker(each) for each in nothing)
    assert Masker([]).mask_value({"a": ["b"]}) == {"a": ["b"]}


# --- in pieces ---

alphabet = st.text(alphabet="ab ", min_size=1, max_size=8)


@given(
    secrets=st.lists(alphabet, min_size=1, max_size=3),
    pieces=st.lists(st.text(alphabet="ab c", max_size=12), max_size=8),
)
def test_wherever_it_is_cut_the_same_is_shown(secrets: list[str], pieces: list[str]) -> None:
    masker = Masker(secrets)
    stream = MaskingStream(masker)
    out = "".join([*(stream.feed(piece) for piece in pieces), stream.rest()])
    assert out == masker.mask_text("".join(pieces))


@given(st.text(min_size=4, max_size=20), st.text(), st.text(), st.data())
def test_no_cut_lets_a_secret_through(secret: str, left: str, right: str, data: Any) -> None:
    text = left + secret + right
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    stream = MaskingStream(Masker([secret]))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    out = "".join([*(stream.feed(piece) for piece in pieces), stream.rest()])
    assert secret not in out.replace(MASK, "") or set(secret) <= {"*"}


def test_what_can_be_no_secret_is_shown_at_once() -> None:
    stream = MaskingStream(Masker(["hunter22"]))
    assert stream.feed("hello hunt") == "hello "
    assert stream.feed("ing\n") == "hunting\n"
    assert stream.feed("hunter2") == ""
    assert stream.feed("2\n") == "***\n"
    assert stream.feed("h") == ""
    assert stream.rest() == "h"


def test_what_is_held_back_is_bounded() -> None:
    stream = MaskingStream(Masker(["a" * 100]))
    assert sum(len(stream.feed("a" * 20_000)) for _ in range(10)) > 0
    assert len(stream._held) <= 64 * 1024
