"""How a command that changes things went, in upstream's words. Source: Calico calicoctl/commands/crud_commands.go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from calicoctl.failure import Failure
from calicoctl.terminal import Terminal

NOTHING = "No resources specified"


class Outcome(NamedTuple):
    """Of ``total`` documents. ``is_tried``: they got as far as the datastore. ``kind`` is "" where they differ."""

    kind: str
    total: int
    is_tried: bool
    errors: Sequence[Exception] = ()

    @property
    def handled(self) -> int:
        return self.total - len(self.errors) if self.is_tried else 0


class Verb(NamedTuple):
    name: str
    past: str


CREATE = Verb("create", "created")
APPLY = Verb("apply", "applied")
REPLACE = Verb("replace", "replaced")
VALIDATE = Verb("validate", "validated")


def report(terminal: Terminal, verb: Verb, outcome: Outcome) -> None:
    """Says what was done. Raises Failure with all that went wrong."""
    if not outcome.total:
        terminal.say(NOTHING)
        return
    wrong = f"[{' '.join(map(str, outcome.errors))}]"
    if not outcome.handled:
        raise _none_handled(verb, outcome, wrong)
    if not outcome.errors:
        _say_success(terminal, verb, outcome)
        return
    if outcome.handled > len(outcome.errors):
        _say_partial(terminal, verb, outcome, outcome.handled)
    raise Failure(f"hit error: {wrong}")


def report_replaced(terminal: Terminal, outcome: Outcome) -> None:
    """The same for ``replace``, which counts as handled whatever reached the datastore, and tells its last error."""
    if not outcome.total:
        terminal.say(NOTHING)
        return
    if not outcome.errors:
        _say_success(terminal, REPLACE, outcome)
        return
    wrong = str(outcome.errors[-1])
    if not outcome.is_tried:
        raise _none_handled(REPLACE, outcome, wrong)
    _say_partial(terminal, REPLACE, outcome, outcome.total)
    raise Failure(f"hit error: {wrong}")


def report_deleted(terminal: Terminal, outcome: Outcome) -> None:
    if not outcome.total:
        terminal.say(NOTHING)
        return
    if outcome.handled:
        _say_success(terminal, Verb("delete", "deleted"), outcome)
    if outcome.errors:
        what = f"'{outcome.kind}' resource" if outcome.kind else "resource"
        raise Failure("".join(f"Failed to delete {what}: {error}\n" for error in outcome.errors))


def _none_handled(verb: Verb, outcome: Outcome, wrong: str) -> Failure:
    if outcome.total == 1:
        return Failure(f"failed to {verb.name} '{outcome.kind}' resource: {wrong}")
    kind = f"'{outcome.kind}' " if outcome.kind else ""
    return Failure(f"failed to {verb.name} any {kind}resources: {wrong}")


def _say_success(terminal: Terminal, verb: Verb, outcome: Outcome) -> None:
    kind = f"'{outcome.kind}' " if outcome.kind else ""
    terminal.say(f"Successfully {verb.past} {outcome.handled} {kind}resource(s)")


def _say_partial(terminal: Terminal, verb: Verb, outcome: Outcome, handled: int) -> None:
    kind = f"'{outcome.kind}' " if outcome.kind else ""
    first = f"{verb.past} the first {handled} out of {outcome.total} {kind}resources:"
    terminal.say(f"Partial success: {first}")
