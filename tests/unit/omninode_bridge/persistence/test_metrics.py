"""What an adapter counts of its calls, with the time given by hand."""

import pytest

from omninode_bridge.persistence.metrics import MAX_NAMES, OTHER, SAMPLES, AdapterMetrics


@pytest.fixture
def metrics() -> AdapterMetrics:
    return AdapterMetrics(now=100.0)


def test_nothing_counted_is_all_zeros(metrics: AdapterMetrics) -> None:
    read = metrics.read(now=100.0)
    assert read["total_operations"] == read["error_rate"] == 0
    assert read["performance"] == dict.fromkeys(read["performance"], 0)
    assert read["operations_by_type"] == read["avg_execution_times"] == read["errors"]["errors_by_type"] == {}


def test_calls_are_counted_by_type_with_their_mean_time(metrics: AdapterMetrics) -> None:
    for name, took_ms in (("insert", 2.0), ("insert", 4.0), ("query", 1.0)):
        metrics.count(name, took_ms=took_ms, error_code=None, now=101.0)
    read = metrics.read(now=102.0)
    assert read["operations_by_type"] == {"insert": 2, "query": 1}
    assert read["avg_execution_times"] == {"insert": 3.0, "query": 1.0}
    assert (read["total_operations"], read["uptime_seconds"]) == (3, 2.0)


def test_failed_calls_are_calls_so_that_no_rate_exceeds_all_of_them(metrics: AdapterMetrics) -> None:
    for code in ("CONFLICT", None, "CONFLICT", "TIMEOUT"):
        metrics.count("insert", took_ms=1.0, error_code=code, now=101.0)
    read = metrics.read(now=101.0)
    assert read["error_rate"] == 0.75
    assert read["errors"] == {
        "total_errors": 3,
        "error_rate_percent": 75.0,
        "errors_by_type": {"CONFLICT": 2, "TIMEOUT": 1},
    }


def test_the_times_are_those_of_the_latest_calls(metrics: AdapterMetrics) -> None:
    metrics.count("query", took_ms=1e6, error_code=None, now=101.0)
    for number in range(SAMPLES):
        metrics.count("query", took_ms=number + 1.0, error_code=None, now=101.0)
    assert metrics.read(now=101.0)["performance"] == {
        "avg_execution_time_ms": 500.5,
        "min_execution_time_ms": 1.0,
        "max_execution_time_ms": 1000.0,
        "p95_execution_time_ms": 950.0,
        "p99_execution_time_ms": 990.0,
        "sample_count": SAMPLES,
    }


def test_the_rate_is_of_the_last_minute_and_the_peak_of_the_best_second(metrics: AdapterMetrics) -> None:
    for now in (101.0, 101.5, 101.9, 102.0):
        metrics.count("query", took_ms=1.0, error_code=None, now=now)
    assert metrics.read(now=104.0)["throughput"] == {
        "operations_per_second": 1.0,
        "peak_operations_per_second": 3,
        "window_size_seconds": 60,
        "sample_count": 4,
    }
    later = metrics.read(now=161.0)["throughput"]
    assert (later["sample_count"], later["peak_operations_per_second"]) == (1, 3)
    assert metrics.read(now=500.0)["throughput"]["operations_per_second"] == 0


def test_a_caller_who_invents_names_does_not_make_it_grow(metrics: AdapterMetrics) -> None:
    for number in range(3 * MAX_NAMES):
        metrics.count(f"name-{number}", took_ms=1.0, error_code=None, now=101.0)
    read = metrics.read(now=101.0)
    assert len(read["operations_by_type"]) == MAX_NAMES + 1
    assert read["operations_by_type"][OTHER] == 2 * MAX_NAMES
