"""Errors that scripts show without a traceback, because a user can fix their cause."""


class UserError(ValueError):
    """Error in what a user gave: the message says what is wrong, what was expected, what to do."""


def describe_error(error: BaseException) -> str:
    """Return an error's message; an operating system's in words, without its number."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}"
    return str(error)


class CheckpointError(UserError):
    """Error of a file of weights that cannot be used; the message names the file."""
