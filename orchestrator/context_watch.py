"""Who is told when a key of a context changes.

Own changes (made through the same `Context` object) are told one by one, in their order, in the
thread that makes them, before the call that makes them returns. Those of others - other objects,
processes, the parameter command line - are found by comparing the context with what was told last:
before each own change, and by a thread that looks at the file every LOOK_EVERY seconds while anyone
is subscribed. So the newest value always arrives; values in between may be left out.
"""

from __future__ import annotations

import fnmatch
import logging
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from octo_errors import OctoError, UsageError
from octo_parameter_store import same_value
from octo_signature import signature_of

LOOK_EVERY: Final = 0.05  # seconds
_STAMPS_DIFFER_AFTER: Final = 0.1  # seconds: two writes within a clock tick may look like one


class _Gone:
    """A class, because a copy of a class is the class itself."""


GONE: Final[Any] = _Gone
"""In the place of a value: the key is not there."""

News = tuple[str, Any, str]
"""Key, new value (GONE when it was deleted), and who changed it ("" when that isn't known)."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Subscription:
    pattern: str
    callback: Callable[..., object]
    arguments: int

    def tell(self, news: News) -> None:
        key, value, who = news
        if key != self.pattern and not fnmatch.fnmatchcase(key, self.pattern):
            return
        given = (key, None if value is GONE else value, who)
        try:
            self.callback(*given[: self.arguments])
        except Exception:
            _log.exception("a subscriber to %r failed at a change of %r", self.pattern, key)


class Subscribers:
    """The subscriptions of one context object. All methods may be called from any thread.

    Args:
        read: The whole context as it is now.
        stamp: Something that differs whenever others may have changed it, and the time of that
            change in seconds since 1970; None where there are no others.
    """

    def __init__(
        self,
        read: Callable[[], dict[str, Any]],
        stamp: Callable[[], tuple[object, float]] | None,
    ) -> None:
        self.lock = threading.RLock()
        """Held while callbacks run, and around a change and the telling of it."""
        self._read = read
        self._stamp = stamp
        self._subscriptions: list[_Subscription] = []
        self._told: dict[str, Any] = {}
        self._seen: object = None
        self._idle: threading.Event | None = None

    def __bool__(self) -> bool:
        return bool(self._subscriptions)

    def add(self, pattern: str, callback: Callable[..., object]) -> Callable[[], None]:
        """Tell `callback` of changes of the keys that `pattern` names; returns what ends that.

        Raises:
            UsageError: It can't be called with a key and a value.
        """
        subscription = _Subscription(pattern, callback, _arguments_of(callback))
        with self.lock:
            if not self._subscriptions:
                self._told = self._read()
                self._start_watching()
            self._subscriptions.append(subscription)

        def unsubscribe() -> None:
            with self.lock:
                if subscription in self._subscriptions:
                    self._subscriptions.remove(subscription)
                if not self._subscriptions and self._idle is not None:
                    self._idle.set()

        return unsubscribe

    def poll(self) -> None:
        """Tell what others have changed since the last look."""
        with self.lock:
            if self._subscriptions:
                self.tell(self.news(self._read()))

    def news(self, now: Mapping[str, Any]) -> list[News]:
        """What differs from what was told last."""
        changed = [
            (key, value, "")
            for key, value in now.items()
            if not same_value(self._told.get(key, GONE), value)
        ]
        return changed + [(key, GONE, "") for key in self._told if key not in now]

    def tell(self, news: list[News]) -> None:
        """Call the callbacks; the caller has the lock."""
        for key, value, _ in news:
            if value is GONE:
                self._told.pop(key, None)
            else:
                self._told[key] = value
        for each in news:
            for subscription in tuple(self._subscriptions):
                subscription.tell(each)

    def _start_watching(self) -> None:
        if self._stamp is None:
            return
        self._idle = threading.Event()
        arguments = (weakref.ref(self), self._idle)
        threading.Thread(
            target=_watch, args=arguments, name="octo-context-watch", daemon=True
        ).start()

    def look(self) -> None:
        """Poll, if the stamp says that there may be something new."""
        if self._stamp is None:
            return
        try:
            stamp, changed_at = self._stamp()
            if stamp != self._seen or time.time() - changed_at < _STAMPS_DIFFER_AFTER:
                self.poll()
            self._seen = stamp
        except (OctoError, OSError) as error:
            _log.warning("changes of the context can't be watched: %s", error)


def _watch(subscribers: weakref.ref[Subscribers], idle: threading.Event) -> None:
    """Looks until nobody is subscribed; a context that is not used any more ends it too."""
    while not idle.wait(LOOK_EVERY):
        each = subscribers()
        if each is None:
            return
        each.look()
        del each


def _arguments_of(callback: Callable[..., object]) -> int:
    """How many of key, value and who it takes."""
    if callable(callback):
        try:
            signature = signature_of(callback)
        except ValueError:  # a built-in that doesn't say
            return 2
        for count in (3, 2):
            try:
                signature.bind(*range(count))
            except TypeError:
                continue
            return count
    raise UsageError(
        f"{callback!r} can't be told of changes",
        hint="give a function of (key, value) or (key, value, who)",
    )
