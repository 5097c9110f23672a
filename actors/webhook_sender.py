"""Sends events to the programs that want to know them, until they have accepted them."""

import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import assert_never
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from .api.views import listed
from .base.actor import Actor, Ref, Replied, log, reply, tell
from .base.cooperation import YieldControl, never_yield
from .base.inbox import Promise
from .base.thread_pool import begin
from .core.activity.measures import WebhookMeasures
from .core.messages import (
    Commit,
    DeliveryAnswered,
    DeliveryRead,
    DeliverySaved,
    DeliveryScheduled,
    DueFound,
    FindDueDeliveries,
    GetDelivery,
    GetTask,
    MeasureWebhooks,
    RetryDelivery,
    SubjectRead,
    ToWebhookSender,
    Wake,
    WatchDeliveries,
)
from .core.messages.replies import DueDeliveries, StoredTask
from .core.model.deliveries import (
    KEPT_ATTEMPTS,
    Delivery,
    DeliveryAttempt,
    DeliveryStatus,
    StoredDelivery,
)
from .core.model.errors import QueueError, Unavailable, cut
from .core.model.limits import ERROR
from .core.model.orders import SaveDelivery
from .core.plan.settle import utc
from .core.webhooks.message import WebhookRequest, message_body
from .core.webhooks.schedule import is_delivered, next_delay
from .core.webhooks.signature import signed_headers

AT_ONCE = 16
AT_ONCE_EACH = 4  # to one receiver
MOST_WAITING = 500
AGAIN_S = 5.0  # until the store is asked again that could not answer


class InHand(Struct):
    """A delivery that is being made."""

    stored: StoredDelivery
    receiver: str


