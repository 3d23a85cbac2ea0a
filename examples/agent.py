"""An AI agent: it thinks, uses tools, and asks a person before it does what can't be undone.

Each thought and each use of a tool is a step of its own: what was paid for is never asked twice
because a worker has died, a tool that fails is tried again by itself, and the approval of a person
may take a week. The model here is a few lines of Python, so that the example runs anywhere.
"""

from datetime import timedelta
from enum import StrEnum, auto
from typing import TypeAlias

from pydantic import BaseModel

from streamwf import Cancel, Pause, Retry, Run, Workflow
from streamwf.pacing import Breaker, Rate


class Turn(BaseModel):
    """What was said, and by whom: the user, the model, a tool or a person who approves."""

    by: str
    said: str


class Task(BaseModel):
    """What the agent is to do, and all that was said about it."""

    goal: str
    turns: list[Turn] = []
    tool: str = ""
    thoughts: int = 0
    answer: str = ""


class Approval(BaseModel):
    """A person's word on what the agent wants to do."""

    approved: bool
    by: str
    comment: str = ""


class Status(StrEnum):
    THINKING = auto()
    USING_TOOL = auto()
    AWAITING_APPROVAL = auto()
    DONE = auto()
    REFUSED = auto()


TaskRun: TypeAlias = Run[Task, Status]

#: After so many thoughts a person has to look at it.
MANY_THOUGHTS = 40

TOOLS = {
    "search": lambda goal: f"three pages about {goal}",
    "read": lambda goal: f"all there is to know about {goal}",
}

agents = Workflow(
    "agents", Task, Status, start=Status.THINKING, example=Task(goal="a tidy mailbox")
)


@agents.step(
    Status.THINKING,
    to=[Status.USING_TOOL, Status.AWAITING_APPROVAL, Status.DONE],
    timeout=timedelta(minutes=2),
    rate=Rate(50),
    breaker=Breaker(failures=10, rest=timedelta(minutes=1)),
    parallel=20,
)
async def think(run: TaskRun) -> Status | Pause:
    task = run.object
    if task.thoughts >= MANY_THOUGHTS:
        return Pause(f"it has thought {task.thoughts} times")
    task.thoughts += 1
    task.tool = next_move(task)
    task.turns.append(Turn(by="model", said=task.tool or "I am done"))
    if not task.tool:
        task.answer = task.turns[-2].said
        return Status.DONE
    return Status.USING_TOOL if task.tool in TOOLS else Status.AWAITING_APPROVAL


@agents.step(
    Status.USING_TOOL,
    to=Status.THINKING,
    retry=Retry(attempts=5),
    on_error=Status.THINKING,
)
async def use_tool(run: TaskRun) -> Status:
    # A tool that can't be asked twice gets the key that is the same for every attempt.
    run.object.turns.append(Turn(by="tool", said=TOOLS[run.object.tool](run.object.goal)))
    return Status.THINKING


@agents.callback(Status.AWAITING_APPROVAL, to=[Status.THINKING, Status.REFUSED], payload=Approval)
async def decide(run: TaskRun, approval: Approval) -> Status | Cancel:
    said = f"{'yes' if approval.approved else 'no'}: {approval.comment}"
    run.object.turns.append(Turn(by=approval.by, said=said))
    if approval.approved:
        return Status.THINKING
    return Status.REFUSED


@agents.timeout(Status.AWAITING_APPROVAL, after=timedelta(days=7), to=Status.REFUSED)
async def nobody_decided(run: TaskRun) -> Status:
    run.object.turns.append(Turn(by="nobody", said="no answer within a week"))
    return Status.REFUSED


def next_move(task: Task) -> str:
    """What a model would say: which tool to use next; nothing once it is done."""
    plan = ["search", "read", "delete everything else", ""]
    return plan[min(task.thoughts - 1, len(plan) - 1)]
