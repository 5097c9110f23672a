"""Turns what a user wrote into a checked cron, and a cron into the task of one run."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import asdict, replace

from ..model import limits
from ..model.crons import Cron, Missed, NewCron, Overlap, TaskTemplate
from ..model.errors import Invalid, error_at
from ..model.tasks import NewTask
from ..text.strict_json import check_written, too_deep
from . import arguments, cron_schedule
from .submission import draft, new_task

SET_BACK = timedelta(hours=1)  # of a clock: a time further ahead came from a wrong clock
_TEMPLATE = TaskTemplate.__struct_fields__
_NOT_IN_TEMPLATE = frozenset(NewTask.__struct_fields__) - frozenset(_TEMPLATE)
_WANTED = NewCron.__struct_fields__
_KEPT_BY_US = frozenset(Cron.__struct_fields__) - frozenset(_WANTED)


def new_cron(raw: Any) -> NewCron:
    """Check a cron from JSON or a caller. Its template may have either form of a task.

    Raises `Invalid` with one sentence that names the field, such as `task_template.model: …`.
    """
    return _checked(fields_of(raw), None)


def _checked(fields: dict[str, Any], old: Cron | None) -> NewCron:
    """Check a cron's fields. What is unchanged from `old` is not checked again: limits may differ.

    Fields that only the queue sets are ignored: clients send complete crons back.
    """
    fields = {name: value for name, value in fields.items() if name not in _KEPT_BY_US}
    for name in fields:
        if name not in _WANTED:
            raise Invalid(f"{name} is not a field of a cron", field=str(name))
    for name in ("name", "cron_expr", "task_template"):
        if name not in fields:
            raise Invalid(f"{name} is missing: a cron needs it", field=name)
    expr, zone, template = (
        fields["cron_expr"],
        fields.get("timezone", "UTC"),
        fields["task_template"],
    )
    if old is None or fields["name"] != old.name:
        _check_name(fields["name"])
    if old is None or (expr, zone) != (old.cron_expr, old.timezone):
        cron_schedule.check(expr, zone)
    if old is None or template is not old.task_template:
        template = _template(template)
    try:
        cron = msgspec.convert({**fields, "task_template": asdict(template)}, NewCron)
        check_written(msgspec.json.encode(cron), {"metadata": cron.metadata})
        if old is None or cron.metadata != old.metadata:
            limits.check_size(cron.metadata, "metadata", limits.METADATA)
        limits.check_text(cron.tenant or "", "tenant")
    except msgspec.ValidationError as error:
        raise _named(error) from None
    except RecursionError:
        raise too_deep("the cron", "cron") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise Invalid(f"the cron cannot be written as JSON: {error}", field="cron") from None
    return cron


def changed(old: Cron, raw: Any, at: datetime) -> Cron:
    """The cron with some or all fields changed.

    A template that keeps its type is also changed field by field. Raises `Invalid` as `new_cron`.
    """
    fields = fields_of(raw)
    if "task_template" in fields:
        fields["task_template"] = _merged(old.task_template, fields["task_template"])
    checked = _checked({**{name: getattr(old, name) for name in _WANTED}, **fields}, old)
    new = replace(old, **{name: getattr(checked, name) for name in _WANTED}, updated_at=at)
    timing = ("cron_expr", "timezone", "enabled")
    if all(getattr(new, name) == getattr(old, name) for name in timing):
        return new
    return scheduled(new, at)


def restated(old: Cron, new: NewCron, sets_enabled: bool, at: datetime) -> Cron:
    """The `old` cron as a program declares it again: takes all fields of `new`, but `enabled` only
    if `sets_enabled`. Returns the same record if nothing changes."""
    fields = fields_of(new)
    if not sets_enabled:
        del fields["enabled"]
    restated_cron = changed(old, fields, at)
    return old if replace(restated_cron, updated_at=old.updated_at) == old else restated_cron


def scheduled(cron: Cron, at: datetime) -> Cron:
    """The cron with its next run after `at`, never repeating a run that it just had."""
    if not cron.enabled:
        return replace(cron, next_run=None)
    last = cron.last_run or at
    after = last if at < last < at + SET_BACK else at
    return replace(cron, next_run=cron_schedule.next_after(cron.cron_expr, cron.timezone, after))


def task_of(cron: Cron) -> NewTask:
    """The task of the cron's next run."""
    metadata = {"cron_name": cron.name, "cron_run_count": cron.run_count + 1}
    return NewTask(**asdict(cron.task_template), metadata=metadata, tenant=cron.tenant)


def fields_of(raw: Any) -> dict[str, Any]:
    if isinstance(raw, (NewCron, Cron)):
        return asdict(raw)
    return arguments.mapping(raw, "cron", "a JSON object")


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name.strip():
        raise Invalid(f"name must be a string of 1 to {limits.NAME} characters", field="name")
    limits.check_text(name, "name")


def _template(raw: Any) -> TaskTemplate:
    """Check a template like the task that it becomes."""
    if isinstance(raw, TaskTemplate):
        raw = asdict(raw)
    if not isinstance(raw, Mapping):
        raise Invalid("task_template must be an object", field="task_template")
    for name in raw:
        if name == "deadline" and raw[name] is not None:
            raise Invalid(
                "task_template.deadline would be the same instant for all runs: "
                "use start_within, which counts from each run",
                field="task_template.deadline",
            )
        if name in _NOT_IN_TEMPLATE:
            raise Invalid(
                f"task_template.{name} is not a field of a cron's task",
                field=f"task_template.{name}",
            )
    with error_at("task_template"):
        task = draft(new_task(raw)).new
    return TaskTemplate(**{name: getattr(task, name) for name in _TEMPLATE})


def _merged(old: TaskTemplate, raw: Any) -> Any:
    """Merge the new template's fields into the old one's, unless the type of task differs."""
    if isinstance(raw, TaskTemplate):
        return raw
    if not isinstance(raw, Mapping) or raw.get("type", old.type) != old.type:
        return raw
    flat = {name: value for name, value in raw.items() if name not in _TEMPLATE}
    kept = {name: value for name, value in old.payload.items() if name not in flat}
    return {**asdict(old), "payload": kept, **raw}


def _named(error: msgspec.ValidationError) -> Invalid:
    what, _, where = str(error).partition(" - at `$.")
    name = where.rstrip("`") or "cron"
    known = {"overlap": Overlap, "missed": Missed}.get(name)
    if known is not None:
        return Invalid(f"{name} must be one of {', '.join(known)}", field=name)
    return Invalid(f"{name}: {what[0].lower()}{what[1:]}", field=name)
