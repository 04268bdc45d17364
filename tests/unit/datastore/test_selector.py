"""The selector language, by upstream's own vectors: what matches, what is refused, what the canonical form is."""

from __future__ import annotations

import pytest

from datastore.selector import DEEPEST_NESTING, Malformed, parse, unique_id

Labels = dict[str, str]

MATCHES: list[tuple[str, list[Labels], list[Labels]]] = [
    # selector, labels that it matches, labels that it does not
    ('a == "b"', [{"a": "b"}, {"a": "b", "c": "d"}], [{}, {"a": "c"}, {"c": "d"}]),
    ("a == 'a'", [{"a": "a"}], [{}, {"a": "b"}]),
    ('a != "a"', [{}, {"a": "b"}], [{"a": "a"}]),
    (
        'a == "b" && c == "d"',
        [{"a": "b", "c": "d"}],
        [{}, {"a": "b", "c": "e"}, {"a": "c", "c": "d"}, {"c": "d"}, {"a": "b"}],
    ),
    (
        'a == "b" || c == "d"',
        [{"a": "b", "c": "d"}, {"a": "b"}, {"c": "d"}],
        [{}, {"a": "e", "c": "e"}, {"c": "e"}, {"a": "e"}],
    ),
    ("""a in {"'", '"', "c"}""", [{"a": "c"}, {"a": '"'}, {"a": "'"}], [{}, {"a": "e"}]),
    ("""a not in {"'", '"', "c"}""", [{}, {"a": "e"}], [{"a": "c"}, {"a": '"'}, {"a": "'"}]),
    ('a in {"a"}', [{"a": "a"}], [{"a": "b"}]),
    ('a in {"a", "b"}', [{"a": "a"}, {"a": "b"}], [{"a": "c"}]),
    ('a in {"a",}', [{"a": "a"}], [{"a": ""}, {}]),
    ("a in {}", [], [{"a": ""}, {}]),
    ("a not in {}", [{"a": ""}, {}], []),
    ('!a in {"a"}', [{"a": "b"}, {}], [{"a": "a"}]),
    ('a not in {"d", "e"}', [{"a": "a"}], [{"a": "d"}]),
    ('a contains "a"', [{"a": "a"}, {"a": "bab"}, {"a": "aaa", "b": "c"}], [{}, {"a": "b"}, {"b": "aaa"}]),
    ('a starts with "a"', [{"a": "a"}, {"a": "abb"}], [{}, {"a": "b"}, {"a": "baa"}, {"b": "aaa"}]),
    ('a ends with "a"', [{"a": "a"}, {"a": "bba"}], [{}, {"a": "b"}, {"a": "aab"}, {"b": "aaa"}]),
    ("has(a)", [{"a": "b"}, {"a": ""}], [{}, {"b": "b"}]),
    ("!has(a)", [{"b": "b"}], [{"a": "b"}]),
    ("!!has(b)", [{"b": "b"}], [{"a": "b"}]),
    ("!! ! has(a)", [{}], [{"a": "b"}]),
    ("! !!has(a)", [{}], [{"a": "b"}]),
    ("", [{}, {"a": "b"}], []),
    (" \t", [{}], []),
    (" all()", [{}, {"a": "b"}], []),
    ("all( )", [{}], []),
    ("global( )", [{}, {"a": "b"}], []),
    ("a == 'a1' && b != 'b1'", [{"a": "a1"}], [{"a": "a1", "b": "b1"}]),
    ("a != 'a1' && !b == 'b1'", [{}], [{"a": "a1", "b": "b1"}]),
    ("!a == 'a1' && b == 'b1'", [{"b": "b1"}], [{"a": "a1", "b": "b1"}]),
    ("!(!has(a) || has(b))", [{"a": "a"}], [{}, {"a": "a", "b": "b"}]),
    ("a == 'a1' || b != 'b1'", [{"a": "a1", "b": "b1"}, {}], [{"b": "b1"}]),
    ("! a == 'a1' || ! b == 'b1'", [{}, {"a": "a1"}], [{"a": "a1", "b": "b1"}]),
    # && binds closer than ||
    ("has(a) || has(b) && has(c)", [{"a": ""}, {"b": "", "c": ""}], [{"b": ""}, {"c": ""}]),
    ("(has(a) || has(b)) && has(c)", [{"a": "", "c": ""}], [{"a": ""}, {"b": ""}]),
    # the operators' words are operators only after a label
    ('contains contains "contains"', [{"contains": "contains"}], [{}]),
    ("in in {'in'}", [{"in": "in"}], [{}]),
    ('has == "x"', [{"has": "x"}], [{}]),
    ('hasty == "x" && allowed != "y" && globally == "z"', [{"hasty": "x", "globally": "z"}], [{}]),
    ("a notin{'x'}&&!has(foo)||b in{'c'}", [{}, {"b": "c"}], [{"a": "x"}]),
    ("a startswith'x'&&a endswith'y'", [{"a": "xy"}], [{"a": "x"}]),
    ("a starts \t with 'x' && a ends  with 'y'", [{"a": "xy"}], [{"a": "yx"}]),
    ("has( calico/k8s_NS-.1/role )", [{"calico/k8s_NS-.1/role": ""}], [{}]),
    ("0-9 == '0'", [{"0-9": "0"}], [{}]),
    (f"{'a' * 512} == 'v'", [{"a" * 512: "v"}], [{}]),
    ("a == 'zażółć\n'", [{"a": "zażółć\n"}], [{"a": "zażółć"}]),
]


