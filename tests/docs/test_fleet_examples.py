"""The settings in docs/fleet.md are some that the server knows, whatever hands them to it."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.servers.real_models import ROOT

TEXT = (ROOT / "docs" / "fleet.md").read_text()
UNIT = re.search(r"```ini\n(.*?)```", (ROOT / "docs" / "operations.md").read_text(), re.DOTALL)
FOREIGN = {"SSL_CERT_FILE"}  # OpenSSL's


def block(language: str, first: str) -> str:
    """The example whose first line begins so."""
    found = re.search(rf"```{language}\n({re.escape(first)}.*?)```", TEXT, re.DOTALL)
    assert found is not None, first
    return found[1]


def pairs(text: str) -> dict[str, str]:
    """The variables that lines of the form `NAME=value` set."""
    found = re.findall(r"^(?:export )?([A-Z_]+)=(\S+)", text, re.MULTILINE)
    return {name: value.strip('"') for name, value in found}


def check(command: list[str], environment: dict[str, str]) -> None:
    """The server accepts the command and takes its settings from each of the variables."""
    words = [
        sys.executable,
        "-m",
        "ollama_queue.http.serving.serve",
        *command[1:],
        "--check-config",
    ]
    done = subprocess.run(
        words, env={"PYTHONPATH": str(ROOT), **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    used = set(re.findall(r"# environment variable ([A-Z_]+)", done.stdout))
    assert used == environment.keys() - FOREIGN


def test_the_set_up() -> None:
    text = block("bash", "pip install")
    assert 'pip install "ollama-queue[postgres]"' in text
    assert len(text.splitlines()) == 5
    check(shlex.split(text.splitlines()[-1]), pairs(text))


def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(block("yaml", "# compose.yaml"))["services"]
    return found


@pytest.mark.parametrize("name", [name for name in services() if name.startswith("queue")])
def test_a_server_in_a_container(name: str) -> None:
    service = services()[name]

    check(shlex.split(service["command"]), service["environment"])
    assert service["environment"]["FLEET_URL"] == f"http://{name}:7125"
    assert set(service["depends_on"]) <= services().keys()


def test_the_containers_fit_together() -> None:
    database = services()["db"]
    made = database["environment"]
    place = f"postgresql://{made['POSTGRES_USER']}:{made['POSTGRES_PASSWORD']}@db/"
    assert f"pg_isready --username {made['POSTGRES_USER']}" in database["healthcheck"]["test"]
    servers = [name for name in services() if name.startswith("queue")]
    for name in servers:
        storage = services()[name]["environment"]["QUEUE_STORAGE"]
        assert storage == place + made["POSTGRES_DB"]
    proxied = re.findall(r"^    server (\w+) (\S+)$", TEXT, re.MULTILINE)
    assert proxied == [(name, f"{name}:7125") for name in servers]


def test_the_service(tmp_path: Path) -> None:
    """systemd accepts the unit with its addition, and what they set together is accepted."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze, of systemd")
    assert UNIT is not None
    addition, variables = (
        block("ini", "# /etc/systemd"),
        block("sh", "# /etc/ollama-queue/fleet.env"),
    )
    program = re.search(r"ExecStart=(\S+)", UNIT[1])
    assert program is not None
    unit = UNIT[1].replace(program[1], shutil.which("true") or "")
    (tmp_path / "ollama-queue.service").write_text(unit)
    folder = tmp_path / "ollama-queue.service.d"
    folder.mkdir()
    (folder / "fleet.conf").write_text(addition)
    analyzer = ["systemd-analyze", "verify", tmp_path / "ollama-queue.service"]

    done = subprocess.run(
        analyzer, env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:"}, capture_output=True, text=True
    )

    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    environment = dict(re.findall(r"^Environment=(\w+)=(.*)$", UNIT[1], re.MULTILINE))
    for name in re.findall(r"^UnsetEnvironment=(\w+)$", addition, re.MULTILINE):
        del environment[name]
    assert re.findall(r"^EnvironmentFile=(\S+)", addition, re.MULTILINE)[0] in variables
    check([program[1]], environment | pairs(variables))


def test_https() -> None:
    check(["ollama-queue-server"], pairs(block("sh", "FLEET_URL=https://")))
