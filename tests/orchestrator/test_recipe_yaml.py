"""YAML as recipes are written in it: what it means, where things stand, and what is refused."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from octo_errors import RecipeError
from orchestrator.recipe_document import Place
from orchestrator.recipe_yaml import MAX_DEPTH, MAX_PROBLEMS, load_yaml
from tests.support import PROJECT


def value(text: str) -> Any:
    document = load_yaml(text.encode(), "r.yaml")
    assert document.problems == []
    return document.value


def problems(text: str | bytes) -> list[str]:
    """All that is told of a text, one problem each, whether or not it can be loaded."""
    raw = text if isinstance(text, bytes) else text.encode()
    try:
        return [str(each) for each in load_yaml(raw, "r.yaml").problems]
    except RecipeError as error:
        return [str(each) for each in error.details["problems"]]


# --- values ---------------------------------------------------------------------------------------

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(codec="utf-8", categories=["L", "P"]), min_size=1), inner
        )
    ),
    max_leaves=15,
)


@given(plain)
def test_what_json_holds_is_what_yaml_holds(data: Any) -> None:
    text = json.dumps(data, ensure_ascii=False)
    if "\ufeff" not in text and "\ufffe" not in text and "\uffff" not in text:
        assert value(text) == data


@given(plain, st.booleans(), st.booleans())
def test_what_a_yaml_writer_writes_is_read(data: Any, flow: bool, narrow: bool) -> None:
    text = yaml.safe_dump(
        data, default_flow_style=flow, width=20 if narrow else 1000, sort_keys=False
    )
    found = load_yaml(text.encode(), "r.yaml")
    assert json.dumps(found.value) == json.dumps(data)


@pytest.mark.parametrize(
    "word",
    [
        *("no", "No", "NO", "on", "On", "off", "yes", "y", "n", "22:22", "1:20:30", "0755", "007"),
        *("08", "1_000", "0b11", "2001-01-01", "2001-12-14 21:59:43", "=", "<<", "nan", "1.2.3"),
        *("+", "-", ".", "0x", "0o8", "1e", "e3", "\u0661"),
    ],
)
def test_surprises_of_yaml_1_1_stay_the_text_that_was_written(word: str) -> None:
    assert value(f"a: {word}" if word != "-" else "a: '-'") == {"a": word}


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        *(("1e3", 1000.0), ("-1.5E-2", -0.015), (".5", 0.5), ("1.", 1.0), ("+1", 1), ("-0", 0)),
        *(("0x1F", 31), ("0o17", 15), ("0", 0), ("18446744073709551615", 2**64 - 1)),
        *(("true", True), ("True", True), ("FALSE", False), ("null", None), ("~", None)),
    ],
)
def test_numbers_truth_values_and_null(word: str, meaning: Any) -> None:
    found = value(f"a: {word}")["a"]
    assert found == meaning
    assert type(found) is type(meaning)
    assert load_yaml(f"a: {word}".encode(), "").written(("a",)) == word
    assert value(f"a: '{word}'") == {"a": word}
    assert value(f"a: !!str {word}") == {"a": word}


@pytest.mark.parametrize("word", [".inf", "-.INF", ".nan", "1e400", "9" * 30, "-" + "9" * 5000])
def test_numbers_that_cant_be_kept_are_told_without_their_digits(word: str) -> None:
    found = problems(f"a: {word}")
    assert len(found) == 1
    assert found[0].startswith("r.yaml:1:4: this is ")
    assert "put it in quotes" in found[0]


def test_anchors_aliases_and_merge_keys_work() -> None:
    text = """\
