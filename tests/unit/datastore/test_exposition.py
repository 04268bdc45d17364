"""Families become the lines of Prometheus' text format."""

from __future__ import annotations

import pytest

from datastore.monitoring.durations import Durations
from datastore.monitoring.exposition import NO_LABELS, Family, Type, text
from felix.process_usage import read


def test_a_gauge_has_a_line_for_each_set_of_labels() -> None:
    family = Family("routes", Type.GAUGE, "Routes.", {(("state", "b"),): 2, (("state", 'a"\\\n'),): 0.5})
    assert text([family]) == (
        '# HELP routes Routes.\n# TYPE routes gauge\nroutes{state="a\\"\\\\\\n"} 0.5\nroutes{state="b"} 2\n'
    )


def test_a_histogram_counts_what_took_no_longer_than_each_limit() -> None:
    took = Durations((0.01, 0.1))
    for seconds in (0.005, 0.01, 0.05, 7.0):
        took.add(seconds)
    assert text([Family("add", Type.HISTOGRAM, "ADD.", {(("c", "x"),): took})]).splitlines()[2:] == [
        'add_bucket{c="x",le="0.01"} 2',
        'add_bucket{c="x",le="0.1"} 3',
        'add_bucket{c="x",le="+Inf"} 4',
        'add_sum{c="x"} 7.065',
        'add_count{c="x"} 4',
    ]


def test_a_summary_has_its_sum_and_its_count() -> None:
    took = Durations()
    took.add(2.0)
    assert text([Family("pass", Type.SUMMARY, "Passes.", {NO_LABELS: took})]).splitlines()[2:] == [
        "pass_sum 2",
        "pass_count 1",
    ]


def test_a_process_knows_what_it_takes() -> None:
    usage = read()
    assert usage is not None
    assert usage.open_files >= 3 and usage.cpu_s > 0
    assert usage.virtual_bytes > usage.resident_bytes > 1 << 20
    assert usage.started_wall_s == pytest.approx(1.8e9, rel=0.5)
