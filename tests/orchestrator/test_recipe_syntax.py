"""What is no YAML is told where it is, in words that say what to do."""

from __future__ import annotations

import pytest

from octo_errors import RecipeError
from orchestrator.recipe_yaml import load_yaml


def problem(text: str) -> str:
    """The one problem of a text that is no YAML."""
    with pytest.raises(RecipeError) as error:
        load_yaml(text.encode(), "r.yaml")
    [found] = error.value.details["problems"]
    return str(found)


@pytest.mark.parametrize(
    ("text", "place", "message", "hint"),
    [
        ("a: b: c", "1:5", "a ':' has no place here", "needs quotes"),
        ("a: 1\n  b: 2", "2:4", "a ':' has no place here", "mind the indentation"),
        ("- a:1\n  b: 2", "2:4", "a ':' has no place here", "each key above has its ': '"),
        ("a\nb: 2", "2:2", "a ':' has no place here", "each key above has its ': '"),
        ("- a: 1\n  b 2\n  c: 3", "2:3", "a ': ' is missing in this line", "indentation"),
        ("a: 1\nb", "2:1", "a ': ' is missing in this line", "indentation"),
        ("a: |\nb\nc: 1", "2:1", "a ': ' is missing in this line", "indentation"),
        ("a: @x", "1:4", "a text can't begin with this character", "put it in quotes"),
        ("a: %x", "1:4", "a text can't begin with this character", "put it in quotes"),
        ("%x\na: 1", "1:3", "% begins a directive of YAML", "put a text that begins so in quotes"),
        ("a:\n\tb: 1", "2:1", "a tab, where YAML takes only blanks", "indent with blanks"),
        ("a: 1\n\tb: 1", "2:1", "a tab, where YAML takes only blanks", "indent with blanks"),
        ('a: 1\nb: "x', "2:4", '" opens here, and nothing closes it', ""),
        ("a: [1, 2\n\n", "1:4", "[ opens here, and nothing closes it", ""),
        ("a: [1, 2\nb: 3\n", "2:2", "a ',' or the end of the list is missing", "in line 1"),
        ("a: {b: 2\nc: 3\n", "2:2", "a ',' or the end of the mapping is missing", "in line 1"),
        ("a: [b: 1\nc: 2\n", "2:2", "a ',' or the end of the list is missing", "in line 1"),
        ("a: [b: 1", "1:4", "[ opens here, and nothing closes it", ""),
        ("a: ['x' y]", "1:9", "a ',' or the end of the list is missing before this", ""),
        ("a:\n  - 1\n b: 2", "3:2", "this doesn't belong to the block above it", "indentation"),
        ("- a: 1\nb: 2", "2:1", "this doesn't belong to the block above it", "indentation"),
        ("a: 'it's'", "1:8", "the value before this has ended", "put all of it in quotes"),
        ("- a\n-b: 1", "2:1", "this doesn't belong to the block above it", "with the blank"),
        ('a: "1\nb: "{{ x }}"', "2:5", "the value before this has ended", "open in line 1 are"),
        ("a {b: [c]}", "1:10", "the value before this has ended", "or a ': ' is missing"),
        ("a: [1] b", "1:8", "the value before this has ended", "put all of it in quotes"),
        ("'a' b", "1:5", "the value before this has ended", "put all of it in quotes"),
        ("a: [1,, 2]", "1:7", "a value is missing before this character", ""),
        ('a: "\\q"', "1:5", "there is no such escape", "single quotes"),
        ('a: "C:\\xy"', "1:9", "there is no such escape", "single quotes"),
        ('a: "\\ud83d\\ude00"', "1:7", "an escape for half a character", "as it is"),
        ("a: |x", "1:5", "behind | or > there is nothing else in the line", "in quotes"),
        ("a: >0\n x", "1:5", "behind | or > there is nothing else in the line", "in quotes"),
        ("a: - b", "1:4", "a list can't begin here", "begin it in a line of its own"),
        ("a: ? b", "1:4", "a key can't begin here", "put a text that begins so in quotes"),
        ("a: *.txt", "1:5", "* and & begin an alias or an anchor", "in quotes"),
        ("a: !x! y", "1:7", "a tag has no place here", "put a text that begins so in quotes"),
        ("a: !x%zz", "1:6", "a tag has no place here", "put a text that begins so in quotes"),
        ("a: !x!y z", "1:4", "a tag has no place here", "put a text that begins so in quotes"),
        ("a: b {{ c: d }}", "1:10", "a ':' has no place here", "a template needs quotes"),
    ],
)
def test_what_is_no_yaml_is_told_where_it_is(
    text: str, place: str, message: str, hint: str
) -> None:
    found = problem(text)
    assert found.startswith(f"r.yaml:{place}: {message}")
    assert hint in found


@pytest.mark.parametrize(
    "value",
    [
        *("*hunter2", "!hunter2", "!!hunter2", "!hunter2!x y", "!<hunter2> x", "!hunter2%zz"),
        *("&hunter2", "&hunter2! x", "%hunter2", "@hunter2", "`hunter2", "|hunter2", ">hunter2"),
        *(
            "'x'hunter2",
            '"hunter2',
            '"\\hunter2"',
            "[hunter2",
            "{hunter2",
            "hunter2: x",
            "- hunter2",
        ),
        *("{*hunter2 : 1}", "{<<: *hunter2}", "{<<: hunter2}", "&hunter2 [*hunter2]"),
        *("{hunter2: 1, hunter2: 2}", "{1: hunter2}", "? hunter2", "]hunter2", ", hunter2"),
        *("x\nhunter2", "x\n\thunter2: 1", "x\n  hunter2: 1", "x\n---\nhunter2", "\x01hunter2"),
    ],
)
def test_of_a_secret_file_nothing_is_shown(value: str) -> None:
    with pytest.raises(RecipeError) as error:
        document = load_yaml(f"a: {value}".encode(), "r.yaml", secret=True)
        raise RecipeError("\n".join(map(str, document.problems)) or "valid")
    assert "r.yaml:" in str(error.value)
    assert "hunter2" not in str(error.value)
