"""The `submit` commands: from options to a task, and with `--wait` to its reply."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..terminal import output, times
from ..terminal.session import Session, open_queue, session_of, shared
from ..terminal.waiting import endings
from .streaming import print_stream

if TYPE_CHECKING:
    from ...actors.core.model.errors import QueueError
    from ...actors.core.model.tasks import Task

F = TypeVar("F", bound=Callable[..., Any])
ROLES = ("system", "user", "assistant", "tool")


def messages_of(
    ctx: click.Context, param: click.Parameter, arguments: tuple[str, ...]
) -> list[dict[str, str]]:
    """Messages from `ROLE:TEXT` values; the text may contain colons."""
    messages = []
    for text in arguments:
        role, colon, content = text.partition(":")
        role = role.strip().lower()
        if not colon or role not in ROLES:
            forms = ", ".join(f"{name}:TEXT" for name in ROLES)
            raise click.BadParameter(
                f"{text!r} does not say whose words it is, write {forms}", ctx, param
            )
        messages.append({"role": role, "content": content})
    return messages


def settings_of(
    ctx: click.Context, param: click.Parameter, arguments: tuple[str, ...]
) -> dict[str, Any]:
    """Options from `KEY=VALUE` values."""
    settings = {}
    for text in arguments:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise click.BadParameter(
                f"{text!r} must be KEY=VALUE, such as temperature=0.2", ctx, param
            )
        settings[key] = json_or_text(value)
    return settings


def json_or_text(text: str) -> Any:
    """The value decoded from JSON, or the text itself if it is not JSON."""
    from ...actors.core.model.errors import Invalid
    from ...actors.core.text.strict_json import decode

    try:
        return decode(text, "the value", "value")
    except Invalid:
        return text


def _fallbacks(
    ctx: click.Context, param: click.Parameter, names: tuple[str, ...]
) -> list[str] | None:
    """The models; none for a single empty name."""
    return None if not names else [] if names == ("",) else list(names)


def _json_or_text(_: click.Context, __: click.Parameter, value: str | None) -> Any:
    return value if value is None else json_or_text(value)


def _all(*options: Callable[[F], F]) -> Callable[[F], F]:
    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


fallback = click.option(
    "--fallback",
    "fallback_models",
    metavar="MODEL",
    multiple=True,
    callback=_fallbacks,
    help="Model that may take its place. Repeatable, the best first; '' allows none.",
)
of_prompt = _all(
    click.option("--suffix", metavar="TEXT", help="Text that follows the reply."),
    click.option("--template", metavar="TEXT", help="Prompt template that replaces the model's."),
)
of_texts = click.option("--dimensions", type=int, metavar="N", help="Length of the vectors.")
of_reply = _all(
    click.option("--system", metavar="TEXT", help="System prompt."),
    click.option(
        "--format",
        metavar="json|SCHEMA",
        callback=_json_or_text,
        help="Reply in JSON, or by a JSON schema.",
    ),
    click.option(
        "--think",
        metavar="[LEVEL]",
        is_flag=False,
        flag_value="true",
        callback=_json_or_text,
        help="Thinking: true, false, low, medium or high.",
    ),
)
of_task = _all(
    click.option("--priority", metavar="P", help="low, normal, high, critical, or 1 to 15."),
    click.option(
        "--option",
        "options",
        metavar="KEY=VALUE",
        multiple=True,
        callback=settings_of,
        help="A model option, such as temperature=0.2. Repeatable.",
    ),
    click.option("--max-retries", type=int, metavar="N", help="Retries after a failed call."),
    click.option(
        "--timeout",
        "timeout_s",
        metavar="DURATION",
        callback=times.seconds,
        help="Time limit of each attempt, e.g. 90s or 10m.",
    ),
    click.option(
        "--start-within",
        metavar="DURATION",
        callback=times.seconds,
        help="Fail if it has not started so long after its submit or scheduled time.",
    ),
    fallback,
    click.option("--backend", metavar="NAME", help="Model server to run on: its name, or tag:TAG."),
    click.option(
        "--remote-execution", is_flag=True, default=None, help="Run it on a remote model server."
    ),
    click.option(
        "--tag", "tags", metavar="TAG", multiple=True, help="Label to filter by. Repeatable."
    ),
    click.option("--callback-url", metavar="URL", help="Send the event of the task's end there."),
)
_stream = click.option("--stream", is_flag=True, help="Print the reply as it is generated.")
_submit = _all(
    click.option(
        "--scheduled-at",
        metavar=times.TIME,
        callback=times.from_now,
        help="Earliest start, e.g. 2026-12-25T10:00:00Z, or 2h from now.",
    ),
    click.option(
        "--deadline",
        metavar=times.TIME,
        callback=times.from_now,
        help="Fail if it has not ended: a time, or from now, e.g. 10m or 1h30m.",
    ),
    click.option(
        "--idempotency-key",
        metavar="KEY",
        help="Repeating the key and the task finds the first one.",
    ),
    click.option("--wait", is_flag=True, help="Wait for the task and print its reply."),
)
_model = click.option("--model", required=True, metavar="NAME", help="Model name.")


class TaskTypeGroup(click.Group):
    """A group whose commands are the task types; options must follow them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption:
            kinds = ", ".join(sorted(self.commands))
            raise click.UsageError(f"missing task type: {kinds}", ctx) from None


