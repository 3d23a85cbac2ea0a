"""What is told of an error: bounded, and fit for JSON whatever the error holds. Pure."""

import traceback
from collections.abc import Callable

MAX_TRACEBACK = 8_000
MAX_MESSAGE = 2_000


def text(value: str, limit: int = MAX_MESSAGE) -> str:
    """The beginning of a text; what no encoding can express becomes a question mark."""
    return value[:limit].encode("utf-8", "replace").decode()


def as_it_is(text: str) -> str:
    return text


def told(error: BaseException, of: Callable[[str], str] = as_it_is) -> dict[str, str]:
    """An error, as the attributes of an event. of: takes out of texts what nobody is to read."""
    try:
        message = str(error)
    except Exception as worse:
        message = f"its message can't be told: {worse!r}"
    trace = "".join(traceback.format_exception(error))
    return {
        "errortype": text(type(error).__name__),
        # Before it is cut: of what is cut in two, nobody would know the rest again.
        "errormessage": text(of(message)),
        "errortrace": text(of(trace)[-MAX_TRACEBACK:], MAX_TRACEBACK),
    }
