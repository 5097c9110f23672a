"""`ollama-queue-server backup`, `restore` and `verify` as their user sees them."""

from pathlib import Path

import pytest

from ollama_queue import generate_task
from ollama_queue.actors.store.postgres.connections import connect
from tests.support.fakes.model_server import FakeOllama
from tests.support.full_queue import full_queue
from tests.support.servers.postgres import PostgresServer
from tests.support.servers.queue_server import QueueServer
from tests.system.crashes.test_backup_under_load import command, run


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("queue") / "data"
    with full_queue(folder):
        pass
    return folder


def ended(*words: str | Path) -> tuple[int, str]:
    process = command(*words)
    output, _ = process.communicate(timeout=60)
    return process.returncode, output


def test_there_and_back(data: Path, tmp_path: Path) -> None:
    target = tmp_path / "backup"
    said = run("backup", target, "--data-dir", data)
    assert said.startswith(f"backed up to {target}: tasks 25, crons 1, batches 1, files 1; ")
    assert run("verify", target) == f"{target}: no faults\n"
    assert ": tasks 25, crons 1" in run("restore", target, tmp_path / "new")
    assert run("verify", tmp_path / "new") == f"{tmp_path / 'new'}: no faults\n"


def test_out_and_in(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "queue.jsonl"
    said = run("export", file, "--data-dir", data)
    assert said == ("exported: flag 1, cron 1, file 1, batch 1, task 25, idempotency_key 1\n")
    assert file.stat().st_mode & 0o077 == 0
    assert run("import", file, tmp_path / "new") == said.replace("exported", "imported")
    again = run("import", file, tmp_path / "new")
    assert again == said.replace("exported", "imported: nothing\nskipped, as they are there")
    code, output = ended("export", file, "--data-dir", data)
    assert (code, output) == (1, f"ollama-queue-server: {file} exists already: name a new file\n")
    run("backup", tmp_path / "backup", "--data-dir", data)
    other = tmp_path / "other.jsonl"
    assert run("export", other, "--backup", tmp_path / "backup") == said
    file.write_bytes(file.read_bytes()[:-9])
    code, output = ended("import", file, tmp_path / "cut")
    assert code == 2
    assert "is not one of an export that this version reads" in output
    assert run("verify", tmp_path / "cut").endswith(": no faults\n")


def test_from_a_folder_to_postgresql_and_back(
    data: Path, tmp_path: Path, postgres: PostgresServer
) -> None:
    file, back = tmp_path / "queue.jsonl", tmp_path / "back.jsonl"
    said = run("export", file, "--data-dir", data)
    with postgres.queue() as storage:
        to_postgres = ("import", file, "--storage", storage)
        assert run(*to_postgres) == said.replace("exported", "imported")
        again = said.replace("exported", "imported: nothing\nskipped, as they are there")
        assert run(*to_postgres) == again
        (tmp_path / "config.yaml").write_text(f"queue: {{storage: '{storage}'}}")
        assert run("export", back, "--config", tmp_path / "config.yaml") == said
        code, output = ended("backup", tmp_path / "no", "--config", tmp_path / "config.yaml")
        assert (code, "pg_dump makes a backup of it" in output) == (2, True)
        lead(storage)
        code, output = ended(*to_postgres)
        assert (code, output.count("\n")) == (1, 1)
        assert "http://first:8080 leads the queue, or has been killed within" in output
    assert run("import", back, tmp_path / "new") == said.replace("exported", "imported")
    assert run("verify", tmp_path / "new") == f"{tmp_path / 'new'}: no faults\n"


def lead(storage: str) -> None:
    """As a server does, which is then killed."""
    with connect(storage) as connection:
        connection.execute(
            "UPDATE leader SET epoch = epoch + 1, server = gen_random_uuid(),"
            " url = 'http://first:8080', seen_at = clock_timestamp()"
        )


def test_an_import_is_to_one_place(tmp_path: Path) -> None:
    (tmp_path / "queue.jsonl").touch()
    for words in ([], [str(tmp_path / "new"), "--storage", "postgresql://host/db"]):
        code, output = ended("import", tmp_path / "queue.jsonl", *words)
        assert code == 2
        assert "name either DATA_DIR or --storage" in output


def test_the_data_folder_may_be_named_by_the_settings(data: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(f"queue: {{storage_path: '{data}'}}")
    run("backup", tmp_path / "backup", "--config", tmp_path / "config.yaml")


def test_faults_are_listed_with_what_to_do(data: Path, tmp_path: Path) -> None:
    run("backup", tmp_path / "backup", "--data-dir", data)
    blob = next((tmp_path / "backup" / "files").iterdir())
    blob.unlink()

    code, output = ended("verify", tmp_path / "backup")

    assert code == 1
    assert output.splitlines() == [
        f"files/{blob.name}: cannot be read: No such file or directory; restore another backup",
        f"file {blob.name}: its bytes are missing; restore another backup",
        f"{tmp_path / 'backup'}: 2 faults",
    ]
    code, output = ended("restore", tmp_path / "backup", tmp_path / "new")
    assert code == 1
    assert output.startswith("ollama-queue-server: the backup is damaged (")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["verify", "nowhere"], 2, "there is no queue in "),
        (["restore", "nowhere", "new"], 2, "is not a backup: it has no backup.json"),
        (["backup", "new", "--data-dir", "nowhere"], 1, "there is no queue in "),
        (["--port", "1", "verify", "nowhere"], 2, "options of a command come after its name"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(
    words: list[str], code: int, said: str
) -> None:
    ended_with, output = ended(*words)
    assert ended_with == code
    assert said in output
    assert "Traceback" not in output


def test_a_running_server(tmp_path: Path) -> None:
    with FakeOllama() as model, QueueServer(tmp_path, model.url) as server:
        with server.client() as client:
            client.wait(client.submit_task(generate_task("m", "hi")), timeout=30)
        data = tmp_path / "data"
        code, output = ended("verify", data)
        assert code == 2
        assert f"is in use by process {server.pid} at {server.base_url}" in output
        assert ended("verify", data, "--repair")[0] == 2
        run("backup", tmp_path / "one", "--data-dir", data)
        run("backup", tmp_path / "two", "--data-dir", data, "--server", server.base_url)
        assert "task 1" in run("export", tmp_path / "all.jsonl", "--data-dir", data)
        assert not (data / "snapshot").exists()
        assert ended("import", tmp_path / "all.jsonl", data)[0] == 1
        (data / "owner.json").unlink()
        code, output = ended("backup", tmp_path / "three", "--data-dir", data)
        assert code == 1
        assert "a program has the queue in" in output
        assert not (tmp_path / "three").exists()
    for name in ("one", "two"):
        run("verify", tmp_path / name)
