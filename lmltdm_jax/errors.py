"""Exceptions a user can catch. All of them carry one line that names the culprit."""


class LmltdmError(Exception):
    """Base class: everything raised on purpose by this package."""


class InputError(LmltdmError, ValueError):
    """A parameter, column, file, preset or term that cannot be used as given."""
