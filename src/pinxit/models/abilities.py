"""The abilities of models by name, and the error for a model that lacks one."""

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
    """Return the names of a model's abilities."""
    return tuple(name for name, protocol in ABILITIES.items() if isinstance(model, protocol))


def require(model: Any, ability: str) -> Any:
    """Return the model. Raises PinxitError if it lacks the ability; names families that have it."""
    if isinstance(model, ABILITIES[ability]):
        return model
    name = family_of(model.config)
    directions = getattr(get_family(name), "DIRECTIONS", {})
    if ability in directions:  # the family has the ability if trained in another direction
        source, target = directions[ability]
        raise PinxitError(
            f"this {name} run can {', '.join(abilities(model))}, but not {ability}; "
            f"train one with --source {source} --target {target}."
        )
    others = [other for other in list_families() if ability in get_family(other).ABILITIES]
    raise PinxitError(
        f"a {name} run cannot {ability}; these families can: {', '.join(others) or 'none'}."
    )
