"""A settings file says every option of every family, and its errors name the line."""

from __future__ import annotations

import tomllib
import typing
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pinxit
from pinxit.api.settings import add_settings, settings_text
from pinxit.errors import UsageError
from pinxit.models import list_families
from pinxit.training.option_types import _members
from pinxit.training.settings_file import (
    AUTO,
    CALL_TYPES,
    format_settings,
    read_settings,
    save_settings,
    table_types,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(-(2**62), 2**62),
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    str: TEXTS,
}


def values_of_type(kind: Any) -> st.SearchStrategy[Any]:
    def one(member: Any) -> st.SearchStrategy[Any]:
        if typing.get_origin(member) is Literal:
            return st.sampled_from(typing.get_args(member))
        if typing.get_origin(member) is tuple:
            element, *more = typing.get_args(member)
            sizes = (0, 4) if Ellipsis in more else (1 + len(more), 1 + len(more))
            return st.lists(one(element), min_size=sizes[0], max_size=sizes[1]).map(tuple)
        return SCALARS[member]

    return st.one_of([one(member) for member in _members(kind)])


@st.composite
def settings_of_any_family(draw) -> tuple[str, list[str], dict[str, Any]]:
    family = draw(st.sampled_from([AUTO, *list_families()]))
    types = {name: kind for known in table_types(family).values() for name, kind in known.items()}
    types |= {name: kind for name, kind in CALL_TYPES.items() if name not in ("family", "data")}
    chosen = draw(st.lists(st.sampled_from(sorted(types)), unique=True, max_size=12))
    values = {name: draw(values_of_type(types[name])) for name in chosen}
    return family, draw(st.lists(TEXTS, max_size=3)), values


@given(settings=settings_of_any_family())
def test_what_is_written_is_read(settings, tmp_path_factory):
    family, data, values = settings
    file = tmp_path_factory.mktemp("settings") / "run.toml"
    save_settings(file, format_settings(family, data, values))
    found = read_settings(file)
    assert (found.family, list(found.data), found.values) == (family, data, values)
    for name, line in found.lines.items():
        text = file.read_text("utf-8").split("\n")[line - 1]
        assert text.startswith(f"{name} = ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("minutes", "the last line: Expected"),
        ("\n\nminuts = 3", "line 3: no option 'minuts'. Did you mean 'minutes'?"),
        ("[modle.x]\ny = 1", r"line 1: no table \[modle\].*Did you mean 'model'"),
        ("latent_dim = 3", "line 1: no family is chosen; latent_dim is an option of vae"),
        ('family = "vea"', "line 1: no family 'vea'.*Did you mean 'vae'"),
        ('family = "mae"\nlatents = "grid"', "line 2: mae has no option latents"),
        ('family = "vae"\n[training]\nlatent_dim = 3', r"line 3: latent_dim is no option of"),
        ('family = "vae"\nlatents = "grod"', "line 2: latents is .*Did you mean 'grid'"),
        ("augment = [\n'flip',\n3]\nsteps = 1", "line 1: augment is auto"),
        ("note = 1\n", "line 1: no option 'note'"),
        ("steps = true", "line 1: steps takes a whole number, not true"),
        ('batch_size = "64"', "line 1: batch_size takes a whole number, not '64'"),
        ("seed = 1\n[training]\nseed = 2", "line 3: seed is set twice"),
        ("overwrite = true", "line 1: overwrite is no setting of a file: give --overwrite"),
        ("a = " + "[" * 5000, "nested too deeply|Expected|Unclosed|Invalid"),
    ],
)
def test_an_error_names_the_line(text, message, tmp_path):
    file = tmp_path / "run.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=message) as error:
        read_settings(file)
    assert str(file) in str(error.value)


def test_an_invalid_value_names_its_line(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('family = "vae"\n\n[model]\nlatent_dim = 0\n')
    with pytest.raises(UsageError, match="line 4: latent_dim must be at least 1"):
        read_settings(file).build("model")


def test_other_settings_are_not_overwritten(tmp_path):
    file = tmp_path / "run.toml"
    save_settings(file, "steps = 1\n")
    save_settings(file, "steps = 1\n")
    with pytest.raises(UsageError, match="exists with other settings"):
        save_settings(file, "steps = 2\n")
    save_settings(file, "steps = 2\n", overwrite=True)
    assert tomllib.loads(file.read_text()) == {"steps": 2}


def test_a_name_that_is_not_unicode_is_refused():
    with pytest.raises(UsageError, match="not valid Unicode"):
        format_settings(AUTO, ["a\udcff"], {})


def test_python_reads_and_writes_the_same_file(tmp_path):
    file = tmp_path / "run.toml"
    text = settings_text(pinxit.VAE(latent_dim=3), "photos", {"steps": 4, "size": 16})
    file.write_text(text)
    model, images, options = add_settings(file, None, None, {"minutes": 2})
    assert (model, images) == ("vae", "photos")
    assert options == {"latent_dim": 3, "size": 16, "minutes": 2}
    with pytest.raises(UsageError, match="options of the model are given twice"):
        add_settings(file, pinxit.VAE(), None, {})
