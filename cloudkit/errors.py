"""The one kind of error that a user can mend; scripts show its message without a traceback."""


class UserError(ValueError):
    """Something given is wrong: the message says what, what was expected and what to do."""
