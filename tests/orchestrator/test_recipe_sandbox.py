"""The bound on what templates make: bombs are refused, and values come out as JSON has them."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import nodes

from orchestrator.recipe_sandbox import MOST, Environment, TooMuchError, measure, plain
from orchestrator.recipe_values import render
from tests.support import PROJECT

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=20,
)


def size(value: Any) -> int:
    """The same as `measure`, for small values, as one would say it."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return len(value) + sum(size(key) + size(each) for key, each in value.items())
    return len(value) + sum(map(size, value)) if isinstance(value, list) else 0


@given(values)
def test_what_is_measured_is_the_number_of_characters_and_values(value: Any) -> None:
    assert measure(value) == 1 + size(value)
    assert plain(value) == value


def test_what_is_too_much_is_refused_at_the_limit() -> None:
    assert measure("x" * (MOST - 1)) == MOST
    for value in ("x" * MOST, range(MOST), {"a": [0] * MOST}):
        with pytest.raises(TooMuchError):
            measure(value)


def test_values_come_out_as_json_has_them() -> None:
    assert plain({"a": (1, range(2)), "b": {3}, "c": (each for each in "xy")}) == {
        "a": [1, [0, 1]],
        "b": [3],
        "c": ["x", "y"],
    }
    with pytest.raises(TypeError, match=r"it is a method, .* write \(\)"):
        plain("x".upper)


def test_nodes_have_the_places_of_their_characters() -> None:
    tree = Environment().read("a\n{{ b }} {%- if c -%}\n{{ d.e }}{% endif %}")
    places = {node.name: node.lineno for node in tree.find_all(nodes.Name)}
    assert places == {"b": 6, "c": 18, "d": 27}


# --- bombs ----------------------------------------------------------------------------------------


def doubling(times: int) -> str:
    """A list of lists of lists ..., each twice."""
    return "{% set a0 = [1, 1] %}" + "".join(
        f"{{% set a{n + 1} = [a{n}, a{n}] %}}" for n in range(times)
    )


BOMBS = [
    "{{ range(10**9) }}",
    "{{ range(100000) | map('center', 1000000) | list }}",
    "{{ ''.join(range(100000) | map('center', 1000000)) }}",
    "{{ range(100000) | map('center', 1000000) | join }}",
    "{{ 'a' * 10**9 }}",
    "{{ 10**9 * 'a' }}",
    "{{ [0] * 10**9 }}",
    "{{ 10 ** (10**9) }}",
    "{{ " + " * ".join(["(10**1000)"] * 5) + " }}",
    "{{ 'a' | center(10**9) }}",
    "{{ 'a\na' | indent(10**9) }}",
    "{{ [] | batch(10**9, 0) | list }}",
    "{{ 1.5 | round(10**9) }}",
    "{{ 'ab' | replace('', 'x' * 4000000) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '%*d' % (10**9, 1) }}",
    "{{ '%1000000000d' | format(1) }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ '{:>{}}'.format(1, 10**9) }}",
    "{{ '{a:1000000000}'.format_map({'a': 1}) }}",
    "{{ '%1$' ~ '%.9999999f' % 1.5 }}",
    "{{ '{:.9999999f}'.format(1.5) }}",
    "{{ ('%900d' * 9000) % range(9000) }}",
    "{{ 'aaa' | replace('', 'x' * 2000000) }}",
    "{{ ('a' * 9999).translate({97: 'b' * 9999}) }}",
    "{{ 'a'.ljust(10**9) }}",
    "{{ 'a'.zfill(10**9) }}",
    "{{ ('\t' * 4000).expandtabs(10**6) }}",
    "{{ ('a' * 4000).replace('a', 'b' * 4000) }}",
    "{{ ('a' * 4000000).join(range(4000) | map('string')) }}",
    "{{ [0] * 4000000 + [0] * 4000000 }}",
    "{{ ('a' * 4000000) ~ ('a' * 4000000) }}",
    "{% for i in range(100000) %}{{ 'a' * 4000000 }}{% endfor %}",
    "{{ [" + "'a' * 4000000, " * 5 + "] }}",
    doubling(40) + "{{ a40 }}",
    doubling(40) + "{{ a40 ~ '' }}",
    doubling(40) + "{{ a40 | string }}",
    doubling(40) + "{{ a40 | tojson }}",
    doubling(40) + "{{ '%s' % a40 }}",
    doubling(40) + "{{ '{}'.format(a40) }}",
    doubling(40) + "{{ 'a'.join([a40]) }}",
    doubling(40) + "{{ [a40] | join }}",
    doubling(40) + doubling(40).replace("a", "b") + "{{ a40 == b40 }}",
    doubling(40) + doubling(40).replace("a", "b") + "{{ a40 is eq b40 }}",
    doubling(40) + doubling(40).replace("a", "b") + "{{ b40 in [a40] }}",
    "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
    "{% for i in range(100000) %}{% for j in range(100000) if false %}{% endfor %}{% endfor %}",
    doubling(30) + "{% for i in a30 recursive %}{{ loop(i) if i is not number }}{% endfor %}",
    "{% for i in range(100000) %}{% if range(100000) | sum %}{% endif %}{% endfor %}",
    "{% for i in range(100000) %}{% if 'a'.center(2000000) %}{% endif %}{% endfor %}",
]

BOMB_PROGRAM = """
import json, resource, sys
from octo_errors import RecipeError
from orchestrator.recipe_values import render
limit = int(sys.argv[1]) * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
missed = []
for text in json.load(sys.stdin):
    try:
        render(text, {})
        missed.append(text)
    except RecipeError as error:
        if not any(each in str(error) for each in ("makes more", "through more", "too big")):
            missed.append(str(error))
print(json.dumps(missed))
"""


def test_the_work_of_one_template_does_not_count_for_the_next() -> None:
    text = "{% for i in range(3000) %}{% for j in range(1000) %}{% endfor %}{% endfor %}x"
    assert [render(text, {}) for _ in range(2)] == ["x", "x"]


@pytest.mark.slow
def test_no_template_makes_more_than_there_is_room_for() -> None:
    roots = [str(PROJECT / each) for each in ("modules", "orchestrator/packages", ".")]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\nsys.path[:0] = {roots}\n{BOMB_PROGRAM}", "400"],
        input=json.dumps(BOMBS),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (60, 60)),
    )
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr
