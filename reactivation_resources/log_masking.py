"""Keeps phones and names out of logs, whoever writes them.

What to add here: what must not be read in a log. What to keep out: formats and destinations of logs.

Phones are recognised and masked. Names cannot be recognised, so nothing of ours logs them, and of an error only its type and the lines of
code are kept: the words of a database or validation error quote the values it met.
"""

import logging
import re
import traceback

from reactivation_core.phones import mask_phone

# Ids and dates are recognised first, so that their digits are left alone.
_WORTH_A_LOOK = re.compile(
    r"(?P<kept>\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b"
    r"|\b(?:19|20)\d\d-(?:0[1-9]|1[0-2])-(?:[0-2]\d|3[01])(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?(?!\d))"
    r"|\d{5,}(?=(?::\d+)?@(?:c\.us|s\.whatsapp\.net|lid)\b)"
    r"|\+\d(?:[ \t\xa0().-]{0,3}\d){5,}"
    r"|\d(?:[ \t\xa0().-]{0,3}\d){9,}"
)
_NOT_DIGIT = re.compile(r"\D")
_SAFE_WORDS = "reactivation_"  # our own errors speak without phone or name


class MaskingFilter(logging.Filter):
    """Rewrites a record before it is formatted: phones masked, errors without their values."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask the record; it always passes."""
        record.msg, record.args = mask_text(record.getMessage()), None
        if record.exc_info and record.exc_info[1] is not None:
            record.exc_text = mask_text(_without_values(record.exc_info[1]))
            record.exc_info = None
        return True


def install() -> None:
    """Mask what every handler of this process writes that exists now. Doing it again changes nothing."""
    loggers = [logging.getLogger(), *logging.root.manager.loggerDict.values()]
    handlers = [handler for logger in loggers if isinstance(logger, logging.Logger) for handler in logger.handlers]
    for handler in [*handlers, logging.lastResort]:
        if handler is not None and not any(isinstance(item, MaskingFilter) for item in handler.filters):
            handler.addFilter(MaskingFilter())


def mask_text(text: str) -> str:
    """`text` with everything that looks like a phone in its masked form: `+7999***1234`."""
    return _WORTH_A_LOOK.sub(_masked, text)


def _masked(match: re.Match[str]) -> str:
    return match[0] if match["kept"] else mask_phone("+" + _NOT_DIGIT.sub("", match[0]))


def _without_values(error: BaseException) -> str:
    """The error and its causes: type and code lines of each, words only where they are our own."""
    parts = []
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        kind = type(cause)
        words = f": {cause}" if kind.__module__.startswith(_SAFE_WORDS) else ""
        parts.append(
            "".join(traceback.format_tb(cause.__traceback__)) + f"{kind.__module__}.{kind.__qualname__}{words}"
        )
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return "\n\ncaused by\n".join(parts)
