"""Errors a person reads: each says what is wrong and what to do.

Belongs here: the base class every deliberate error derives from, so that the command line can print it without a stack
trace. An error of one room is defined in that room's module.
"""


class NextbestError(Exception):
    """Something a person can mend; the message says what and how."""


class SettingError(NextbestError):
    """An environment variable has a value its setting does not take."""
