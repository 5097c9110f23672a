"""Lines of the log, as text and as JSON, and the file that they go to."""

import json
import logging
import sys
from pathlib import Path

import pytest

from ollama_queue.actors import logs
from ollama_queue.actors.core.config.config import LoggingSettings
from ollama_queue.actors.core.model.errors import Invalid
from ollama_queue.actors.logs import JsonFormatter, LogLine, LogLines, TextFormatter, open_handler


def record(message: object, *args: object, error: BaseException | None = None) -> logging.LogRecord:
    info = None if error is None else (type(error), error, error.__traceback__)
    made = logging.LogRecord("ollama_queue", logging.WARNING, "f.py", 1, message, args, info)
    made.created = 1_800_000_000.25
    return made


def test_a_line_as_text_ends_with_its_facts() -> None:
    facts = {"model": "qwen3:8b", "run_s": 0.5, "error": 'it said "no"\nand left', "n": ""}

    assert str(LogLine("task 1 failed", {"task_id": "1"}, facts)) == (
        'task 1 failed model=qwen3:8b run_s=0.5 error="it said \\"no\\"\\nand left" n=""'
    )


def test_a_line_as_json_has_its_facts_as_fields() -> None:
    line = LogLine("task 1 failed", {"event": "task_failed", "task_id": "1"}, {"run_s": 0.5})

    assert json.loads(JsonFormatter().format(record(LogLines([line])))) == {
        "time": "2027-01-15T08:00:00.250Z",
        "level": "warning",
        "message": "task 1 failed",
        "event": "task_failed",
        "task_id": "1",
        "run_s": 0.5,
    }


def test_each_line_of_a_record_stands_by_itself() -> None:
    made = record(
        LogLines([LogLine("task 1 failed", {}, {"n": 1}), LogLine("queue paused", {}, {})])
    )
    text, written = TextFormatter().format(made), JsonFormatter().format(made)

    head = TextFormatter().formatTime(made)
    assert text == (
        f"{head} WARNING ollama_queue task 1 failed n=1\n{head} WARNING ollama_queue queue paused"
    )
    assert [json.loads(line)["message"] for line in written.splitlines()] == [
        "task 1 failed",
        "queue paused",
    ]
    assert TextFormatter().format(record("it said %s", "no")).endswith(" ollama_queue it said no")


def test_a_device_is_never_rotated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "ROTATE_AT", 0)
    handler = open_handler(LoggingSettings(file="/dev/null"))
    for _ in range(3):
        handler.handle(record("gone"))
    handler.close()

    assert not Path("/dev/null.1").exists()


FORGED = "no\n2027-01-15 08:00:00,250 INFO ollama_queue task 2 completed"


def test_no_text_passes_for_a_line_of_the_log() -> None:
    line = LogLine("task 1 failed", {}, {"error": f"{FORGED}\r\x1b[1A\u202e", "model": "m\u2028"})
    try:
        raise ValueError(FORGED)
    except ValueError as error:
        records = [
            record(LogLines([line])),
            record("it said %s", FORGED),
            record("oh", error=error),
        ]
    at = TextFormatter().formatTime(records[0])
    lines = [each for made in records for each in TextFormatter().format(made).splitlines()]

    begun = [each.removeprefix(f"{at} ") for each in lines if not each.startswith("    ")]
    assert begun == [
        r'WARNING ollama_queue task 1 failed error="no\n2027-01-15 08:00:00,250 INFO ollama_queue '
        r'task 2 completed\r\u001b[1A\u202e" model="m\u2028"',
        "WARNING ollama_queue it said no",
        "WARNING ollama_queue oh",
    ]


@pytest.mark.parametrize("word", ["a\nb", "é", "\udcff", '"', "\x1b[31m", "\u2028"])
def test_json_is_one_line_whatever_is_said(word: str) -> None:
    written = JsonFormatter().format(record("it said %s", word))

    assert len(written.splitlines()) == 1
    assert json.loads(written)["message"] == f"it said {word}"


def test_json_tells_of_exceptions() -> None:
    try:
        raise ValueError("so")
    except ValueError as error:
        written = JsonFormatter().format(record("oh", error=error))

    assert json.loads(written)["exception"].endswith("ValueError: so")


def test_no_file_is_stderr() -> None:
    handler = open_handler(LoggingSettings())

    assert isinstance(handler, logging.StreamHandler)
    assert handler.stream is sys.stderr


def test_a_file_gets_its_folder_and_is_rotated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "ROTATE_AT", 1)
    path = tmp_path / "far" / "away" / "q.log"
    handler = open_handler(LoggingSettings(file=str(path), format="json"))
    for number in range(8):
        handler.handle(record("number %d", number))
    handler.close()

    assert sorted(p.name for p in path.parent.iterdir()) == [
        "q.log", "q.log.1", "q.log.2", "q.log.3", "q.log.4", "q.log.5",
    ]  # fmt: skip
    assert json.loads(path.read_text())["message"] == "number 7"


def test_a_file_is_added_to(tmp_path: Path) -> None:
    path = tmp_path / "q.log"
    for word in ("one \udcff", "two"):
        handler = open_handler(LoggingSettings(file=str(path)))
        handler.handle(record(word))
        handler.close()

    assert [line.partition("ollama_queue ")[2] for line in path.read_text().splitlines()] == [
        "one \\udcff",
        "two",
    ]


@pytest.mark.parametrize(
    ("path", "why"),
    [("folder", "Is a directory"), ("file/q.log", "Not a directory"), ("a" * 300, "name too long")],
)
def test_a_file_that_cannot_be_written_is_named(tmp_path: Path, path: str, why: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(Invalid) as caught:
        open_handler(LoggingSettings(file=str(tmp_path / path)))

    assert caught.value.field == "logging.file"
    assert caught.value.message.startswith(f"logging.file: {tmp_path / path} cannot be written: ")
    assert why in caught.value.message
