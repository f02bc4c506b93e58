"""Who the demo's households are, made up: names, birth dates and addresses, and second accounts in a web shop.

Belongs here: people nobody can be, and how they write themselves down a second time. Does not belong here: the rows
that say so (`simulation`).

Every draw is a hash of its purpose and the customer, so a household's people are the same in every sample.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from functools import cache
from string import ascii_lowercase
from typing import Final

from nextbest.hashing import uniform

Person = dict[str, str | None]

_WITH_ACCOUNT: Final = 0.03
"""The share of households with an account in the web shop, under another customer id."""
_EDITED: Final = 0.12
"""How often a field is written with a letter wrong."""
_LEFT_OUT: Final = {"birth_date": 0.3, "house_number": 0.05, "region": 0.1}
"""How often a field is not filled in."""
_MOVED: Final = 0.05
"""How often the address is another one."""
_BORN_BETWEEN: Final = (date(1935, 1, 1), date(1998, 12, 31))

# Each is drawn more often than the ones after it, as names are among people.
_GIVEN: Final = (
    "James Mary Robert Patricia John Jennifer Michael Linda David Elizabeth William Barbara Richard Susan Joseph "
    "Jessica Thomas Karen Christopher Sarah Charles Lisa Daniel Nancy Matthew Sandra Anthony Betty Mark Ashley "
    "Donald Emily Steven Kimberly Andrew Margaret Paul Donna Joshua Michelle Kenneth Carol Kevin Amanda Brian "
    "Melissa Timothy Deborah Ronald Stephanie Jason Rebecca Ryan Sharon Gary Laura Nicholas Cynthia Eric Dorothy "
    "Jonathan Amy Larry Kathleen"
)
_SURNAMES: Final = (
    "Smith Johnson Williams Brown Jones Garcia Miller Davis Rodriguez Martinez Hernandez Lopez Gonzalez Wilson "
    "Anderson Taylor Moore Jackson Martin Lee Perez Thompson White Harris Sanchez Clark Ramirez Lewis Robinson "
    "Walker Young Allen King Wright Scott Torres Nguyen Hill Flores Green Adams Nelson Baker Hall Rivera Campbell "
    "Mitchell Carter Roberts Gomez Phillips Evans Turner Diaz Parker Cruz Edwards Collins Reyes Stewart Morris "
    "Morales Murphy Cook Rogers Gutierrez Ortiz Morgan Cooper Peterson Bailey Reed Kelly Howard Ramos Kim Cox Ward "
    "Richardson Watson Brooks Chavez Wood Bennett Gray Mendoza Ruiz Hughes Price Alvarez Castillo Sanders Patel "
    "Myers Long Ross Foster Jimenez"
)
_STREETS: Final = (
    "Main Church Oak Pine Maple Cedar Elm Washington Lake Hill Walnut Spring North Ridge Lincoln Park Sunset "
    "Jackson River Franklin Highland Meadow Forest Mill Cherry Dogwood Laurel Prospect Adams Jefferson Madison "
    "Chestnut Spruce Willow Locust Center Union Valley Vine Railroad"
)
_STREET_KINDS: Final = ("Street", "Avenue", "Road", "Lane", "Drive")
_CITIES: Final = (
    ("Ashford", "45011"),
    ("Brookville", "45309"),
    ("Carlton", "45322"),
    ("Dunmore", "45402"),
    ("Eastgate", "45245"),
    ("Fairhaven", "45003"),
    ("Glenwood", "45217"),
    ("Harrow", "45030"),
    ("Ironton", "45638"),
    ("Kenwood", "45236"),
    ("Lakeview", "43331"),
    ("Milford", "45150"),
)
_REGION: Final = "OH"


def person(customer: str) -> Person:
    """Who holds the card of a household, and where they live."""
    first, last = _BORN_BETWEEN
    return {
        "given_name": _of(_GIVEN, customer, "given name"),
        "surname": _of(_SURNAMES, customer, "surname"),
        "birth_date": (first + timedelta(days=int((last - first).days * _unit("birth date", customer)))).isoformat(),
        **_address(customer),
    }


def web_account(customer: str) -> str | None:
    """The customer id of a household's account in the web shop, where it has one: nothing in it tells whose it is."""
    if _unit("web account", customer) >= _WITH_ACCOUNT:
        return None
    return f"web-{int(1e8 * _unit('web id', customer)):08d}"


def as_typed(who: Person, account: str) -> Person:
    """The same person as typed into the form of an account: some have moved since, and some keys are next to others."""
    typed = who | (_address(account) if _unit("moved", account) < _MOVED else {})
    for name, value in typed.items():
        if _unit("left out", account, name) < _LEFT_OUT.get(name, 0):
            typed[name] = None
        elif value and _unit("edited", account, name) < _EDITED:
            typed[name] = _edited(value, account, name)
    return typed


def _address(whose: str) -> Person:
    city, postcode = _CITIES[int(len(_CITIES) * _unit("city", whose))]
    return {
        "house_number": str(1 + int(250 * _unit("house number", whose))),
        "street": f"{_of(_STREETS, whose, 'street')} {_STREET_KINDS[int(5 * _unit('kind of street', whose))]}",
        "city": city,
        "postcode": postcode,
        "region": _REGION,
    }


def _of(text: str, whose: str, purpose: str) -> str:
    """One of the words of a text, the first of them most often."""
    words = _words(text)
    return words[int(len(words) * _unit(purpose, whose) ** 1.5)]


@cache
def _words(text: str) -> Sequence[str]:
    return text.split()


def _edited(value: str, *whose: str) -> str:
    """With one character left out, put twice, replaced, or before its neighbour."""
    at = int(len(value) * _unit("where", *whose))
    letter = value[at]
    other = ascii_lowercase if letter.isalpha() else "0123456789"
    edits = (
        value[:at] + value[at + 1 :],
        value[:at] + letter + value[at:],
        value[:at] + other[int(len(other) * _unit("letter", *whose))] + value[at + 1 :],
        value[:at] + value[at + 1 : at + 2] + letter + value[at + 2 :],
    )
    return edits[int(len(edits) * _unit("edit", *whose))] or value


def _unit(*key: str) -> float:
    return uniform("complete journey people", *key)
