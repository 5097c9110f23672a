"""Which events go where, how requests are signed, and when they are made again."""

import base64
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from ollama_queue import Config, Invalid, Task, generate_task
from ollama_queue.actors.api.views import listed
from ollama_queue.actors.core.config.config import CallbackSettings, Webhook
from ollama_queue.actors.core.config.webhook_values import networks, signing_key
from ollama_queue.actors.core.messages.replies import StoredTask
from ollama_queue.actors.core.model.deliveries import StoredDelivery
from ollama_queue.actors.core.model.events import EventRecord
from ollama_queue.actors.core.model.tasks import Record
from ollama_queue.actors.core.webhooks.message import RESULT, message_body
from ollama_queue.actors.core.webhooks.rules import DeliveryRules
from ollama_queue.actors.core.webhooks.schedule import DELAYS_S, is_delivered, next_delay
from ollama_queue.actors.core.webhooks.signature import signed_headers
from ollama_queue.actors.core.webhooks.targets import is_allowed, target_fault
from tests.support.recorders import START, a_record

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
URL = "https://app.example.com/hook"


def event(name: str, task: Record | None = None, seq: int = 42, **more: Any) -> EventRecord:
    return EventRecord(name, task, START, seq, **more)


def about(rules: DeliveryRules, *events: EventRecord) -> list[tuple[str, str | None, str]]:
    return [(it.delivery.event, it.delivery.webhook, it.target) for it in rules.of(events)]


def test_the_end_of_a_task_goes_to_its_own_url() -> None:
    task, plain = replace(a_record(1), callback_url=URL), a_record(2)
    events = [
        event("task_started", task), event("task_completed", task), event("task_completed", plain),
    ]  # fmt: skip
    assert about(DeliveryRules(()), *events) == [("task_completed", None, URL)]


def test_a_webhook_of_the_settings_gets_what_it_names() -> None:
    ours = Webhook(name="ours", url="http://a/x?key=1", events=["task_failed"], tenant="alice")
    servers = Webhook(name="servers", url="http://b", events=["backend_changed"])
    rules = DeliveryRules([ours, servers])
    alices, bobs = replace(a_record(1), tenant="alice"), replace(a_record(2), tenant="bob")
    made = rules.of(
        [
            event("task_failed", alices), event("task_failed", bobs),
            event("task_completed", alices),
            event("backend_changed", backend="gpu1", reason="no answer"),
        ]
    )  # fmt: skip
    assert [(it.delivery.webhook, it.task and it.task.tenant) for it in made] == [
        ("ours", "alice"),
        ("servers", None),
    ]
    assert made[0].target == "http://a/x?key=1"
    assert made[0].delivery.url == "http://a/x", "what may be secret is not shown"
    body = json.loads(message_body(made[1], None, None))
    assert body["data"] == {"backend": "gpu1", "reason": "no answer"}


@given(st.lists(st.integers(0, 1 << 60), unique=True))
def test_ids_sort_by_the_order_of_events(numbers: list[int]) -> None:
    task = replace(a_record(1), callback_url=URL)
    rules = DeliveryRules([Webhook(name="all", url="http://a")])
    made = rules.of(event("task_completed", task, seq) for seq in sorted(numbers))
    ids = [it.delivery.id for it in made]
    assert ids == sorted(set(ids))
    assert len(ids) == 2 * len(numbers)


def test_the_official_library_accepts_the_signature() -> None:
    body, at = b'{"type": "task_completed"}', int(time.time())
    headers = signed_headers("msg_1", at, body, SECRET)
    assert Verifier(SECRET).verify(body, headers) == json.loads(body)
    with pytest.raises(WebhookVerificationError):
        Verifier(SECRET).verify(body + b" ", headers)
    assert "webhook-signature" not in signed_headers("msg_1", at, body, "")


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "secret", "whsec_!", "whsec_QUJD", SECRET + "QUJD" * 30]
)
def test_what_is_no_secret(secret: str) -> None:
    assert signing_key(secret) is None
    if secret:
        with pytest.raises(Invalid, match=r"^callbacks\.secret must be whsec_ and 24 to 64 bytes"):
            Config(callbacks=CallbackSettings(secret=secret))


@given(st.integers(1, 20), st.sampled_from([None, 200, 301, 404, 410, 500]), st.floats(0, 1))
def test_it_is_made_again_later_and_later_for_three_days(
    attempt: int, status: int | None, chance: float
) -> None:
    delay = next_delay(attempt, status, chance)
    if status == 410 or attempt > len(DELAYS_S):
        assert delay is None
    else:
        assert delay is not None
        assert DELAYS_S[attempt - 1] <= delay <= 1.1 * DELAYS_S[attempt - 1]


def test_the_last_attempt_is_after_some_three_days() -> None:
    assert 3 <= sum(DELAYS_S) / 86_400 < 3.5


def test_only_a_2xx_is_accepted() -> None:
    assert [s for s in (None, 199, 200, 204, 299, 300, 307, 400, 500) if is_delivered(s)] == [
        200, 204, 299,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1",
        "169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1",
        "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "64:ff9b::7f00:1", "2002:7f00:1::", "2002:a00:1::",
    ],
)  # fmt: skip
def test_an_address_that_only_this_network_reaches_is_refused(address: str) -> None:
    assert not is_allowed(address, ())


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_a_public_address_is_allowed(address: str) -> None:
    assert is_allowed(address, ())


def test_a_network_may_be_allowed() -> None:
    allowed = networks(["10.0.0.0/8", "::1"])
    assert is_allowed("10.1.2.3", allowed)
    assert is_allowed("::ffff:10.1.2.3", allowed)
    assert is_allowed("::1", allowed)
    assert not is_allowed("127.0.0.1", allowed)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a/b", "file:///etc/passwd", "//a", "a", "", "http://", "http://user:word@a/",
        "http://a/#b", "http://a\r\nHost: b", "http://ä.example.com", "http://a/" + "x" * 2048,
        "gopher://a",
    ],
)  # fmt: skip
def test_what_is_no_url_for_deliveries(url: str) -> None:
    assert target_fault(url) is not None
    with pytest.raises(Invalid, match=r"^callback_url must be a") as refusal:
        generate_task("smollm2", "hi", callback_url=url)
    assert refusal.value.field == "callback_url"


def shown(task: Record) -> Task:
    return listed(task, None)


def test_a_large_result_is_left_to_be_read() -> None:
    task = replace(a_record(1), callback_url=URL)
    (made,) = DeliveryRules(()).of([event("task_completed", task)])

    def body(made: StoredDelivery, result: bytes | None) -> Any:
        now = StoredTask(task, b'{"metadata": {"mine": 1}}', result)
        return json.loads(message_body(made, shown(task), now))["data"]

    assert body(made, b'{"a": 1}')["task"]["result"] == {"a": 1}
    assert body(made, b'{"a": 1}')["task"]["metadata"] == {"mine": 1}
    assert "payload" not in body(made, None)["task"]
    large = body(made, b'"%s"' % (b"x" * RESULT))
    assert (large["task"]["result"], large["result_omitted"]) == (None, True)
    changed = json.loads(message_body(made, shown(task), None))["data"]
    assert changed["task"]["result"] is None
