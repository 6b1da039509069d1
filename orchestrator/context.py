"""The context: key-value data that the steps of a recipe share.

    context = Context("step_instances/run1")    # of an instance
    context = Context()                         # of this process alone, in memory
    context.set("rows", 17, who="load")
    context.get("rows", 0)

The context of an instance is the group `context` of its parameter file, so the parameter command
line shows and changes it, and any number of threads and processes use it at once. Rules that hold:

- A call that changes something is one transaction: when it returns the change is kept (it survives
  a kill), when it raises nothing was changed. Reading takes no lock and never waits.
- Values are what JSON can hold. What `get` returns belongs to the caller; to change it in there,
  `set` or `update` it.
- Setting a key to the value that it has is no change: it is not written, recorded or told.
- Keys are text; `a.b` is a key like any other.
- Changes are recorded with who made them: see `history`. What the parameter command line, or
  another program, writes into the group is in the context at once, but not in its history.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

from octo_errors import ParameterKeyError, ParameterValueError
from octo_instance_dir import InstanceDir
from octo_json_strict import JsonTextError, JsonValueError, dump_value, parse_value
from octo_lock_json import LockedJsonFile, speed_up
from octo_parameter_schema import GLOBAL_GROUP
from octo_parameter_store import same_value
from octo_timestamp import timestamp
from orchestrator.context_history import Change, FileHistory, MemoryHistory, brief
from orchestrator.context_watch import GONE, News, Subscribers

CONTEXT_GROUP: Final = "context"
COUNT_KEY: Final = "context_change_count"
"""In the global group: how many changes of the context have come to be."""

Values = dict[str, Any]


class Context:
    """The data that steps share. Safe to share among threads; cheap to make.

    All that change it raise ParameterValueError for a value that JSON can't hold, ParameterKeyError
    for a key that is no text, and, for an instance, LockTimeoutError and ParameterFileError as the
    parameter file does. Reading raises ParameterFileError.

    Args:
        path: An instance's directory; None: the data is in memory, and ends with this object.
        who: Who makes the changes, where a call doesn't say; in a recipe, the step that runs.
        clean: Is given every key, value and `who` before it is kept; returns what is to be kept.

    Raises:
        InstanceError: `path` is no instance.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        who: str = "",
        clean: Callable[[Any], Any] | None = None,
    ) -> None:
        self._who = who
        self._clean = clean
        self._store: _MemoryStore | _FileStore = (
            _MemoryStore() if path is None else _FileStore(InstanceDir(Path(path)))
        )
        self._subscribers = Subscribers(self._store.read, self._store.stamp)

    def named(self, who: str) -> Context:
        """The same data and subscribers, for changes that `who` makes."""
        other = Context.__new__(Context)  # as `copy` does, which takes longer than a short step
        vars(other).update(vars(self), _who=who)
        return other

    def __repr__(self) -> str:
        return f"Context({self._store.place!r})" if self._store.place else "Context()"

    # --- reading ---

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key, `default` if there is none."""
        return self._store.get(self._checked_key(key), default)

    def contains(self, key: str) -> bool:
        """Whether there is such a key."""
        return self._checked_key(key) in self._store.read()

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.contains(key)

    def keys(self) -> list[str]:
        """All keys, in the order in which they were added."""
        return list(self._store.read())

    def to_dict(self) -> Values:
        """All keys and values, in a dict that belongs to the caller."""
        return self._store.read()

    def to_json(self) -> str:
        """All keys and values as the text of a JSON object."""
        return dump_value(self._store.read())

    def history(self, key: str | None = None) -> list[Change]:
        """The changes, oldest first; with `key`, those of that key.

        Each is a dict of `ts` (UTC, ISO 8601), `seq` (counts the changes), `key`, `who`, `before`
        (None where there was no such key) and either `after`, or `deleted`: True. In the place of a
        value of more than 10,000 characters of JSON is `{"not_kept": what it was}`. The history is
        bounded: the newest 4 to 8 MiB are kept, and 10,000 changes in memory.
        """
        changes = self._store.changes()
        return changes if key is None else [each for each in changes if each["key"] == key]

    # --- changing ---

    def set(self, key: str, value: Any, who: str | None = None) -> None:
        """Give a key a value, which may be whatever JSON can hold."""
        key = self._checked_key(key)
        value = self._checked_value(key, value)
        self._change(lambda now: {key: value}, who)

    def delete(self, key: str, who: str | None = None) -> bool:
        """Take a key out; returns whether it was there."""
        key = self._checked_key(key)
        return bool(self._change(lambda now: {key: GONE}, who))

    def increment(self, key: str, by: float = 1, who: str | None = None) -> Any:
        """Add to a number, which is 0 where the key is missing; returns the sum.

        Raises:
            ParameterValueError: The key holds something else.
        """
        key = self._checked_key(key)

        def edit(now: Values) -> Values:
            value = now.get(key, 0)
            for number in (value, by):
                if type(number) not in (int, float):
                    raise ParameterValueError(
                        f"context key {key!r}: {number!r} is no number to count with",
                        hint="count with another key, or set this one to a number first",
                    )
            return {key: self._checked_value(key, value + by)}

        return self._update(key, edit, who)

    def update(self, key: str, function: Callable[[Any], Any], who: str | None = None) -> Any:
        """Replace the value of a key by what `function` makes of it (None where there is none).

        No other change comes in between. `function` must be quick, and must not use the context.

        Returns:
            The new value.
        """
        key = self._checked_key(key)
        return self._update(
            key, lambda now: {key: self._checked_value(key, function(deepcopy(now.get(key))))}, who
        )

    def from_dict(self, data: Mapping[str, Any], who: str | None = None) -> None:
        """Set all keys of `data` in one change; other keys stay as they are."""
        checked = {}
        for key, value in data.items():
            key = self._checked_key(key)
            checked[key] = self._checked_value(key, value)
        self._change(lambda now: checked, who)

    def from_json(self, text: str, who: str | None = None) -> None:
        """Set all keys of a JSON object, as `from_dict`.

        Raises:
            ParameterValueError: The text is no JSON object.
        """
        try:
            data = parse_value(text)
        except (JsonTextError, JsonValueError) as error:
            raise ParameterValueError(
                f"the text can't be taken over: {error}", hint="nothing was changed"
            ) from error
        if not isinstance(data, dict):
            raise ParameterValueError(
                f"a context is an object of keys and values, not {type(data).__name__}",
                hint='as {"key": "value"}; nothing was changed',
            )
        self.from_dict(data, who)

    # --- being told ---

    def subscribe(self, key: str, callback: Callable[..., object]) -> Callable[[], None]:
        """Have `callback(key, value)` or `callback(key, value, who)` called when a key changes.

        Changes of others are noticed within about 50 ms, or by `poll`; `who` is "" for them, and a
        value that was soon replaced may be left out. A deleted key has the value None. Callbacks
        run one at a time, in the thread that makes the change or, for changes of others, in one of
        their own; what one raises is logged and does no harm. One must not wait for another thread
        that changes this context.

        Args:
            key: A key, or a pattern as of file names (`load.*`).
            callback: A function of two or three arguments.

        Returns:
            A function that ends the subscription.

        Raises:
            UsageError: The callback can't be called so.
        """
        return self._subscribers.add(self._checked_key(key), callback)

    def poll(self) -> None:
        """Tell the subscribers now what others have changed."""
        self._subscribers.poll()

    # --- how ---

    def _update(self, key: str, edit: Callable[[Values], Values], who: str | None) -> Any:
        """Make a change of one key; returns its new value, which belongs to the caller."""
        kept: Values = {}

        def noting(now: Values) -> Values:
            kept.update(edit(now))
            return kept

        self._change(noting, who)
        return deepcopy(kept[key])

    def _change(self, edit: Callable[[Values], Values], who: str | None) -> list[News]:
        """Make what `edit` says of the values as they are; returns what has changed."""
        name = self._who if who is None else str(who)
        if self._clean is not None:
            name = str(self._clean(name))
        if not self._subscribers:
            return self._transact(edit, name)[1]
        with self._subscribers.lock:
            others, own = self._transact(edit, name)
            self._subscribers.tell(others + deepcopy(own))
        return own

    def _transact(
        self, edit: Callable[[Values], Values], who: str
    ) -> tuple[list[News], list[News]]:
        """Returns the changes of others that nobody was told of, and the own ones."""
        others: list[News] = []
        own: list[News] = []
        with self._store.transaction() as groups:
            now = groups.get(CONTEXT_GROUP, {})
            if self._subscribers:
                others = deepcopy(self._subscribers.news(now))
            wanted = edit(now)
            changes = []
            for key, value in wanted.items():
                before = now.get(key, GONE)
                if before is value or (GONE not in (before, value) and same_value(before, value)):
                    continue
                own.append((key, value, who))
                changes.append(_change_of(key, before, value, who))
            if changes:
                self._record(groups, changes)
                _apply(groups.setdefault(CONTEXT_GROUP, {}), own)
        return others, own

    def _record(self, groups: Any, changes: list[Change]) -> None:
        shared = groups.setdefault(GLOBAL_GROUP, {})
        count = shared.get(COUNT_KEY, 0)
        count = count if type(count) is int else 0
        stamp = f"{timestamp(time.time())}Z"
        numbered = [
            {"ts": stamp, "seq": seq, **change} for seq, change in enumerate(changes, count + 1)
        ]
        self._store.history.append(numbered, count)
        shared[COUNT_KEY] = count + len(changes)

    def _checked_key(self, key: object) -> str:
        if not isinstance(key, str):
            raise ParameterKeyError(
                f"a key of the context is text, not {type(key).__name__}: {key!r}",
                hint=f"as {str(key)!r}",
            )
        return key if self._clean is None else str(self._clean(key))

    def _checked_value(self, key: str, value: Any) -> Any:
        """The value as it will be read: a copy, cleaned."""
        if self._clean is not None:
            value = self._clean(value)
        try:
            text = dump_value(value)
            dump_value(key)
        except JsonValueError as error:
            place = "".join(f"[{each!r}]" for each in error.path)
            raise ParameterValueError(
                f"context key {key!r}{', at ' + place if place else ''}: {error.reason}",
                hint="nothing was changed",
            ) from error
        return value if value is None or type(value) in _IMMUTABLE else json.loads(text)


_IMMUTABLE: Final = {str, int, float, bool}


class _FileStore:
    """The context of an instance."""

    def __init__(self, instance: InstanceDir) -> None:
        speed_up()
        self.place = str(instance.path)
        self.file: LockedJsonFile = instance.parameters
        self.transaction = self.file.transaction
        self.history = FileHistory(instance.path, sync=self.file.durability == "power")

    def read(self) -> Values:
        values: Values = self.file.look().get(CONTEXT_GROUP, {})
        return values

    def get(self, key: str, default: Any) -> Any:
        return self.read().get(key, default)

    def changes(self) -> list[Change]:
        count = self.file.look().get(GLOBAL_GROUP, {}).get(COUNT_KEY, 0)
        return self.history.read(count if type(count) is int else 0)

    def stamp(self) -> tuple[object, float]:
        status = Path(self.file.path).stat()
        return (status.st_ino, status.st_mtime_ns, status.st_size), status.st_mtime


class _MemoryStore:
    """A context without an instance."""

    stamp = None
    place = ""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._groups: dict[str, Values] = {}
        self.history = MemoryHistory()

    def read(self) -> Values:
        with self._lock:
            return deepcopy(self._groups.get(CONTEXT_GROUP, {}))

    def get(self, key: str, default: Any) -> Any:
        with self._lock:
            value = self._groups.get(CONTEXT_GROUP, {}).get(key, GONE)
            return default if value is GONE else deepcopy(value)

    def changes(self) -> list[Change]:
        return self.history.read(0)

    @contextmanager
    def transaction(self) -> Iterator[dict[str, Values]]:
        with self._lock:
            yield self._groups  # nothing is changed in it before all is known to be sound


def _change_of(key: str, before: Any, after: Any, who: str) -> Change:
    change = {"key": key, "who": who, "before": None if before is GONE else brief(before)}
    return {**change, **({"deleted": True} if after is GONE else {"after": brief(after)})}


def _apply(group: Values, news: list[News]) -> None:
    for key, value, _ in news:
        if value is GONE:
            group.pop(key, None)
        else:
            group[key] = value