@pytest.mark.parametrize(("selector", "matching", "others"), MATCHES)
def test_a_selector_matches_the_labels_that_it_should(
    selector: str, matching: list[Labels], others: list[Labels]
) -> None:
    parsed = parse(selector)
    assert [labels for labels in matching if not parsed.matches(labels)] == []
    assert [labels for labels in others if parsed.matches(labels)] == []


@pytest.mark.parametrize(("selector", "matching", "others"), MATCHES)
def test_the_canonical_form_selects_the_same(selector: str, matching: list[Labels], others: list[Labels]) -> None:
    again = parse(str(parse(selector)))
    assert all(again.matches(labels) for labels in matching)
    assert not any(again.matches(labels) for labels in others)


@pytest.mark.parametrize(
    ("selector", "canonical"),
    [
        ("", "all()"),
        (" all() ", "all()"),
        (" (all() )", "all()"),
        ("global( )", "global()"),
        ("! (has( b)||! has(a ))", "!(has(b) || !has(a))"),
        ('! (a == "b"&&! c != "d")', '!(a == "b" && !c != "d")'),
        ("""a == "'\"""", """a == "'\""""),
        ("""a == '"'""", """a == '"'"""),
        ("a == 'b'", 'a == "b"'),
        ("""a contains '"'""", """a contains '"'"""),
        ("""a startswith '"'""", """a starts with '"'"""),
        ("""a endswith "'\"""", """a ends with "'\""""),
        ("""a!='"'""", """a != '"'"""),
        ('a in {"d", "a", "b"}', 'a in {"a", "b", "d"}'),
        ('a in {"z", "z", "x", "y", "x", "a"}', 'a in {"a", "x", "y", "z"}'),
        ("a notin {'v'}", 'a not in {"v"}'),
        # upstream puts parentheses around the outermost && and || too
        ("k == 'v' && x == 'y'", '(k == "v" && x == "y")'),
        ("k == 'v' || has(x)", '(k == "v" || has(x))'),
        ("!(k == 'v')", '!k == "v"'),
        (
            "!(!(k == 'v' && has(t) || all()) && (a in {'b', 'c'}))",
            '!(!((k == "v" && has(t)) || all()) && a in {"b", "c"})',
        ),
    ],
)
def test_a_selector_prints_in_the_canonical_form(selector: str, canonical: str) -> None:
    assert str(parse(selector)) == canonical
    assert str(parse(canonical)) == canonical


