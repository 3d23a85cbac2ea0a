"""Callbacks that came before whom they are for: what each event makes of what keeps them.

Written apart from the fold, as `tests.proof.life` is.
"""

from streamwf import events
from streamwf.events import Event, derived_id
from streamwf.record import CORRELATION, State
from tests.proof.life import REMEMBERED, Life, Refused, Verdict, with_call, without

#: Runs that one value leads to.
TARGETS = 1_000


def a_mailbox(event: Event) -> Life:
    """One that is empty."""
    run_id = derived_id(event.kind, event.source, event.subject)
    empty = Life(event.kind, event.subject, run_id, event.time, state=State.RUNNING, entered=True)
    empty.version = empty.basis = 0
    return empty


def told(mailbox: Life, event: Event) -> None:
    """Raises Refused."""
    if event.type == events.CALLBACK:
        _keep(mailbox, event)
    elif event.type == events.CORRELATE:
        _lead(mailbox, event)
    elif event.type == events.UNCORRELATE:
        target = (event.origin, event.runid)
        if target not in mailbox.targets:
            raise Refused(Verdict.NO_SUCH_RUN)
        mailbox.targets = [each for each in mailbox.targets if each != target]
    elif event.type == events.RELEASED:
        _let_go(mailbox, event)
    else:
        raise Refused(Verdict.STATE_FORBIDS)
    mailbox.version += 1
    mailbox.basis = mailbox.version
    mailbox.gone = not mailbox.calls and not mailbox.targets


def _keep(mailbox: Life, event: Event) -> None:
    if event.id in mailbox.requests:
        raise Refused(Verdict.DUPLICATE)
    if not mailbox.targets:
        if event.until is None or event.until <= event.time:
            raise Refused(Verdict.NO_SUCH_RUN)
        mailbox.calls = with_call(mailbox.calls, event, event.until)
    mailbox.requests = [*mailbox.requests, event.id][-REMEMBERED:]


def _lead(mailbox: Life, event: Event) -> None:
    target = (event.origin, event.runid)
    if mailbox.kind != CORRELATION:
        raise Refused(Verdict.STATE_FORBIDS)
    if target in mailbox.targets:
        raise Refused(Verdict.DUPLICATE)
    if len(mailbox.targets) >= TARGETS:
        raise Refused(Verdict.FULL)
    # What it keeps goes to the first run that there is.
    mailbox.targets, mailbox.calls = [*mailbox.targets, target], {}


def _let_go(mailbox: Life, event: Event) -> None:
    released = event.call.split()
    if not any(name in mailbox.calls for name in released):
        raise Refused(Verdict.STALE)
    for name in released:
        mailbox.calls = without(mailbox.calls, name)
    mailbox.requests = [each for each in mailbox.requests if each not in released]
