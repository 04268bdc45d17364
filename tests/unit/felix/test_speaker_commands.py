"""``calico-node -bgp-ctl``: words into requests."""

import pytest

from felix.speaker_commands import Usage, request


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("status", {"do": "status"}),
        ("routes", {"do": "routes"}),
        (
            "routes 10.0.0.0/8 --received --peer 10.0.0.2",
            {"do": "routes", "prefix": "10.0.0.0/8", "which": "received", "peer": "10.0.0.2"},
        ),
        ("announce 10.0.0.0/8 11.0.0.0/8", {"do": "announce", "prefixes": ["10.0.0.0/8", "11.0.0.0/8"]}),
        ('announce {"prefix":"10.0.0.0/8"}', {"do": "announce", "prefixes": [{"prefix": "10.0.0.0/8"}]}),
        ("withdraw 10.0.0.0/8", {"do": "withdraw", "prefixes": ["10.0.0.0/8"]}),
        ("shutdown 10.0.0.2 until noon", {"do": "shutdown", "peer": "10.0.0.2", "text": "until noon"}),
        ("remove 10.0.0.2", {"do": "remove", "peer": "10.0.0.2", "text": ""}),
        ("reload", {"do": "reload"}),
    ],
)
def test_words_are_a_request(words: str, expected: dict[str, object]) -> None:
    assert request(words.split()) == expected


@pytest.mark.parametrize(
    "words", ["", "help", "dance", "status now", "announce", "shutdown", "routes --peer", "routes --x"]
)
def test_other_words_are_answered_with_the_usage(words: str) -> None:
    with pytest.raises(Usage):
        request(words.split())
