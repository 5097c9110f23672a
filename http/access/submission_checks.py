"""What the caller of a request may submit."""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from ...actors.core.access.keys import Grant
from ...actors.core.intake.arguments import AnyTask
from ...actors.core.intake.submission import parse_priority
from ...actors.core.model.errors import Forbidden, Invalid, QueueError, choose_from
from ...actors.core.model.tasks import NewTask, Priority


class SubmissionChecks(Struct, frozen=True):
    """Which tasks a key may submit; `backends` are the names of those it may use, None: all."""

    grant: Grant
    backends: list[str] | None

    def allowed(self, new: AnyTask) -> AnyTask:
        """The task with its tenant, a priority, and its backends if the key restricts them. Raises
        `Forbidden`, naming the field; what is malformed is left for later checks."""
        is_record = isinstance(new, NewTask)
        fields = asdict(new) if isinstance(new, NewTask) else dict(new)
        fields["tenant"] = self.tenant_for(fields.get("tenant"))
        if not is_record and fields.get("priority") is None:
            most = self.grant.rules.max_priority
            if most is not None:
                fields["priority"] = min(int(Priority.NORMAL), most)
        else:
            try:
                level = parse_priority(fields["priority"])
            except Invalid:
                level = 1
            check_level(self.grant, level)
        others = fields.get("fallback_models")
        self.check_models((fields.get("model"), *(others if isinstance(others, list) else ())))
        if (backend := self.backend_for(fields.get("backend"))) is not None:
            fields["backend"] = backend
        return NewTask(**fields) if is_record else fields

    def check_models(self, models: Iterable[Any]) -> None:
        """Raise `Forbidden` for a model that the key does not allow."""
        for model in models:
            if isinstance(model, str) and not self.grant.may_use_model(model):
                raise Forbidden(
                    f"model must be one that the key {self.grant.name} allows, not {model[:100]}",
                    field="model",
                )

    def tenant_for(self, named: Any) -> Any:
        """The tenant of what the caller makes. Raises `Forbidden` if it names another."""
        own = self.grant.tenant
        if own is None:
            return named
        if named is not None and named != own:
            raise Forbidden(
                f"tenant must be {own}, that of the key {self.grant.name}, or left out",
                field="tenant",
            )
        return own

    def backend_for(self, named: Any) -> Any:
        """Where a task may run: as it says itself, or all backends of the key."""
        if self.backends is None:
            return named
        if isinstance(named, str):
            if not all(each in self.backends for each in named.split(",")):
                raise self._no_backend()
            return named
        if not self.backends:
            raise self._no_backend()
        return ",".join(self.backends)

    def _no_backend(self) -> QueueError:
        known = choose_from(self.backends or [])
        return Forbidden(
            f"backend must be one that the key {self.grant.name} allows: {known}", field="backend"
        )


def check_level(grant: Grant, level: int) -> None:
    """Raise `Forbidden` for a priority above the key's highest."""
    most = grant.rules.max_priority
    if most is not None and level > most:
        raise Forbidden(
            f"priority must be at most {most} with the key {grant.name}", field="priority"
        )
