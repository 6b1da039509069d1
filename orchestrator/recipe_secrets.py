"""Secrets of a recipe, kept out of its results, errors, context and output.

Wherever the text of a secret would be shown or kept, `***` is. A secret is found as it is, as JSON,
a URL or Python writes it, as base64 (within longer base64 too), and line by line if it has several
lines of at least 8 characters. One of fewer than 4 characters is looked for as a whole word, and as
it is, only: anything else would mask half of every text. What is computed from a secret in any
other way is not found.

Output is masked as it passes: what might be the beginning of a secret is held back until more comes
or the step ends.
"""

from __future__ import annotations

import base64
import codecs
import io
import json
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final
from urllib.parse import quote, quote_plus

MASK: Final = "***"
SHORT: Final = 4
"""Characters below which a secret is masked as a whole word only."""

_SHORTEST_LINE: Final = 8
_SHORTEST_ENCODED: Final = 5
_MOST_HELD: Final = 64 * 1024
_CHUNK: Final = 64 * 1024
_LAST_OUTPUT_S: Final = 1.0

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


class MaskedText(io.TextIOBase):
    """A text stream, as `sys.stdout`, that masks what is written before `inner` gets it."""

    def __init__(self, inner: Any, masker: Masker) -> None:
        self._inner = inner
        self._stream = MaskingStream(masker)
        self._lock = threading.Lock()
        self.buffer = _MaskedBytes(self)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """As bytes are read that are written to `buffer`."""
        return "utf-8"

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, text: str) -> int:
        """Show what can be shown of the text."""
        with self._lock:
            self._inner.write(self._stream.feed(text))
        return len(text)

    def flush(self) -> None:
        """Show what was written, but for what may be the beginning of a secret."""
        self._inner.flush()

    def finish(self) -> None:
        """Show what was held back."""
        self.buffer.finish()
        with self._lock, suppress(ValueError):  # the step has closed the stream
            self._inner.write(self._stream.rest())
            self._inner.flush()


class _MaskedBytes(io.RawIOBase):
    """What programs write bytes to, as `sys.stdout.buffer`."""

    def __init__(self, text: MaskedText) -> None:
        self._text = text
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._text.write(self._decoder.decode(bytes(data)))
        return len(data)

    def finish(self) -> None:
        self._text.write(self._decoder.decode(b"", final=True))


@contextmanager
def masked_output(masker: Masker, *, own_process: bool) -> Iterator[None]:
    """Mask what is written while the block runs.

    Args:
        masker: Masks nothing when it has no secrets; then nothing is done.
        own_process: The block has the process for itself: file descriptors 1 and 2 are masked, and
            so are child processes. Otherwise `sys.stdout` and `sys.stderr` are, for the calling
            thread where threads have streams of their own.
    """
    if not masker:
        yield
    elif own_process:
        with _masked_descriptors(masker):
            yield
    else:
        with _masked_streams(masker):
            yield


@contextmanager
def _masked_streams(masker: Masker) -> Iterator[None]:
    exchange = getattr(sys.stdout, "exchange", None)
    if exchange is not None:  # one stream per thread, for both
        inner = exchange(None)
        masked = [MaskedText(inner, masker)]
        exchange(masked[0])
        try:
            yield
        finally:
            masked[0].finish()
            exchange(inner)
        return
    outer = (sys.stdout, sys.stderr)
    masked = [MaskedText(stream, masker) for stream in outer]
    sys.stdout, sys.stderr = masked
    try:
        yield
    finally:
        sys.stdout, sys.stderr = outer
        for each in masked:
            each.finish()


@contextmanager
def _masked_descriptors(masker: Masker) -> Iterator[None]:
    """Both descriptors become a pipe, which a thread copies to where descriptor 1 led.

    A child process that outlives the block goes on writing through the pipe and the thread. What a
    thread that outlives it writes meanwhile is lost: nothing would mask it.
    """
    _flush()
    kept = (os.dup(1), os.dup(2))
    reader, writer = os.pipe()
    pump = threading.Thread(
        target=_pump, args=(reader, os.dup(1), masker), name="octo-mask", daemon=True
    )
    pump.start()
    for descriptor in (1, 2):
        os.dup2(writer, descriptor)
    os.close(writer)
    try:
        yield
    finally:
        _flush()
        _silence()
        pump.join(_LAST_OUTPUT_S)
        _flush()
        for descriptor, old in zip((1, 2), kept, strict=True):
            os.dup2(old, descriptor)
            os.close(old)


def _pump(reader: int, target: int, masker: Masker) -> None:
    """Copies to its end what is written to a pipe, masked; closes both."""
    stream = MaskingStream(masker)
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    try:
        while data := os.read(reader, _CHUNK):
            _write_all(target, stream.feed(decoder.decode(data)))
        _write_all(target, stream.feed(decoder.decode(b"", final=True)) + stream.rest())
    except OSError:  # the disk is full: let the step go on, as with a log of its own
        with suppress(OSError):
            while os.read(reader, _CHUNK):
                pass
    finally:
        os.close(reader)
        os.close(target)


def _write_all(target: int, text: str) -> None:
    data = text.encode("utf-8", "surrogateescape")
    while data:
        data = data[os.write(target, data) :]


def _silence() -> None:
    """Let descriptors 1 and 2 lead nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # closed, or replaced by something that is no stream
            stream.flush()


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
