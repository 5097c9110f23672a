"""`make demo`: runs a real model and the queue for half a minute, through the CLI.

A dozen short tasks of mixed priority arrive while the model's only slot is busy. The demo prints
the order in which they ran, and exits with 0 if all completed in the right order.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

from model_server import ROOT, LlamaServer, ServerProcess, write_config

BIN = Path(sys.executable).parent
PRIORITIES = ("low", "normal", "high", "critical")
THINGS = (
    *("a colour", "a city", "a river", "an animal", "a fruit", "a planet"),
    *("a metal", "a dance", "a tree", "a game", "a tool", "a bird"),
)
Task = dict[str, Any]


class QueueServer(ServerProcess):
    """A queue server, with the model server as its backend and all its data in the folder."""

    def __init__(self, folder: Path, model_url: str) -> None:
        super().__init__("the queue", folder / "queue.log")
        self.folder = folder
        write_config(folder / "config.yaml", model_url)

    def command(self) -> list[str | Path]:
        config, data = self.folder / "config.yaml", self.folder / "data"
        server = BIN / "ollama-queue-server"
        return [server, f"--port={self.port}", f"--config={config}", f"--data-dir={data}"]

    def ready_url(self) -> str:
        return f"{self.base_url}/healthz"


class Cli:
    """Runs the command line client."""

    def __init__(self, url: str) -> None:
        self.url = url

    def run(self, *arguments: str) -> str:
        done = self.call(*arguments)
        if done.returncode != 0:
            raise RuntimeError(f"ollama-queue {arguments[0]} failed: {done.stderr.strip()}")
        return done.stdout

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(BIN / "ollama-queue"), "--server", self.url, *arguments]
        return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)

    def submit(self, prompt: str, priority: str, **options: int) -> str:
        """Submit a chat; returns the task's id."""
        chat = ["submit", "chat", "--model", LlamaServer.model, "--messages", f"user:{prompt}"]
        given = [f"--option={name}={value}" for name, value in options.items()]
        answer = self.run(*chat, "--priority", priority, *given, "--output", "json")
        task_id: str = json.loads(answer)["task_id"]
        return task_id


def ask_and_wait(cli: Cli) -> None:
    print("One chat, waited for: Hello, how are you?", flush=True)
    chat = ["submit", "chat", "--model", LlamaServer.model]
    question = ["--messages", "user:Hello, how are you?", "--option=num_predict=40"]
    print(f"  {cli.run(*chat, *question, '--wait').strip()}\n", flush=True)


def submit_mixed(cli: Cli) -> tuple[str, dict[str, str]]:
    """Fill the slot, then submit a task for each thing; returns the story's id, and the prompts by
    task id."""
    print(
        "A long story keeps the model's only slot busy; meanwhile, twelve short tasks:", flush=True
    )
    story = cli.submit("Write a very long story about a lighthouse.", "normal", num_predict=1000)
    asked = {}
    for number, thing in enumerate(THINGS):
        priority = PRIORITIES[number % len(PRIORITIES)]
        task_id = cli.submit(f"Name {thing}.", priority, num_predict=8)
        asked[task_id] = f"Name {thing}."
        print(f"  {number + 1:2}  {priority:8}  {asked[task_id]}", flush=True)
    return story, asked


def is_in_order(ran: list[Task], arrival: list[str]) -> bool:
    """Whether each task, when it started, had the highest rank of those waiting."""

    def rank(task: Task) -> tuple[int, int]:
        return -task["priority"], arrival.index(task["id"])

    def waited(later: Task, task: Task) -> bool:
        return instant(later, "created_at") < instant(task, "started_at")

    return all(
        rank(task) < rank(later) or not waited(later, task)
        for number, task in enumerate(ran)
        for later in ran[number + 1 :]
    )


def instant(task: Task, name: str) -> datetime:
    return datetime.fromisoformat(task[name])


def first_words(cli: Cli, task: Task) -> str:
    """The first words of the model's reply, or why there is none."""
    if task["status"] != "completed":
        return f"{task['status']}: {task['error']}"
    result = json.loads(cli.run("result", task["id"], "--output", "json"))
    return " ".join(result["message"]["content"].split()[:6])


def show_order(cli: Cli, ran: list[Task], asked: dict[str, str]) -> None:
    arrival = list(asked)
    print(f"\nThe order in which they ran:\n{'arrived':>9}  priority  started       reply")
    for task in ran:
        name = PRIORITIES[(1, 5, 10, 15).index(task["priority"])]
        started = instant(task, "started_at").strftime("%H:%M:%S.%f")[:-3]
        number = arrival.index(task["id"]) + 1
        question, reply = asked[task["id"]], first_words(cli, task)
        print(f"{number:>9}  {name:8}  {started}  {question} {reply}", flush=True)


def verdict(in_order: bool) -> str:
    return "by priority, equals in order of arrival" if in_order else "NOT in the right order"


def show(cli: Cli) -> bool:
    """Run the demo; whether all tasks completed in the right order."""
    ask_and_wait(cli)
    _, asked = submit_mixed(cli)
    cli.call("wait", *asked)  # failed tasks are reported below
    tasks: list[Task] = json.loads(cli.run("list", "--output", "json"))
    ran = [task for task in tasks if task["id"] in asked and task["started_at"]]
    ran.sort(key=lambda task: instant(task, "started_at"))
    show_order(cli, ran, asked)
    completed = sum(task["status"] == "completed" for task in ran)
    in_order = is_in_order(ran, list(asked))
    print(f"\n{completed} of {len(asked)} completed, {verdict(in_order)}.")
    return in_order and completed == len(asked)


def main() -> bool:
    with (
        TemporaryDirectory(prefix="ollama-queue-demo-") as folder,
        LlamaServer(ROOT / ".demo") as model,
        QueueServer(Path(folder), model.url) as queue,
    ):
        return show(Cli(queue.base_url))


def run(main: Callable[[], bool]) -> NoReturn:
    """Exit with 0 if the demo did what it should."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        sys.exit(0 if main() else 1)
    except RuntimeError as error:
        sys.exit(f"The demo stopped: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    run(main)