class WebhookSender(Actor):
    """Owns the deliveries that are being made; those that wait are on disk.

    A delivery is made at least once: its outcome is saved after the receiver's answer, and a crash
    between the two repeats it, with the same id. Those about one task reach a URL in order.
    """

    def __init__(
        self,
        report: Callable[[str], None],
        *,
        yield_control: YieldControl = never_yield,
        persistence: Ref,
        secrets: Mapping[str | None, str],
        send: Callable[[WebhookRequest], DeliveryAnswered],
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`secrets` are by the name of a webhook; None: of the tasks' own URLs. `send` makes a
        request, and may block. `clock` is the wall clock: deliveries are due at an instant."""
        super().__init__(report, yield_control, clock)
        self.persistence, self.secrets, self.send = persistence, secrets, send
        self.chance = chance
        self.in_hand: dict[str, InHand] = {}  # by id, until the outcome is saved
        self.waiting: deque[StoredDelivery] = deque()  # found, and not begun
        self.busy: Counter[str] = Counter()  # requests to each receiver
        self.on_disk: int | None = None  # how many waited at the last search
        self.attempts: Counter[str] = Counter()  # by what came of them
        self.is_searching = False
        self.may_be_more = False  # search again when one is done, or the search under way has ended
        self.rest: str | None = None  # the receiver after which to search on
        self.retries: dict[int, tuple[RetryDelivery, Promise[Delivery] | None]] = {}
        self.numbers = 0

    def on_start(self) -> None:
        tell(self.persistence, WatchDeliveries(self.actor_ref))
        self.search()

    def handle(self, message: ToWebhookSender) -> Replied | None:
        match message:
            case Wake():
                self.search()
            case DueFound(due):
                self.found(due)
            case SubjectRead(delivery_id, task):
                self.request(self.in_hand[delivery_id].stored, task)
            case DeliveryAnswered(delivery_id):
                self.answered(self.in_hand[delivery_id], message)
            case DeliverySaved(delivery_id):
                self.saved(delivery_id)
            case RetryDelivery(delivery_id):
                self.retry(message, delivery_id)
            case DeliveryRead(number, found):
                self.retry_read(number, found)
            case DeliveryScheduled(number, outcome):
                self.retry_saved(number, outcome)
            case MeasureWebhooks():
                return reply(message, WebhookMeasures(self.on_disk, dict(self.attempts)))
            case _:
                assert_never(message)
        return None

    # --- finding what is due --------------------------------------------------------------------

    def search(self, after: str = "") -> None:
        self.may_be_more = True
        if not self.is_searching:
            self.is_searching, self.may_be_more = True, False
            command = FindDueDeliveries(utc(self.clock()), after)
            self.send_for(self.persistence, command, _due_or_none)

    def found(self, due: DueDeliveries | None) -> None:
        self.is_searching = False
        if due is None:  # the queue is stopping, or restarts
            self.wake_at(self.clock() + AGAIN_S)
            return
        known = {stored.delivery.id for stored in self.waiting} | self.in_hand.keys()
        self.waiting.extend(each for each in due.deliveries if each.delivery.id not in known)
        self.rest, self.on_disk = due.rest, due.waiting
        if due.next_due is not None:
            self.wake_at(due.next_due.timestamp())
        was_asked, self.may_be_more = self.may_be_more, bool(due.deliveries)
        self.begin_waiting()
        if was_asked:
            self.search()

    def begin_waiting(self) -> None:
        """Begin as many as may be made at once; search on if there is capacity for more."""
        for _ in range(len(self.waiting)):
            if len(self.in_hand) >= AT_ONCE:
                return
            stored = self.waiting.popleft()
            receiver = urlsplit(stored.target).netloc
            if self.busy[receiver] >= AT_ONCE_EACH:
                self.waiting.append(stored)
                continue
            self.busy[receiver] += 1
            self.in_hand[stored.delivery.id] = InHand(stored, receiver)
            self.begin_one(stored)
        if self.rest is not None and len(self.waiting) < MOST_WAITING and not self.is_searching:
            rest, self.rest = self.rest, None
            self.search(rest)

    # --- making one -----------------------------------------------------------------------------

    def begin_one(self, stored: StoredDelivery) -> None:
        if stored.task is None:
            self.request(stored, None)
            return
        read = partial(_subject, stored.delivery.id, stored.task.seq)
        self.send_for(self.persistence, GetTask(stored.task.id), read)

    def request(self, stored: StoredDelivery, now: StoredTask | None) -> None:
        """Make the request in a thread of its own. `now` is its task, unless it has changed."""
        delivery, me = stored.delivery, self.actor_ref
        task = None if stored.task is None else listed(stored.task, None)
        body = message_body(stored, task, now)
        secret = self.secrets.get(delivery.webhook, "")
        headers = signed_headers(delivery.id, int(self.clock()), body, secret)
        is_trusted = delivery.webhook is not None
        request = WebhookRequest(delivery.id, stored.target, headers, body, is_trusted)
        work = lambda: tell(me, self.send(request))  # noqa: E731
        try:
            begin(threading.Thread(target=work, name="ollama-queue-webhook", daemon=True))
        except Unavailable as error:
            tell(me, DeliveryAnswered(delivery.id, error=error.message))

    def answered(self, it: InHand, answer: DeliveryAnswered) -> None:
        now = utc(self.clock())
        was, status = it.stored.delivery, answer.status
        error = answer.error
        if error is None and not is_delivered(status):
            error = f"the receiver answered with status {status}"
        attempt = DeliveryAttempt(
            at=now, status=status, reply=answer.reply, error=error and cut(error, ERROR)
        )
        delivery = replace(
            was,
            attempt=was.attempt + 1,
            attempts=[*was.attempts, attempt][-KEPT_ATTEMPTS:],
            next_attempt_at=None,
        )
        if error is None:
            delivery = replace(delivery, status=DeliveryStatus.DELIVERED, ended_at=now)
        else:
            delivery = self.after_failure(delivery, status, error)
        is_waiting = delivery.status is DeliveryStatus.PENDING
        self.attempts["retried" if is_waiting else delivery.status.value] += 1
        stored = replace(it.stored, delivery=delivery)
        commit = Commit((SaveDelivery(stored),), now, True)
        self.send_for(self.persistence, commit, partial(_saved, was.id))

    def after_failure(self, delivery: Delivery, status: int | None, error: str) -> Delivery:
        delay_s, now = next_delay(delivery.attempt, status, self.chance()), self.clock()
        where = f"webhook {delivery.webhook}" if delivery.webhook else "a callback"
        if delay_s is None:
            log.warning("%s: %s of %s is given up: %s", where, delivery.event, delivery.id, error)
            return replace(delivery, status=DeliveryStatus.FAILED, ended_at=utc(now))
        log.info("%s: %s is sent again in %.0f s: %s", where, delivery.id, delay_s, error)
        self.wake_at(now + delay_s)
        return replace(delivery, next_attempt_at=utc(now + delay_s))

    def saved(self, delivery_id: str) -> None:
        it = self.in_hand.pop(delivery_id)
        self.busy[it.receiver] -= 1
        if self.busy[it.receiver] == 0:
            del self.busy[it.receiver]
        self.begin_waiting()
        if self.may_be_more and not self.waiting:
            self.search()

    # --- again ----------------------------------------------------------------------------------

    def retry(self, command: RetryDelivery, delivery_id: str) -> None:
        if delivery_id in self.in_hand:
            delivery = self.in_hand[delivery_id].stored.delivery
            commit = Commit(command.entries(), utc(self.clock()), delivery)
            self.pass_on(self.persistence, commit, self.later(command))
            return
        self.numbers += 1
        self.retries[self.numbers] = command, self.later(command)
        read = partial(DeliveryRead, self.numbers)
        self.send_for(self.persistence, GetDelivery(delivery_id), read)

    def retry_read(self, number: int, found: StoredDelivery | QueueError) -> None:
        command, promise = self.retries[number]
        if isinstance(found, QueueError):
            del self.retries[number]
            self.keep(promise, found)
            return
        now = utc(self.clock())
        delivery = replace(
            found.delivery, status=DeliveryStatus.PENDING, next_attempt_at=now, ended_at=None
        )
        again = SaveDelivery(replace(found, delivery=delivery))
        commit = Commit((again, *command.entries()), now, delivery)
        self.send_for(self.persistence, commit, partial(DeliveryScheduled, number))

    def retry_saved(self, number: int, outcome: Delivery | QueueError) -> None:
        _, promise = self.retries.pop(number)
        self.keep(promise, outcome)
        self.search()


def _due_or_none(reply: object) -> DueFound:
    return DueFound(reply if isinstance(reply, DueDeliveries) else None)


def _subject(delivery_id: str, seq: int, reply: object) -> SubjectRead:
    if isinstance(reply, StoredTask) and reply.record.seq == seq:
        return SubjectRead(delivery_id, reply)
    return SubjectRead(delivery_id, None)


def _saved(delivery_id: str, _: object) -> DeliverySaved:
    """Whatever the reply: if it could not be saved, the queue restarts, and makes it again."""
    return DeliverySaved(delivery_id)
