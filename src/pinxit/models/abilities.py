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
    "invert": p.CanInvert,
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
# abilities whose names do not say what a model cannot do; the others read as verbs
PHRASES = {
    "invert": "interpolate",
    "encode": "interpolate or traverse latents",
    "elbo": "compute an ELBO",
}
SPELLED_WITH_VOWEL = "AEFHILMNORSX"  # letters whose names begin with a vowel: "an M"


def abilities(model: object) -> tuple[str, ...]:
    """Return the names of a model's abilities."""
    return tuple(name for name, protocol in ABILITIES.items() if isinstance(model, protocol))


def with_article(family: str) -> str:
    """Return `a vae`, `an mae`: an abbreviation is spelled, a word is read."""
    public_name = get_family(family).PUBLIC_NAME
    vowels = SPELLED_WITH_VOWEL if public_name.isupper() else "AEIOU"
    first = public_name if public_name.isupper() else family.upper()
    return f"{'an' if first[0] in vowels else 'a'} {family}"


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
    if data := getattr(get_family(name), "NEEDS", {}).get(ability):
        cannot = PHRASES.get(ability, ability)
        raise PinxitError(f"this {name} run cannot {cannot}: it was trained without {data}.")
    others = [other for other in list_families() if ability in get_family(other).ABILITIES]
    hint = getattr(get_family(name), "USED_BY", "")
    raise PinxitError(
        f"{with_article(name)} run cannot {PHRASES.get(ability, ability)}; these families can: "
        f"{', '.join(others) or 'none'}." + (f"\n{hint}" if hint else "")
    )
