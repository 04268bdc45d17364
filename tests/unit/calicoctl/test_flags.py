"""Command lines are taken apart as cobra and pflag do it, with their complaints."""

from __future__ import annotations

import pytest

from calicoctl.failure import Failure
from calicoctl.flags import Flag, Takes, parse
from tests.unit.calicoctl.shell import Shell

FLAGS = (
    Flag("output", "", "o", default="ps"),
    Flag("all", "", "A", Takes.NOTHING),
    Flag("recursive", "", "R", Takes.NOTHING),
    Flag("file", "", "f"),
    Flag("seconds", "", takes=Takes.NUMBER, default="-1"),
    Flag("report", "", takes=Takes.TEXTS),
)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("a b", "plain=a,b output=ps all=False file= seconds=-1"),
        ("a -o yaml b", "plain=a,b output=yaml all=False file= seconds=-1"),
        ("a -oyaml", "plain=a output=yaml all=False file= seconds=-1"),
        ("a -o=yaml", "plain=a output=yaml all=False file= seconds=-1"),
        ("--output=x --output y", "plain= output=y all=False file= seconds=-1"),
        ("-ARf f.yaml a", "plain=a output=ps all=True file=f.yaml seconds=-1"),
        ("--all=false a", "plain=a output=ps all=False file= seconds=-1"),
        ("-f -", "plain= output=ps all=False file=- seconds=-1"),
        ("-- -A --x", "plain=-A,--x output=ps all=False file= seconds=-1"),
        ("--seconds 30", "plain= output=ps all=False file= seconds=30"),
        ("-o -A", "plain= output=-A all=False file= seconds=-1"),
    ],
)
def test_a_line_is_flags_and_words(line: str, told: str) -> None:
    words = parse(line.split(), FLAGS)
    shown = {
        "plain": ",".join(words.plain),
        "output": words.text("output"),
        "all": words.has("all"),
        "file": words.text("file"),
        "seconds": words.number("seconds"),
    }
    assert " ".join(f"{name}={value}" for name, value in shown.items()) == told


def test_a_flag_that_is_given_again_and_again_keeps_all() -> None:
    assert parse(["--report", "a", "--report=b"], FLAGS).texts("report") == ["a", "b"]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("--foo", "unknown flag: --foo"),
        ("-x", "unknown shorthand flag: 'x' in -x"),
        ("-Ax", "unknown shorthand flag: 'x' in -Ax"),
        ("-o", "flag needs an argument: 'o' in -o"),
        ("--output", "flag needs an argument: --output"),
        ("--=x", "bad flag syntax: --=x"),
        (
            "--all=maybe",
            'invalid argument "maybe" for "-A, --all" flag: strconv.ParseBool: parsing "maybe": invalid syntax',
        ),
        ("--seconds=x", 'invalid argument "x" for "--seconds" flag: strconv.ParseInt: parsing "x": invalid syntax'),
    ],
)
def test_what_is_wrong_with_a_line_is_told_in_pflags_words(line: str, complaint: str) -> None:
    with pytest.raises(Failure) as caught:
        parse(line.split(), FLAGS)
    assert str(caught.value) == complaint


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("nope", 'unknown command "nope" for "calicoctl"'),
        ("gett", 'unknown command "gett" for "calicoctl"\n\nDid you mean this?\n\tget\n'),
        ("patch ippool", "accepts 2 arg(s), received 1"),
        ("patch ippool a b", "accepts 2 arg(s), received 3"),
        ("label nodes node1", "requires at least 3 arg(s), only received 2"),
        ("get nodes -l loud", "unknown log level: loud, expected one of: panic, fatal, error, warn, info, debug"),
        ("ipam configure --ip-cooldown-seconds=x", 'parsing "x": invalid syntax'),
    ],
)
def test_a_command_that_is_called_wrongly_says_how(line: str, complaint: str) -> None:
    shown = Shell()(line)
    assert complaint in shown.err
    assert (shown.out, shown.status) == ("", 1)
