"""What is told of an error: bounded, and fit for JSON whatever the error holds. Pure."""

import traceback

MAX_TRACEBACK = 8_000
MAX_MESSAGE = 2_000


def text(value: str, limit: int = MAX_MESSAGE) -> str:
    """The beginning of a text; what no encoding can express becomes a question mark."""
    return value[:limit].encode("utf-8", "replace").decode()


def told(error: BaseException) -> dict[str, str]:
    """An error, as the attributes of an event."""
    try:
        message = str(error)
    except Exception as worse:
        message = f"its message can't be told: {worse!r}"
    trace = "".join(traceback.format_exception(error))
    return {
        "errortype": text(type(error).__name__),
        "errormessage": text(message),
        "errortrace": text(trace[-MAX_TRACEBACK:], MAX_TRACEBACK),
    }