@pytest.mark.parametrize(
    ("selector", "identifier"),
    [
        ("", "s:5y5I3VdRZfDU01O--xXAPx2yxCQQqMf0M6IWug"),
        (" (all() )", "s:5y5I3VdRZfDU01O--xXAPx2yxCQQqMf0M6IWug"),
        ("! (has( b)||! has(a ))", "s:Iss0uCleLYv1GSv_pNm7hAO58kE9jAx1NKyG3Q"),
        ('! (a == "b"&&! c != "d")', "s:lh3haoY1ikTRkd4UZu0nWSaIBknYLPJLX16d-w"),
    ],
)
def test_the_identifier_is_upstreams(selector: str, identifier: str) -> None:
    assert unique_id(parse(selector)) == identifier


@pytest.mark.parametrize(
    ("selector", "said"),
    [
        ("b == b", """expected a quoted text such as "value" at character 6"""),
        ("b contains b", """expected a quoted text such as "value" at character 12"""),
        ("b starts with b", """expected a quoted text such as "value" at character 15"""),
        ("b ends with b", """expected a quoted text such as "value" at character 13"""),
        ("'b1' == b", "expected a label, has(), all(), ! or ( at character 1"),
        ("b", "expected an operator after label b at the end"),
        ("a ", "expected an operator after label a at the end"),
        ("a b", "expected an operator after label a at character 3"),
        ("a !b", "expected an operator after label a at character 3"),
        ("a && has(b)", "expected an operator after label a at character 3"),
        ("!", "expected a label, has(), all(), ! or ( at the end"),
        ('foo == "bar" &', "expected && at character 14"),
        ('foo == "bar" |', "expected || at character 14"),
        ('label = "value"', "expected an operator after label label at character 7"),
        ("foo != ||", """expected a quoted text such as "value" at character 8"""),
        ('foo in {"", ||', "expected a closing } at character 13"),
        ("foo in {,}", "expected a closing } at character 9"),
        ('foo in ""', """expected a set such as {"a", "b"} at character 8"""),
        ('"FOO', "unterminated text at character 1"),
        ("\"FOO'", "unterminated text at character 1"),
        ("'FOO", "unterminated text at character 1"),
        ("label == 'value", "unterminated text at character 10"),
        ("(", "expected a label, has(), all(), ! or ( at the end"),
        ('(a == "foo"', "expected a closing ) at the end"),
        (")", "expected a label, has(), all(), ! or ( at character 1"),
        ("()", "expected a label, has(), all(), ! or ( at character 2"),
        ("%", "expected a label, has(), all(), ! or ( at character 1"),
        ('a == "b" || %', "expected a label, has(), all(), ! or ( at character 13"),
        ("has(foo) &&", "expected a label, has(), all(), ! or ( at the end"),
        ("has(foo) has(bar)", "expected && or || or the end at character 10"),
        ("has (foo)", "expected an operator after label has at character 5"),
        ("all(", "expected all() at character 1"),
        ("global(", "expected global() at character 1"),
        ("has()", "expected has(label) at character 1"),
        ("has( foo ", "expected has(label) at character 1"),
        ('label starts foo "value"', "expected an operator after label label at character 7"),
        ('label inf "value"', "expected an operator after label label at character 7"),
        ('label ends withs "value"', "expected an operator after label label at character 7"),
        ("has(a)\n", "expected a label, has(), all(), ! or ( at character 7"),
        ("has(ä)", "expected has(label) at character 1"),
        (f"{'a' * 513} == 'v'", "a label may have 512 characters, not 513, at character 1"),
    ],
)
def test_a_bad_selector_is_refused_with_the_place_and_what_was_expected(selector: str, said: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse(selector)
    assert str(caught.value) == f"{said} of selector {selector!r}"


def test_parentheses_may_not_go_deeper_than_our_stack() -> None:
    assert str(parse("(" * DEEPEST_NESTING + "has(a)" + ")" * DEEPEST_NESTING)) == "has(a)"
    with pytest.raises(Malformed, match="more than 50 parentheses inside each other at character 51 of"):
        parse("(" * 100_000)


def test_a_selector_that_was_read_before_is_not_read_again() -> None:
    assert parse("has(cached)") is parse("has(cached)")
