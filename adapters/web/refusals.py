"""What operations of the HTTP API have in common: where they are, and how they are refused."""

from streamwf import errors

WORKFLOWS = "/api/v1/workflows"
WORKFLOW = f"{WORKFLOWS}/{{name}}"
RUNS = "/api/v1/runs"

#: Of a request that goes to the worker that owns what it is about.
ELSEWHERE = (errors.NotReady, errors.WorkerUnreachable)
CHANGES = (
    *ELSEWHERE,
    errors.DeadlineExceeded,
    errors.RecordTooLarge,
    errors.BrokerUnreachable,
    errors.KeyReused,
)
OF_WORKFLOW = (errors.WorkflowNotFound,)
STARTS = (
    errors.InvalidForeignId,
    errors.InvalidObject,
    errors.UnknownStatus,
    errors.TerminalStart,
)
