"""Which events are delivered, and where to."""

from collections.abc import Iterable, Sequence

from ..config.config import Webhook
from ..config.urls import shown
from ..model.deliveries import Delivery, StoredDelivery
from ..model.event_names import ENDS
from ..model.events import EventRecord


class DeliveryRules:
    """Decides which deliveries an event needs: of the settings, and of its task's `callback_url`.

    A task's own URL gets the event of its end, a webhook of the settings the events that it names.
    """

    def __init__(self, webhooks: Sequence[Webhook]) -> None:
        self._webhooks = [(webhook, frozenset(webhook.events)) for webhook in webhooks]
        self._wanted = ENDS.union(*(events for _, events in self._webhooks))

    def of(self, events: Iterable[EventRecord]) -> list[StoredDelivery]:
        """The deliveries of these events, in order."""
        wanted = self._wanted
        return [made for event in events if event.event in wanted for made in self._of(event)]

    def _of(self, event: EventRecord) -> list[StoredDelivery]:
        task = event.task
        targets: list[tuple[str | None, str]] = []
        if task is not None and task.callback_url is not None and event.event in ENDS:
            targets.append((None, task.callback_url))
        for webhook, events in self._webhooks:
            is_ours = webhook.tenant is None or (task is not None and task.tenant == webhook.tenant)
            if event.event in events and is_ours:
                targets.append((webhook.name, webhook.url))
        return [_delivery(event, n, name, url) for n, (name, url) in enumerate(targets)]


def _delivery(event: EventRecord, number: int, webhook: str | None, url: str) -> StoredDelivery:
    task = event.task
    delivery = Delivery(
        id=f"msg_{event.seq:016x}{number:02x}",
        event=event.event,
        task_id=None if task is None else task.id,
        webhook=webhook,
        url=shown(url),
        created_at=event.at,
        next_attempt_at=event.at,
        tenant=None if task is None else task.tenant,
    )
    return StoredDelivery(
        delivery=delivery, target=url, task=task, backend=event.backend, reason=event.reason
    )
