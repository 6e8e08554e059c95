"""The one error a user should see as a sentence: value found, rule, remedy."""


class UserError(ValueError):
    """Unusable arguments or input. The command line prints its message on stderr and ends with 2."""


class BadScanError(UserError):
    """A scan that cannot be read: truncated, without k-space, all zero, NaN, wrong axes, moved."""
