"""Templates of recipes: what they give, how much at most, and what is wrong in them, and where."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octo_errors import RecipeError
from orchestrator.recipe_document import is_template
from orchestrator.recipe_values import (
    Names,
    TemplateProblem,
    check_template,
    is_true,
    render,
)

VARIABLES: dict[str, Any] = {
    "inputs": {"a": 1, "s": "08", "l": [1, 2], "items": 5, "flag": "false", "n": None},
    "results": {"load": {"rows": 3}, "my-step": None},
    "context": {"k.d": 1},
    "env": {"HOME": "/home"},
    "recipe": {"name": "n", "directory": "/d"},
    "long": "x" * 1_500_000,
}

# --- what they give -------------------------------------------------------------------------------

data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(data.filter(lambda value: not any(each in json.dumps(value) for each in ("{{", "{%"))))
def test_a_value_without_templates_stays_as_it_is(value: Any) -> None:
    assert render(value, {}) == value
    assert type(render(value, {})) is type(value)


@given(data)
def test_a_text_that_is_one_expression_gives_the_value_itself(value: Any) -> None:
    for text in ("{{ x }}", " {{x}}\n", "{{- x -}}"):
        found = render(text, {"x": value})
        assert found == value
        assert type(found) is type(value)


@given(st.text(), st.text())
def test_other_texts_give_text_and_never_a_number(first: str, second: str) -> None:
    for a, b in ((first, second), ("1", "2"), ("0", "8"), ("[", "]")):
        assert render("{{ a }}{{ b }}", {"a": a, "b": b}) == a + b
        assert render("x{{ a }}", {"a": a}) == "x" + a


@given(data)
def test_a_template_deep_in_a_value_is_found_and_keys_stay(value: Any) -> None:
    nested = {"{{ x }}": [{"b": "{{ x }}"}, "{{ x }}"]}
    assert render(nested, {"x": value}) == {"{{ x }}": [{"b": value}, value]}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{ inputs.a + results.load.rows }}", 4),
        ("{{ inputs.items }}", 5),
        ("{{ inputs['s'] }}", "08"),
        ("{{ inputs.s | int }}", 8),
        ("{{ context['k.d'] }}", 1),
        ("{{ env.HOME }}/x", "/home/x"),
        ("{{ inputs.get('b', 3) }}", 3),
        ("{{ inputs.b | default(3) }}", 3),
        ("{{ inputs.b is defined }}", False),
        ("{{ inputs.keys() }}", ["a", "s", "l", "items", "flag", "n"]),
        ("{{ range(3) }}", [0, 1, 2]),
        ("{{ inputs.l | map('string') }}", ["1", "2"]),
        ("{{ inputs.l | sum }}", 3),
        ("{{ inputs.l ~ 'x' ~ none }}", "[1, 2]xNone"),
        ("{{ {'a': (1, 2)} }}", {"a": [1, 2]}),
        ("{{ {'a': '<ä>'} | tojson }}", '{"a": "<ä>"}'),
        ("{{ '{:>5}'.format(1) }}", "    1"),
        ("{{ '%05d' % 7 }}", "00007"),
        ("{{ 'ab'.center(6) }}", "  ab  "),
        ("{{ '%s * %d%% in 2024' % ('a', 5) }}", "a * 5% in 2024"),
        ("{{ '{} in 2024: {:.2f}'.format('a', 1.5) }}", "a in 2024: 1.50"),
        ("{{ long | truncate(9) }}", "xxxxxx..."),
        ("{{ long.split('y') | length }}", 1),
        ("{{ long.replace('y', long) | length }}", 1_500_000),
        ("{{ long | replace('x', 'y') | length }}", 1_500_000),
        ("{{ long | indent(8) | length }}", 1_500_000),
        ("{{ [long, 'a'] | join(', ') | length }}", 1_500_003),
        ("{{ ', '.join([long, 'a']) | length }}", 1_500_003),
        ("{{ range(100000) | join(',') | length }}", 588_889),
        ("{{ 1.23456 | round(3) }}", 1.235),
        ("{% for i in inputs.l %}{{ i }};{% endfor %}", "1;2;"),
        ("{% if inputs.a == 1 %}yes{% else %}no{% endif %}", "yes"),
        ("echo ${#list[@]} {{ inputs.a }}\n", "echo ${#list[@]} 1\n"),
        ("{% raw %}{{.Names}}{% endraw %}", "{{.Names}}"),
    ],
)
def test_expressions(text: str, value: Any) -> None:
    assert render(text, VARIABLES) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("inputs.a == 1", True),
        ("{{ inputs.a == 2 }}", False),
        ("inputs.n", False),
        ("inputs.l", True),
        ("inputs.flag", False),
        ("'True'", True),
        ("''", False),
        ("inputs.s", True),
        ("results['my-step'] is none and not inputs.n", True),
    ],
)
def test_conditions(text: str, value: bool) -> None:
    assert is_true(text, VARIABLES) is value


def test_a_condition_of_several_pieces_is_always_true_and_therefore_refused() -> None:
    with pytest.raises(RecipeError, match="always true") as error:
        is_true("{{ inputs.a }} == 2", VARIABLES)
    assert "without braces" in error.value.hint


class Lazy(Mapping[str, Any]):
    """As the context is given: a mapping that is no dict."""

    def __getitem__(self, key: str) -> Any:
        return {"a": [1]}[key]

    def __iter__(self) -> Any:
        return iter(["a"])

    def __len__(self) -> int:
        return 1


def test_mappings_of_any_kind_come_out_as_json_has_them() -> None:
    variables = {"context": Lazy()}
    assert type(render("{{ context }}", variables)) is dict
    assert render("{{ context | tojson }}", variables) == '{"a": [1]}'
    assert render("now {{ context }}", variables) == "now {'a': [1]}"
    assert render("{{ context.items() }}", variables) == [["a", [1]]]


# --- what they can't do ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("{{ inputs.aa }}", "inputs has no 'aa'", "did you mean 'a'?"),
        ("{{ nothing }}", "'nothing' is not defined", "there are: inputs"),
        ("{{ flag }}", "'flag' is not defined", "did you mean 'inputs.flag'?"),
        ("{{ load.rows }}", "'load' is not defined", "did you mean 'results.load'?"),
        ("x {{ env.HOM }}", "env has no 'HOM'", "did you mean 'HOME'?"),
        ("{{ results['my-step'].rows }}", "null has no 'rows'", "a step that returned nothing"),
        ("{{ results.load.row }}", "a mapping has no 'row'", "did you mean 'rows'?"),
        ("{{ inputs.l[5] }}", "list has no '5'", ""),
        ("{{ inputs.s + 1 }}", "can only concatenate str", ""),
        ("{{ 1 / 0 }}", "division by zero", ""),
        ("{{ inputs.keys }}", "it is a method, not what that gives: write ()", ""),
        ("{{ 'a{}'.format }}", "it is a method, not what that gives: write ()", ""),
        ("{{ 1 + }}", "character 8: unexpected '}}'", "{% raw %}"),
        ("{{ 1 | nofilter }}", "No filter named 'nofilter'", ""),
        ("{% macro f() %}{% endmacro %}", "templates of recipes have no macro", ""),
        ("{% include '/etc/passwd' %}", "templates of recipes have no include", ""),
        ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "nested too deeply", ""),
        ("{{ ''.__class__ }}", "unsafe", ""),
        ("{{ inputs.__init__.__globals__ }}", "unsafe", ""),
        ("{{ '{0.__class__}'.format(inputs) }}", "unsafe", ""),
        ("{{ inputs.l.append(1) }}", "unsafe", ""),
        ("{{ env.clear() }}", "unsafe", ""),
        ("{{ inputs.update(a=2) }}", "unsafe", ""),
        ("{{ lipsum() }}", "'lipsum' is not defined", ""),
    ],
)
def test_a_template_that_fails_names_itself_and_the_reason(
    text: str, message: str, hint: str
) -> None:
    with pytest.raises(RecipeError) as error:
        render(text, VARIABLES)
    assert error.value.message.startswith(f"template {text[:60]!r}"[:60])
    assert message in error.value.message
    assert hint in error.value.hint
    assert VARIABLES["inputs"]["l"] == [1, 2]


@given(st.text(alphabet="{}%|~*+-()[]'\". \nxy01#", max_size=60))
def test_whatever_the_text_is_it_is_rendered_or_refused(text: str) -> None:
    for template in (text, f"{{{{ {text} }}}}"):
        try:
            assert render(template, {"x": 1, "y": "b"}) is not ...
        except RecipeError as error:
            assert error.message.startswith("template ")


# --- checking -------------------------------------------------------------------------------------

NAMES = Names(
    inputs={"alpha": {}, "name": {}},
    results=["load"],
    all_steps=["load", "later", "my-step"],
    has_item=False,
)


@pytest.mark.parametrize(
    ("text", "line", "column", "message", "hint"),
    [
        ("{{ inputs.alpah }}", 0, 11, "there is no input 'alpah'", "did you mean 'alpha'?"),
        ("{{ inputs['nmae'] }}", 0, 11, "there is no input 'nmae'", "did you mean 'name'?"),
        ("ab\n  {{ foo }}", 1, 6, "'foo' is not defined", "there are: inputs"),
        ("{{ alpha }}", 0, 4, "'alpha' is not defined", "did you mean 'inputs.alpha'?"),
        ("{{ later }}", 0, 4, "'later' is not defined", "did you mean 'results.later'?"),
        ("{{ results.later.x }}", 0, 12, "step 'later' may not be done", "depends_on: later"),
        ("{{ results.laod }}", 0, 12, "there is no step 'laod'", "did you mean 'load'?"),
        ("{{ results.my }}", 0, 12, "there is no step 'my'", "results['my-step']"),
        ("{{ recipe.nam }}", 0, 11, "recipe has no 'nam'", "did you mean 'name'?"),
        ("{{ item }}", 0, 4, "'item' is not defined", "only a step with foreach"),
        ("{{ 1 | tojsno }}", 0, 8, "there is no filter 'tojsno'", "did you mean 'tojson'?"),
        ("{{ 1 is defind }}", 0, 6, "there is no test 'defind'", "did you mean 'defined'?"),
        ("{{ 1 + }}", 0, 8, "is no template: unexpected '}}'", "{% raw %}"),
        ("{{ inputs.size", 0, 11, "unexpected end of template, expected '}}'", "{% raw %}"),
        ("{{ 1 && 2 }}", 0, 6, "is no template: unexpected char '&'", "write and, or, not"),
        ("{{ 1 || 2 }}", 0, 7, "is no template: expected token", "write and, or, not"),
        ("{{ !1 }}", 0, 4, "is no template: unexpected char '!'", "write and, or, not"),
        ("{{ loop.index }}", 0, 4, "'loop' is not defined", ""),
        ("{{ 1 = 2 }}", 0, 6, "is no template: expected token", "to compare, write =="),
        ("{{ 'abc }}", 0, 4, "is no template: unexpected char", "{% raw %}"),
        ("a\nb {{ $x }}", 1, 6, "is no template: unexpected char '$'", "{% raw %}"),
        ("a\n{% if x %}", 1, 9, "it ends, and still needs", "{% raw %}"),
        ("{%- if 1 -%}\n {{ foo }}{% endif %}", 1, 5, "'foo' is not defined", ""),
        ("{% import 'x' as y %}", 0, 4, "templates of recipes have no import", ""),
        ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", 0, 1, "nested too deeply", ""),
    ],
)
def test_a_mistake_is_told_at_its_place(
    text: str, line: int, column: int, message: str, hint: str
) -> None:
    found = check_template(text, NAMES)
    assert [each[:2] for each in found] == [(line, column)]
    assert message in found[0].message
    assert hint in found[0].hint


@pytest.mark.parametrize(
    "text",
    [
        "{{ inputs.alpha + results.load.rows + results['load']['x'] }}",
        "{{ inputs.get('q') or inputs.items() or context.whatever or env.X or recipe.name }}",
        "{% for a in inputs.alpha %}{{ a.b }}{{ loop.index }}{% endfor %}",
        "{% set inputs = {'z': 1} %}{{ inputs.z }}",
        "{{ inputs.alpha | default(1) }} {{ range(3) }} {{ dict(a=1).a }}",
        "{% raw %}{{ foo }}{% endraw %} {%# a comment about {{ foo }} #%}",
    ],
)
def test_what_is_right_is_not_told(text: str) -> None:
    assert check_template(text, NAMES) == []


def test_item_and_index_are_known_where_there_are_items() -> None:
    names = Names(inputs={}, results=(), all_steps=(), has_item=True)
    assert check_template("{{ item.x }} {{ index }}", names) == []


def test_a_name_is_told_once() -> None:
    found = check_template("{{ foo }} {{ foo }} {{ inputs.x }} {{ inputs.x }}", NAMES)
    assert [each.column for each in found] == [4, 31]


def test_where_one_expression_is_wanted_others_are_told() -> None:
    for key, why in (("when", "which is always true"), ("foreach", "which is no list")):
        assert check_template("{{ inputs.alpha }}", NAMES, key=key) == []
        found = check_template("{{ inputs.alpha }} == 1", NAMES, key=key)
        assert [each.message for each in found] == [f"text around {{{{ }}}} makes it a text, {why}"]


@given(st.integers(0, 3), st.integers(0, 20), st.sampled_from(["{{ foo }}", "{{ 1|foo }}"]))
def test_places_are_those_of_the_characters(lines: int, blanks: int, template: str) -> None:
    text = "ä x\n" * lines + " " * blanks + template
    found = check_template(text, NAMES)
    column = blanks + template.index("foo") + 1
    assert [each[:2] for each in found] == [(lines, column)]
    assert isinstance(found[0], TemplateProblem)


def test_what_is_a_template() -> None:
    assert [is_template(each) for each in ("a", "{ {", "{{ a", "{% if")] == [
        False,
        False,
        True,
        True,
    ]