@click.group(cls=TaskTypeGroup)
@shared
def submit() -> None:
    """Submit a task: chat, generate or embed.

    \b
    Example:
      ollama-queue submit chat --model qwen3 --messages "user:Hello" --priority high
    """


@submit.command()
@_model
@click.option(
    "--messages",
    required=True,
    multiple=True,
    callback=messages_of,
    metavar="ROLE:TEXT",
    help=f"A message of the conversation by {', '.join(ROLES)}. Repeatable.",
)
@of_reply
@_stream
@of_task
@_submit
@shared
@click.pass_context
def chat(ctx: click.Context, /, **given: Any) -> None:
    """Submit a chat.

    \b
    Example:
      ollama-queue submit chat --model qwen3 --messages "user:Hello, how are you?" --wait
    """
    _send(ctx, "chat", given)


@submit.command()
@_model
@click.option("--prompt", required=True, metavar="TEXT", help="Prompt text.")
@of_prompt
@of_reply
@_stream
@of_task
@_submit
@shared
@click.pass_context
def generate(ctx: click.Context, /, **given: Any) -> None:
    """Submit a prompt to complete.

    \b
    Example:
      ollama-queue submit generate --model qwen3 --prompt "Write a haiku" --option temperature=1
    """
    _send(ctx, "generate", given)


@submit.command()
@_model
@click.option(
    "--input", required=True, multiple=True, metavar="TEXT", help="A text to embed. Repeatable."
)
@of_texts
@of_task
@_submit
@shared
@click.pass_context
def embed(ctx: click.Context, /, **given: Any) -> None:
    """Submit texts to embed.

    \b
    Example:
      ollama-queue submit embed --model nomic-embed-text --input "one" --input "two"
    """
    _send(ctx, "embed", given)


def _send(ctx: click.Context, kind: str, options: dict[str, Any]) -> None:
    from ...actors.core.intake.submission import new_task

    session = session_of(ctx)
    key, is_awaited = options.pop("idempotency_key"), options.pop("wait")
    is_streamed = options.pop("stream", False)
    fields = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in options.items()
        if value is not None and value != ()
    }
    new = new_task({"type": kind, **fields})
    queue = open_queue(ctx)
    submitted = queue.submit(new, idempotency_key=key)
    if is_streamed:
        session.say(f"Task {submitted.task_id}:")
        print_stream(session, submitted.task_id, queue.stream_task(submitted.task_id))
        return
    if not is_awaited:
        output.print_submitted(session, submitted)
        return
    session.say(f"Task {submitted.task_id}: waiting for it to end")
    for ending in endings(session, queue, [submitted.task_id]):
        _print_answer(session, ending)


def _print_answer(session: Session, ending: "Task | QueueError") -> None:
    if isinstance(ending, Exception):
        raise ending
    if session.speaks_json:
        output.print_json(ending)
    output.check_completed(ending)
    if not session.speaks_json:
        output.print_answer(ending)
