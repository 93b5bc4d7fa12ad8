"""Numbers, keys and records as text."""

from __future__ import annotations

import math

import pytest

from pinxit.reports.formatting import (
    flatten_record,
    format_count,
    format_key,
    format_number,
    format_option,
    format_value,
    shorten_file_name,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234.5, "1,234"), (0.04567, "0.0457"), (-3.14159, "−3.14"), (7.0, "7"), (1e-7, "1.00e−7")],
)
def test_numbers_have_three_significant_figures(value, text):
    assert format_number(value) == text


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_are_not_finite_are_a_dash(value):
    assert format_number(value) == "–"
    assert format_value(value) == "–"


def test_counts_from_a_million_on_are_abbreviated():
    assert format_count(12_300) == "12,300"
    assert format_count(12_300_000) == "12.3 M"


def test_keys_become_words_with_acronyms_in_capitals():
    assert format_key("kl_warmup") == "KL warmup"
    assert format_key("fsq_levels") == "FSQ levels"


def test_values_of_any_json_type_are_formatted():
    assert format_value(None) == "–"
    assert format_value([True, 0.1, "a"]) == "yes, 0.1, a"
    assert format_value(list(range(20))) == "0, 1, 2, 3, 4, 5, 6, 7, … (20)"
    assert format_value([]) == "–"


def test_nested_records_are_flattened():
    record = {"seed": 0, "feature_space": {"accuracy": 0.5, "task": "label"}}
    assert flatten_record(record) == [
        ("seed", "0"),
        ("feature space, accuracy", "0.5"),
        ("feature space, task", "label"),
    ]


def test_options_are_written_as_on_the_command_line():
    assert format_option("latent_dim") == "--latent-dim"


@pytest.mark.parametrize(
    ("name", "stem", "extension"),
    [
        ("a.png", "a", ".png"),
        ("holiday_2019-00012-Lanzarote.jpeg", "holiday_2019-00012-Lanzarote", ".jpeg"),
        (f"{'a' * 40}{'b' * 40}.png", f"{'a' * 15}…{'b' * 15}", ".png"),
        ("row 3 of a table", "row 3 of a table", ""),
        (".hidden", ".hidden", ""),
    ],
)
def test_long_file_names_are_shortened_in_the_middle(name, stem, extension):
    assert shorten_file_name(name) == (stem, extension)
