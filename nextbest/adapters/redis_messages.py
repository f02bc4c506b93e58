"""What State on Redis and its scripts say to each other: what is asked, what was read, and what is to be written.

Belongs here: the forms. Numbers that a script passes on are below 2^53, for Lua knows doubles only; what it would join
into text is text already. Does not belong here: the scripts (`nextbest.adapters.redis_scripts`), or making and reading
these (`nextbest.adapters.redis_plans`).
"""

import msgspec

from nextbest.adapters.state_effects import Part

Known = tuple[str, str, int]
"""The id of a contact, its entry as text, and 1 if it is held."""


class Ask(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is to be read; with `now`, whatever has expired by then is given back first."""

    log_id: str = ""
    """Of the log that State must have caught up with; otherwise nothing is read, and nothing given back."""
    customer_id: str | None = None
    now: str | None = None
    overdue_rows: int = 0
    contacts_since: str = "+inf"
    interactions_since: str = "+inf"
    decisions: tuple[str, ...] = ()
    counters: tuple[str, ...] = ()
    signals: tuple[str, ...] = ()


class Contacts(msgspec.Struct, array_like=True):
    """A customer's contacts. A list of each kind costs the server half of what a list for each contact does."""

    ids: list[str] = []
    texts: list[str] = []
    held: list[str] = []
    """The ids of those that are."""


class Reply(msgspec.Struct, array_like=True):
    """What was read. A hash is a list of names and values in turn."""

    consents: list[list[str]]
    """By name of the customer's."""
    pauses: list[str]
    arms: list[list[str]]
    contacts: Contacts
    interactions: list[str]
    decisions: list[list[Known]]
    seen: list[str | None]
    held: list[str | None]
    versions: list[str | None]
    is_caught_up: int = 1
    forgotten: str | None = None
    """Up to when contacts have been forgotten; asked for with decisions."""
    names: list[str] = []
    """All that the customer goes by."""
    signals: list[str | None] = []


class Latest(msgspec.Struct, array_like=True):
    """A value that holds until one of a later moment is said; of two at the same moment the one of higher rank."""

    key: str
    name: str
    at: int
    rank: int
    text: str
    is_by_text: bool = False
    """Whether it overrules one of the same moment and rank where its text sorts after the other's."""


class Writes(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What must still hold, and what is written then."""

    log_id: str = ""
    """Of the log that State must have caught up with."""
    part: Part | None = None
    """Of which log the effects are: nothing is to be done where they do not follow, or are there already."""
    versions: list[tuple[str, str]] = []
    """Names of a customer's, and how often what is filed under each had been changed, or who it belongs to."""
    decisions: dict[str, list[Known]] = {}
    room: list[tuple[str, int, int, int]] = []
    """A counter, what the decision itself holds of it, and between what the rest must be."""
    put: list[tuple[str, str, str, str, int, int]] = []
    """Id, entry, decision, customer, the moment up to which it may count, and its expiry if it is held, else 0."""
    drop: list[tuple[str, str, str]] = []
    """Id, decision and customer."""
    usage: list[tuple[str, int, int]] = []
    latest: list[Latest] = []
    first: list[tuple[str, str, str]] = []
    """Key, name and text of what is kept where there is nothing yet."""
    interactions: list[tuple[str, str, int, str]] = []
    """Event id, customer, moment and interaction."""
    forget: list[str] = []
    """Names: everything else said of them goes."""
    emptied: str | None = None
    """How often State had been emptied, or somebody erased."""
    nodes: list[tuple[str, str]] = []
    """Names, and how often what ties each, or whose it is, had been changed."""
    ties: list[tuple[str, str, str]] = []
    """Two names and what was said of them."""
    untie: list[tuple[str, str]] = []
    customers: list[tuple[str, str]] = []
    """A name and the customer it belongs to; none where it stands alone."""
    erased: list[str] = []
    """Names of which not even that is left how often they were changed."""
    overruns: int = 0
