"""The abilities of models by name: what a model can do, and the error where it cannot."""

from __future__ import annotations

from typing import Any

from pinxit.errors import PinxitError
from pinxit.models import family_of, get_family, list_families
from pinxit.models import protocols as p

ABILITIES: dict[str, type] = {
    "sample": p.CanSample,
    "reconstruct": p.CanReconstruct,
    "encode": p.CanEncode,
    "embed": p.CanEmbed,
    "score": p.CanScore,
    "complete": p.CanComplete,
    "tokenize": p.CanTokenize,
    "draw": p.CanDraw,
    "caption": p.CanCaption,
    "edit": p.CanEdit,
    "translate": p.CanTranslate,
    "elbo": p.HasELBO,
}


def abilities(model: object) -> tuple[str, ...]:
    """What a model can do, by the names above."""
    return tuple(name for name, protocol in ABILITIES.items() if isinstance(model, protocol))


def require(model: Any, ability: str) -> Any:
    """The model itself. Raises PinxitError, naming the families that have the ability."""
    if isinstance(model, ABILITIES[ability]):
        return model
    name = family_of(model.config)
    able = [other for other in list_families() if ability in get_family(other).ABILITIES]
    directions = getattr(get_family(name), "DIRECTIONS", {})
    if ability in directions:  # the family can, trained in another direction
        source, target = directions[ability]
        raise PinxitError(
            f"this {name} run can {', '.join(abilities(model))}, but not {ability}; "
            f"train one with --source {source} --target {target}."
        )
    raise PinxitError(
        f"a {name} run cannot {ability}; these families can: {', '.join(able) or 'none'}."
    )
