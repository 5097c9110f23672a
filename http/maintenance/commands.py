"""The commands of `ollama-queue-server` that copy, check and move a queue's data.

Each works on a data folder, and asks a running server only for a snapshot of it.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO, TypeVar

import click
from msgspec.structs import replace

from ...actors.backup.check import check_folder, repair
from ...actors.backup.exporting import export, export_rows
from ...actors.backup.faults import Progress, no_progress
from ...actors.backup.folders import back_up, disk_errors, snapshot_of_closed, snapshot_to_read
from ...actors.backup.folders import restore as restore_backup
from ...actors.backup.importing import import_into, import_lines
from ...actors.backup.manifest import BackupManifest, read_manifest
from ...actors.core.config.config import QueueSettings
from ...actors.core.intake.submission import parse_time
from ...actors.core.model.errors import Conflict, Invalid, QueueError, Unavailable
from ...actors.core.model.stats import StoreSnapshot
from ...actors.core.text.escaping import visible
from ...actors.files.ownership import lock_closed, url_of_owner
from ...actors.files.private_files import FILE_MODE
from ...actors.settings import settings

F = TypeVar("F", bound=Callable[..., Any])

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
CANNOT_CHECK = 2  # the exit code of `verify`


def _of_a_queue(command: F) -> F:
    """Add the options that name a data folder."""
    for option in (
        click.option("--data-dir", help="Folder of the queue. Default: ./data."),
        click.option("--config", "path", help="Configuration file that names it."),
    ):
        command = option(command)
    return command


_STORAGE = click.option("--storage", metavar="URL", help="PostgreSQL that the queue is in instead.")
_SERVER = click.option("--server", metavar="URL", help="Running server. Default: as it recorded.")


@click.command()
@click.argument("folder")
@_of_a_queue
@_SERVER
def backup(folder: str, data_dir: str | None, path: str | None, server: str | None) -> None:
    """Write a backup to a new FOLDER, also while the server runs.

    Of a queue in PostgreSQL pg_dump makes one.

    Example: ollama-queue-server backup /backups/monday
    """
    data = _data_folder(data_dir, path)
    with _snapshots(data, server) as take:
        manifest = back_up(Path(folder), data, take, _progress())
    click.echo(f"backed up to {folder}: {_contents(manifest)}")


@click.command()
@click.argument("backup_folder", metavar="BACKUP")
@click.argument("data_dir")
@click.option("--accept-loss", is_flag=True, help="Restore a damaged backup: what is left of it.")
def restore(backup_folder: str, data_dir: str, accept_loss: bool) -> None:
    """Check the BACKUP and copy it to a new data folder DATA_DIR.

    Example: ollama-queue-server restore /backups/monday ./data
    """
    source, target = Path(backup_folder), Path(data_dir).absolute()
    manifest = restore_backup(source, target, _progress(), accept_loss=accept_loss)
    click.echo(
        f"restored to {data_dir}: {_contents(manifest)}; as of {manifest.taken_at:%F %T} UTC"
    )


@click.command()
@click.argument("folder")
@click.option("--repair", "repairs", is_flag=True, help="Rebuild indexes, delete what is damaged.")
def verify(folder: str, repairs: bool) -> None:
    """Check a backup, or the data FOLDER of a stopped queue.

    Prints a line for each fault, with what to do. Exit code: 0 without faults, 1 with faults, 2 if
    it could not be checked.

    Example: ollama-queue-server verify /backups/monday
    """
    count = 0
    try:  # not as other commands: 1 means that there are faults
        if repairs:
            repair(Path(folder).absolute())
        for fault in check_folder(Path(folder).absolute(), _progress()):
            click.echo(visible(str(fault)))
            count += 1
    except QueueError as error:
        click.echo(f"ollama-queue-server: {visible(error.message)}", err=True)
        sys.exit(CANNOT_CHECK)
    click.echo(f"{folder}: {f'{count} faults' if count else 'no faults'}")
    sys.exit(1 if count else 0)


@click.command("export")
@click.argument("file")
@_of_a_queue
@_SERVER
@click.option("--backup", "source", metavar="FOLDER", help="Export a backup instead.")
@_STORAGE
@click.option("--since", metavar="TIME", help="Leave out tasks that ended before this time.")
def export_command(
    file: str,
    data_dir: str | None,
    path: str | None,
    server: str | None,
    source: str | None,
    storage: str | None,
    since: str | None,
) -> None:
    """Write all records as JSON lines to a new FILE, also while the server runs; - is stdout.

    Example: ollama-queue-server export tasks.jsonl --since 2026-11-01
    """
    begin = None if since is None else parse_time(since, "since")
    storage = storage or _queue_settings(data_dir, path).storage
    with _new_file(file) as output:
        if source is not None:
            manifest = read_manifest(Path(source))
            if manifest is None:
                raise Invalid(f"{source} is not a backup: it has no backup.json", field="backup")
            counts = export(Path(source), manifest.taken_at, begin, output.write, _progress())
        elif storage is not None:
            counts = _export_of(storage, begin, output)
        else:
            data = _data_folder(data_dir, path)
            with _snapshots(data, server) as take, snapshot_to_read(data, take) as snapshot:
                folder, at = Path(snapshot.path), snapshot.taken_at
                counts = export(folder, at, begin, output.write, _progress())
    click.echo(f"exported: {_numbers(counts)}", err=True)


@click.command("import")
@click.argument("file")
@click.argument("data_dir", required=False)
@_STORAGE
@click.option("--replace", is_flag=True, help="Replace records that are there, by their ids.")
def import_command(file: str, data_dir: str | None, storage: str | None, replace: bool) -> None:
    """Add an export to the queue in DATA_DIR or PostgreSQL, which is stopped or new; FILE may be -,
    stdin.

    Records whose id is there already are skipped, so that an import may be repeated.

    Example: ollama-queue-server import tasks.jsonl ./data
    """
    if (data_dir is None) == (storage is None):
        raise click.UsageError("name either DATA_DIR or --storage: where to import to")
    with click.open_file(file, "rb") as source:
        if storage is not None:
            added, skipped = _import_to(storage, source, replace)
        else:
            folder = Path(data_dir or "").absolute()
            added, skipped = import_lines(source, folder, _progress(), replaces=replace)
    click.echo(f"imported: {_numbers(added)}")
    if skipped:
        click.echo(f"skipped, as they are there: {_numbers(skipped)}")


def _export_of(conninfo: str, since: datetime | None, output: BinaryIO) -> dict[str, int]:
    with _psycopg():
        from ...actors.backup.postgres_reader import PostgresReader
    with PostgresReader(conninfo) as store:
        at = datetime.now(UTC)
        return export_rows(store, store.blobs, at, since, output.write, _progress())


def _import_to(
    conninfo: str, source: IO[bytes], replaces: bool
) -> tuple[dict[str, int], dict[str, int]]:
    with _psycopg():
        from ...actors.backup.postgres_writer import only_writer
    with only_writer(conninfo) as open_store:
        return import_into(open_store, source, _progress(), replaces=replaces)


@contextmanager
def _psycopg() -> Iterator[None]:
    """Around imports of what needs it: it is an extra."""
    try:
        yield
    except ImportError as error:
        raise Unavailable(
            f"--storage needs psycopg ({error}): pip install 'ollama-queue[postgres]'"
        ) from None


# --- shared -------------------------------------------------------------------------------------


def _data_folder(data_dir: str | None, path: str | None) -> Path:
    queue = _queue_settings(data_dir, path)
    if queue.storage is not None:
        raise Invalid("the queue is in PostgreSQL: pg_dump makes a backup of it, export a copy")
    return Path(queue.storage_path)


def _queue_settings(data_dir: str | None, path: str | None) -> QueueSettings:
    """A folder that is named is meant, whatever else the settings say."""
    flags = {} if data_dir is None else {"queue.storage_path": data_dir}
    queue = settings.anchored(settings.trace(path, os.environ, flags).config).queue
    return queue if data_dir is None else replace(queue, storage=None)


@contextmanager
def _snapshots(data: Path, server: str | None) -> Iterator[Callable[[], StoreSnapshot]]:
    """How to take a snapshot: by the server that has the store open, or of the closed store."""
    lock = None if server is not None else lock_closed(data)
    try:
        yield partial(_ask, data, server) if lock is None else partial(snapshot_of_closed, data)
    finally:
        if lock is not None:
            os.close(lock)


def _ask(data: Path, server: str | None) -> StoreSnapshot:
    from ..clients.client import Client  # lazy: most commands need no HTTP

    url = server or url_of_owner(data)
    if url is None:
        raise Unavailable(
            f"a program has the queue in {data} open: it must take the backup itself "
            "(QueueManager.backup), or close the queue"
        )
    with Client(url) as client:
        return client.take_snapshot()


@contextmanager
def _new_file(path: str) -> Iterator[BinaryIO]:
    """A file that appears when it is complete and durable; - is stdout."""
    if path == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    target = Path(path).absolute()
    part = target.with_name(f".{target.name}.part")
    if target.exists():
        raise Conflict(f"{path} exists already: name a new file", field="file")
    with disk_errors(f"{path} cannot be written"):
        part.unlink(missing_ok=True)
        try:
            with open(os.open(part, _NEW, FILE_MODE), "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.rename(target)
        finally:
            part.unlink(missing_ok=True)


def _numbers(counts: dict[str, int]) -> str:
    """The numbers of records, without the lines that belong to others."""
    listed = [f"{kind} {n}" for kind, n in counts.items() if kind not in ("bytes", "row")]
    return ", ".join(listed) or "nothing"


def _contents(manifest: BackupManifest) -> str:
    numbers = (
        ("tasks", sum(manifest.tasks.values())),
        ("crons", manifest.crons),
        ("batches", manifest.batches),
        ("files", manifest.stored_files),
    )
    listed = [f"{what} {number}" for what, number in numbers if number or what == "tasks"]
    return f"{', '.join(listed)}; {manifest.size / 1e6:.1f} MB"


def _progress() -> Progress:
    """Shows progress on a terminal, on one line that is cleared at the end."""
    if not sys.stderr.isatty():
        return no_progress

    def show(what: str, done: int, total: int) -> None:
        text = f"{what} {done}" + (f" of {total}" if total else "")
        sys.stderr.write(f"\r\x1b[K{text}\r")
        sys.stderr.flush()

    return show
