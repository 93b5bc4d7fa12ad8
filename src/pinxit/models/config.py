"""What the configurations of all families share: clear errors, JSON, common choices."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import sys
from collections.abc import Mapping
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from pinxit.data.batch import DatasetInfo
from pinxit.data.typed_json import convert_json
from pinxit.errors import UsageError, check_keys, did_you_mean

C = TypeVar("C")

DEFAULT_KEYWORD_SHARE = 0.1  # of training texts of images that have keywords


def model_config(config_class: type[C]) -> type[C]:
    """Decorate the frozen dataclass `Config` of a family.

    Its repr has the public name of the family. An unknown option, and a value that is not one of a
    `Literal`, raise UsageError.
    """
    init: Any = config_class.__init__
    signature = inspect.signature(init)

    @functools.wraps(init)
    def init_with_checks(self: Any, *args: Any, **options: Any) -> None:
        check_keys(options, _field_names(config_class), _public_name(config_class))
        _check_choices(config_class, signature.bind_partial(self, *args, **options).arguments)
        init(self, *args, **options)

    def __repr__(self: Any) -> str:
        values = [f"{name}={getattr(self, name)!r}" for name in _field_names(config_class)]
        return f"{_public_name(config_class)}({', '.join(values)})"

    setattr(config_class, "__init__", init_with_checks)  # noqa: B010
    setattr(config_class, "__repr__", __repr__)  # noqa: B010
    return config_class


def _field_names(config_class: type) -> list[str]:
    return [field.name for field in dataclasses.fields(config_class)]


def _public_name(config_class: type) -> str:
    """`VAE` for the `Config` of a family; the name of any other class."""
    module = config_class.__module__
    packages = [sys.modules.get(name) for name in (module, module.rpartition(".")[0])]
    names = [getattr(package, "PUBLIC_NAME", None) for package in packages]
    return next((name for name in names if name), config_class.__qualname__)


def _check_choices(config_class: type, options: Mapping[str, Any]) -> None:
    """Raise UsageError for a value that is not one of the field's `Literal`."""
    choices = _choices_by_field(config_class)
    for name, value in options.items():
        if name in choices and value not in choices[name]:
            known = ", ".join(repr(choice) for choice in choices[name])
            texts = [choice for choice in choices[name] if isinstance(choice, str)]
            guess = did_you_mean(str(value), texts)
            raise UsageError(f"{name} is one of {known}, not {value!r}.{guess}")


@functools.cache
def _choices_by_field(config_class: type) -> dict[str, tuple[Any, ...]]:
    """The values of each field that has a `Literal` type, alone or in a union with None."""
    choices = {}
    for name, hint in get_type_hints(config_class).items():
        members = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        if all(get_origin(m) is Literal or m is type(None) for m in members):
            literals = [v for m in members for v in (get_args(m) or (None,))]
            choices[name] = tuple(literals)
    return choices


def make_config(kind: type[C], options: Mapping[str, Any]) -> C:
    """Build a configuration from options given in Python. Raises UsageError for an unknown one."""
    check_keys(options, _field_names(kind), _public_name(kind))
    return kind(**options)


def config_from_dict(kind: type[C], record: dict[str, Any]) -> C:
    """Build a configuration from JSON.

    Raises UsageError for an unknown key, PinxitError for a value of another type.
    """
    check_keys(record, _field_names(kind), _public_name(kind))
    choices = _choices_by_field(kind)
    _check_choices(kind, {name: v for name, v in record.items() if name in choices})
    return convert_json(record, kind, f"the configuration of {_public_name(kind)}")


def num_patches_by_size(info: DatasetInfo) -> dict[int, int]:
    """Return the number of patches for each patch size that divides the images, smallest first."""
    common = math.gcd(info.height, info.width)
    sizes = [size for size in range(1, common + 1) if common % size == 0]
    return {size: (info.height // size) * (info.width // size) for size in sizes}


def choose_num_heads(width: int) -> int:
    """Return the largest number of attention heads with a head dimension of at least 32.

    At least 64 for a width of 512 and above. The head dimension is even if the width is.
    """
    max_heads = max(1, width // (64 if width >= 512 else 32))
    fitting = [heads for heads in range(max_heads, 0, -1) if width % heads == 0]
    return next((heads for heads in fitting if width // heads % 2 == 0), fitting[0])


def check_rotary(width: int, heads: int) -> None:
    """Raises UsageError for a head dimension that rotary positions cannot split into pairs."""
    if width % heads == 0 and width // heads % 2:
        raise UsageError(
            f"heads {heads} of width {width} have the odd dimension {width // heads}; rotary "
            f"positions need an even one, as of width {width + heads}."
        )
