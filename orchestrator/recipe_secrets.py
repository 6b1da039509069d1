"""The texts of a recipe's secrets, masked wherever they are found.

Wherever the text of a secret would be shown or kept, `***` is. A secret is found as it is, as JSON,
a URL or Python writes it, as base64 (within longer base64 too), and line by line if it has several
lines of at least 8 characters. One of fewer than 4 characters is looked for as a whole word, and as
it is, only: anything else would mask half of every text. What is computed from a secret in any
other way is not found.

A text that comes in pieces, as output, is masked as it passes: what might be the beginning of a
secret is held back until more comes or the text ends.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import quote, quote_plus

MASK: Final = "***"
SHORT: Final = 4
"""Characters below which a secret is masked as a whole word only."""

_SHORTEST_LINE: Final = 8
_SHORTEST_ENCODED: Final = 5
_MOST_HELD: Final = 64 * 1024

Spans = list[tuple[int, int]]


class Masker:
    """Masks the texts of secrets; false when there is nothing to mask.

    Args:
        secrets: Texts and numbers, or lists and dicts of them.
    """

    def __init__(self, secrets: Iterable[Any]) -> None:
        texts = {text for secret in secrets for text in _texts_in(secret)}
        self._words = {text for text in texts if len(text) < SHORT}
        forms = {form for text in texts - self._words for form in _forms_of(text)}
        self.forms = sorted(forms | self._words, key=len, reverse=True)
        self._whole = texts
        self._firsts = {form[0] for form in self.forms}

    def __bool__(self) -> bool:
        return bool(self.forms)

    def mask_text(self, text: str) -> str:
        """The text without secrets."""
        return _masked(text, self.spans(text))

    def mask_value(self, value: Any) -> Any:
        """A value as JSON can hold it, without secrets, whether in keys or values."""
        if isinstance(value, str):
            return self.mask_text(value)
        if isinstance(value, dict):
            return {self.mask_value(key): self.mask_value(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.mask_value(each) for each in value]
        if isinstance(value, int | float) and str(value) in self._whole:
            return value if isinstance(value, bool) else MASK
        return value

    def spans(self, text: str, before: str = "") -> Spans:
        """Where secrets are in a text that comes after `before`: from, to, not overlapping."""
        found = []
        for form in self.forms:
            at = text.find(form)
            while at >= 0:
                end = at + len(form)
                if form not in self._words or _is_word(text, at, end, before):
                    found.append((at, end))
                at = text.find(form, at + 1)
        merged: Spans = []
        for start, end in sorted(found):
            if merged and start < merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged

    def beginning_at(self, text: str) -> int:
        """From where on the end of a text may be the beginning of a secret; else its length."""
        longest = len(self.forms[0]) if self.forms else 0
        for at in range(max(0, len(text) - longest), len(text)):
            if text[at] not in self._firsts:
                continue
            rest = text[at:]
            for form in self.forms:
                if form.startswith(rest) and (len(rest) < len(form) or form in self._words):
                    return at
        return len(text)


class MaskingStream:
    """Masks a text that comes in pieces, wherever it is cut."""

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self._before = ""
        self._held = ""

    def feed(self, text: str) -> str:
        """What can be shown of the text until now."""
        text = self._held + text
        spans = self._masker.spans(text, self._before)
        end = self._masker.beginning_at(text)
        end = next((start for start, stop in spans if start < end < stop), end)
        if len(text) - end > _MOST_HELD:  # the same few characters, over and over
            end = len(text)
        self._held = text[end:]
        self._before = text[end - 1 : end] or self._before
        return _masked(text[:end], [span for span in spans if span[1] <= end])

    def rest(self) -> str:
        """What was held back; the text has ended."""
        text, self._held = self._held, ""
        return _masked(text, self._masker.spans(text, self._before))


def _masked(text: str, spans: Spans) -> str:
    if not spans:
        return text
    pieces, end = [], 0
    for start, stop in spans:
        pieces += [text[end:start], MASK]
        end = stop
    return "".join([*pieces, text[end:]])


def _is_word(text: str, start: int, end: int, before: str) -> bool:
    left = text[start - 1 : start] if start else before[-1:]
    right = text[end : end + 1]
    return not any(each.isalnum() or each == "_" for each in (left, right) if each)


def _texts_in(secret: Any) -> Iterator[str]:
    """The texts that make up a secret value; true, false and null are in everything."""
    if isinstance(secret, dict | list | tuple):
        for each in secret.values() if isinstance(secret, dict) else secret:
            yield from _texts_in(each)
    elif secret is not None and not isinstance(secret, bool):
        text = str(secret)
        yield from {each for each in (text, text.strip()) if each}
        lines = text.splitlines()
        if len(lines) > 1:
            yield from (line.strip() for line in lines if len(line.strip()) >= _SHORTEST_LINE)


def _forms_of(text: str) -> Iterator[str]:
    """A text as it is, and as it is written by others."""
    data = text.encode("utf-8", "surrogatepass")
    forms = {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
    forms |= {repr(text)[1:-1], repr(data)[2:-1]}
    for quoted in (quote(data, safe=""), quote(data), quote_plus(data)):
        forms |= {quoted, _lower_escapes(quoted)}
    yield from forms
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + data).decode()
        # what of it depends neither on the bytes before nor on those behind
        inner = encoded[-(-8 * offset // 6) : 8 * (offset + len(data)) // 6]
        if len(inner) >= _SHORTEST_ENCODED:
            yield from {inner, inner.translate({ord("+"): "-", ord("/"): "_"})}


def _lower_escapes(quoted: str) -> str:
    """`%2F` as `%2f`."""
    first, *rest = quoted.split("%")
    return "%".join([first, *(each[:2].lower() + each[2:] for each in rest)])
