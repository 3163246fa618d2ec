"""Errors that scripts show without a traceback, because a user can fix their cause."""


class UserError(ValueError):
    """Error in what a user gave: the message says what is wrong, what was expected, what to do."""


class CheckpointError(UserError):
    """Error of a file of weights that cannot be used; the message names the file."""
