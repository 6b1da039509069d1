"""The output of a step, without the secrets of its recipe."""

from __future__ import annotations

import codecs
import io
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, Final

from orchestrator.recipe_secrets import Masker, MaskingStream

_CHUNK: Final = 64 * 1024
_LAST_OUTPUT_S: Final = 1.0


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


def masked_output(masker: Masker, *, own_process: bool) -> AbstractContextManager[None]:
    """Mask what is written while the block runs.

    Args:
        masker: Masks nothing when it has no secrets; then nothing is done.
        own_process: The block has the process for itself: file descriptors 1 and 2 are masked, and
            so are child processes. Otherwise `sys.stdout` and `sys.stderr` are, for the calling
            thread where threads have streams of their own.
    """
    if not masker:
        return nullcontext()
    return _masked_descriptors(masker) if own_process else _masked_streams(masker)


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
