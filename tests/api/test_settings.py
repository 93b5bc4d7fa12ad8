"""Options from Python, from a settings file and by default: the first wins."""

from __future__ import annotations

import itertools
import typing
from pathlib import Path
from typing import Any, Literal

import pytest

from pinxit.api.settings import add_settings, settings_text
from pinxit.data.load_options import LoadOptions
from pinxit.errors import UsageError
from pinxit.models import get_family
from pinxit.training.option_types import _members, convert_option
from pinxit.training.settings import BUDGETS, TrainingSettings
from pinxit.training.settings_file import format_settings, table_types

FAMILY = "vae"
KINDS = {"model": get_family(FAMILY).Config, "training": TrainingSettings, "load": LoadOptions}
CANDIDATES = (True, False, 3, 8, 0.5, 2.0, "en", "burst", "4,8", "white", "0,1", ("flip",), (4, 8))


def find_other(kind: Any, name: str, type_: Any) -> Any:
    """A valid value of an option that is not its default; None if none is known."""
    choices = [
        choice
        for member in _members(type_)
        if typing.get_origin(member) is Literal
        for choice in typing.get_args(member)
    ]
    default = getattr(kind(), name)
    for value in (*choices, *CANDIDATES):
        if value == default:
            continue
        try:
            kind(**{name: value})
            read = convert_option("", name, value, type_)
        except (UsageError, TypeError, AttributeError, ValueError):
            continue
        if read == value and type(read) is type(value):
            return value
    return None


def list_options() -> list[tuple[str, str, Any, Any]]:
    """The table and the name of each option, with its default and another value."""
    options = []
    for table, types in table_types(FAMILY).items():
        for name, type_ in types.items():
            other = find_other(KINDS[table], name, type_)
            if other is not None:
                options.append((table, name, getattr(KINDS[table](), name), other))
    return options


OPTIONS = list_options()


def test_nearly_all_options_are_tried():
    known = sum(len(types) for types in table_types(FAMILY).values())
    assert len(OPTIONS) > 0.8 * known


@pytest.mark.parametrize(
    ("table", "name", "default", "other"), OPTIONS, ids=[option[1] for option in OPTIONS]
)
def test_python_wins_over_the_file_and_the_file_over_the_default(
    table, name, default, other, tmp_path
):
    file = tmp_path / "run.toml"
    for in_file, in_python in itertools.product((default, other), (default, other)):
        if in_file is None:  # no value of TOML
            continue
        file.write_text(format_settings(FAMILY, ["photos"], {name: in_file}))
        assert add_settings(file, None, None, {})[2] == {name: in_file}
        ways = [{name: in_python}]
        if table == "load":
            ways += [{"load": {name: in_python}}, {"load": {name: in_file}, name: in_python}]
        for options in ways:
            _, _, merged = add_settings(file, None, None, options)
            expected = in_file if name in BUDGETS and in_python is None else in_python
            assert merged[name] == expected, options
            assert "load" not in merged
        if table == "load" and in_python != default:
            given = {"load": LoadOptions(**{name: in_python})}
            assert add_settings(file, None, None, given)[2] == {name: in_python}


def test_no_budget_leaves_that_of_the_file(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text(format_settings(FAMILY, [], {"steps": 7}))
    assert add_settings(file, None, "photos", {"minutes": None})[2] == {"steps": 7}
    assert add_settings(file, None, "photos", {"steps": None, "epochs": None})[2] == {"steps": 7}
    assert add_settings(file, None, "photos", {"minutes": 2, "steps": None})[2] == {"minutes": 2}


def test_a_default_of_an_object_that_the_file_changes_is_refused(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text(format_settings(FAMILY, [], {"fit": "pad"}))
    with pytest.raises(UsageError, match=r"line 5: fit is set here.*give load="):
        add_settings(file, None, "photos", {"load": LoadOptions(size=16)})
    merged = add_settings(file, None, "photos", {"load": LoadOptions(size=16, fit="pad")})[2]
    assert merged == {"size": 16, "fit": "pad"}


def test_a_path_is_saved_as_a_path():
    for images in (Path("digits"), [Path("digits")]):
        assert 'data = "./digits"' in settings_text(FAMILY, images, {"steps": 1})
    assert 'data = "digits"' in settings_text(FAMILY, "digits", {"steps": 1})
