"""The error that scripts show without a traceback, because a user can fix its cause."""


class UserError(ValueError):
    """Error in what a user gave: the message says what is wrong, what was expected, what to do."""
