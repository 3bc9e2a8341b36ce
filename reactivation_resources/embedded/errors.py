"""What an embedded server's caller may have to handle."""


class EmbeddedServerError(RuntimeError):
    """An embedded server did not start, answer or stop; the message says which one, why, and what to do."""