base: &base {a: 1, b: 2}
more: &more {b: 3, c: 4}
one: {<<: *base, a: 9}
two: {a: 8, <<: [*base, *more]}
list: &list [1, 2]
again: [*list, *list]
"""
    found = value(text)
    assert found["one"] == {"a": 9, "b": 2}
    assert found["two"] == {"a": 8, "b": 2, "c": 4}
    assert found["again"] == [[1, 2], [1, 2]]
    assert load_yaml(text.encode(), "").place(("one", "b")) == Place(1, 20)


# --- places ---------------------------------------------------------------------------------------


@given(plain, st.data())
def test_every_key_and_value_has_the_place_at_which_it_is_written(
    data: Any, choose: st.DataObject
) -> None:
    text = yaml.safe_dump({"root": data}, default_flow_style=False, allow_unicode=True, width=10**6)
    document = load_yaml(text.encode(), "r.yaml")
    path: list[Any] = ["root"]
    inner = document.value["root"]
    while isinstance(inner, dict | list) and inner and choose.draw(st.booleans()):
        keys = list(inner) if isinstance(inner, dict) else range(len(inner))
        path.append(choose.draw(st.sampled_from(keys)))
        inner = inner[path[-1]]
    line, column = document.place(tuple(path))
    rest = "\n".join(text.split("\n")[line - 1 :])[column - 1 :]
    if isinstance(path[-1], str):
        assert yaml.safe_load(yaml_key(rest)) == path[-1]
    elif not isinstance(inner, dict | list):
        assert rest


def yaml_key(text: str) -> str:
    """The text of the key that a text begins with."""
    loader = yaml.SafeLoader(text)
    try:
        event = next(e for e in iter(loader.get_event, None) if isinstance(e, yaml.ScalarEvent))
        assert event.start_mark is not None
        assert event.end_mark is not None
        return text[event.start_mark.index : event.end_mark.index]
    finally:
        loader.dispose()


def test_what_is_not_there_stands_where_the_nearest_thing_does() -> None:
    document = load_yaml(b"a:\n  b: [1, 2]\n", "r.yaml")
    assert document.place(("a", "b", 7)) == document.place(("a", "b")) == Place(2, 3)
    assert document.place(("a", "x", "y")) == Place(1, 1)
    assert document.place(("a", "b", 1)) == Place(2, 10)


@pytest.mark.parametrize(
    ("text", "line_offset", "column", "place"),
    [
        ("a: xyz", 0, 3, (1, 6)),
        ("a: 'xyz'", 0, 3, (1, 7)),
        ("a: |\n  xyz\n  uvw", 1, 2, (3, 1)),
        ('a: "x\n  y"', 1, 1, (2, 1)),
    ],
)
def test_characters_of_texts_have_places(
    text: str, line_offset: int, column: int, place: tuple[int, int]
) -> None:
    assert load_yaml(text.encode(), "").text_place(("a",), line_offset, column) == place


# --- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "place", "message", "hint"),
    [
        ("a: 1\na: 2", "2:1", "the key 'a' is given twice", "the first one is in line 1"),
        ("- {a: 1, 'a': 2}", "1:10", "the key 'a' is given twice", "line 1"),
        ("a: 1\n'a ': 2\n'a ': 3", "3:1", "the key 'a ' is given twice", "line 2"),
        ("1: 2", "1:1", "the key 1 is no text", "write it in quotes: '1'"),
        ("true: 2", "1:1", "the key true is no text", "'true'"),
        ("? [a]\n: 1", "1:3", "a key must be text", ""),
        ("a: {{ x }}", "1:5", "a key must be text", 'a template needs quotes: "{{ ... }}"'),
        ("a: 1\n---\nb: 1", "2:1", "a second document begins here", "one document a file"),
        ("a: !!python/object:os.system x", "1:4", "the tag !!python/object:os.system", "quotes"),
        ("a: !!binary aGk=", "1:4", "the tag !!binary", "take it away"),
        ("a: !mine x", "1:4", "the tag !mine", "take it away"),
        ("a: !!set {x}", "1:4", "the tag !!set", "take it away"),
        ("a: &a [*a]", "1:8", "the alias *a stands inside of what it names", ""),
        ("a: *b", "1:4", "the alias *b names no anchor before it", "with * needs quotes"),
        ("a: &one 1\nb: *oen", "2:4", "the alias *oen", "did you mean 'one'?"),
        ("a: *.txt", "1:5", "* and & begin an alias or an anchor", "quotes"),
        ("a: {<<: 3}", "1:9", "<< takes a mapping", "as <<: *anchor"),
        ("a: &a {}\nb: {<<: *a, <<: *a}", "2:13", "the key '<<' is given twice", "[*a, *b]"),
        ("a: &k x\n*k : 1", "2:1", "a key can't be an alias", "write the key out"),
        ("a: &b", "1:4", "an anchor or a tag, and nothing behind it", "& or ! needs quotes"),
        ("a: !\nb: 1", "1:4", "an anchor or a tag, and nothing behind it", "& or ! needs quotes"),
        ("a: {{ x }} {{ y }}", "1:5", "a key must be text", "a template needs quotes"),
        ("", "1:1", "the file is empty", "the smallest recipe"),
        ("# nothing", "1:1", "the file is empty", "the smallest recipe"),
        (b"a: \0", "1:4", "has a NUL here", '"\\u0000"'),
        (b"a: \x1b[0m", "1:4", "an unprintable character, U+001B", "\\u001b"),
        ("ä: 1\nb: \xe4".encode("latin-1"), "1:1", "is no UTF-8: byte 0xe4", "save it as UTF-8"),
        ("a: 1".encode("utf-16"), "1:1", "is UTF-16, not UTF-8", "save it as UTF-8"),
        ("a: 1".encode("utf-32"), "1:1", "UTF-", "save it as UTF-8"),
    ],
)
def test_a_mistake_is_told_where_it_is(
    text: str | bytes, place: str, message: str, hint: str
) -> None:
    found = problems(text)
    assert len(found) == 1
    assert found[0].startswith(f"r.yaml:{place}: ")
    assert message in found[0]
    assert hint in found[0]


def test_all_mistakes_are_told_up_to_a_limit() -> None:
    found = problems("a: 1\na: 2\n1: 3\nb: .inf\nc: [")
    assert [each.split(":")[1] for each in found] == ["2", "3", "4", "5"]
    assert len(problems("a: 1\n" * 10_000)) == MAX_PROBLEMS


def test_a_byte_order_mark_and_any_line_ends_are_fine() -> None:
    assert value("\ufeffa: 1\r\nb: 2\r\n") == {"a": 1, "b": 2}


@given(st.text(alphabet="ab:-[]{}&*!|>'\"%@`#,? \n\t01.<~", max_size=80))
def test_whatever_the_text_is_it_is_read_as_a_yaml_reader_would_or_refused(text: str) -> None:
    try:
        found = load_yaml(text.encode(), "r.yaml")
    except RecipeError as error:
        assert all(each.line for each in error.details["problems"])
        return
    if not found.problems:
        other = yaml.load(text, yaml.CBaseLoader)
        assert texts_of(json.loads(json.dumps(found.value))) == texts_of(other)


def texts_of(data: Any) -> Any:
    """The shape of a value: readers differ in what a scalar is."""
    if isinstance(data, dict):
        return {key: texts_of(each) for key, each in data.items() if key != "<<"}
    return [texts_of(each) for each in data] if isinstance(data, list) else None


# --- bombs ----------------------------------------------------------------------------------------

LAUGHS = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)
MERGES = "a0: &a0 {x0: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}], k{i}: 1}}\n" for i in range(1, 12)
)
WIDE = f"a: &a {{{', '.join(f'k{i}: 1' for i in range(5000))}}}\n" + "".join(
    f"b{i}: {{<<: *a}}\n" for i in range(5000)
)
DEEP_ALIASES = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 5000))
BOMBS = {
    "aliases": (LAUGHS, "more than 500,000 values, aliases expanded"),
    "merges": (MERGES, "more than 500,000 values, aliases expanded"),
    "a wide merge": (WIDE, "more than 500,000 values, aliases expanded"),
    "aliases in depth": (DEEP_ALIASES, "more than 100 lists and mappings in each other"),
    "brackets": ("[" * 5000 + "]" * 5000, "more than 100 lists and mappings in each other"),
    "braces": ("{a: " * 5000 + "}" * 5000, "more than 100 lists and mappings in each other"),
    "blocks": (
        "\n".join(" " * i + "a:" for i in range(5000)),
        "more than 100 lists and mappings in each other",
    ),
    "dashes": ("- " * 5000 + "x", "more than 100 lists and mappings in each other"),
    "a plain text": ("a: " + "x" * 12_000_000, "a text of more than 1,048,576 characters"),
    "a quoted text": (f'a: "{"x" * 12_000_000}"', "a text of more than 1,048,576 characters"),
    "a block": ("a: |\n" + "  xxxxxxxxxx\n" * 1_000_000, "a text of more than 1,048,576 char"),
    "a key": ("x" * 12_000_000 + ": 1", "a text of more than 1,048,576 characters"),
    "digits": ("a: " + "9" * 1_000_000, "a whole number of more than 64 bits"),
}

BOMB_PROGRAM = """
import resource, sys
limit = 200 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
from octo_errors import RecipeError
from orchestrator.recipe_yaml import load_yaml
text = sys.stdin.buffer.read()
try:
    print(*load_yaml(text, "r.yaml").problems)
except RecipeError as error:
    print(error)
"""


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_within_200_mb_and_bounded_work(name: str) -> None:
    text, message = BOMBS[name]
    roots = [str(PROJECT / each) for each in ("modules", "orchestrator/packages", ".")]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\nsys.path[:0] = {roots}\n{BOMB_PROGRAM}"],
        input=text.encode(),
        capture_output=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (20, 20)),
    )
    assert done.returncode == 0, done.stderr.decode()
    assert message in done.stdout.decode()


def test_the_depth_that_is_allowed_is_read() -> None:
    assert value("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert problems("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))
