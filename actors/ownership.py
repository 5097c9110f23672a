"""Whose a store's folder is, and why it cannot be had."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

from ollama_queue.actors.disk import is_full


def sign(folder: Path, url: str | None) -> None:
    """Say who has it open: RocksDB's own LOCK file is empty."""
    since = datetime.now(UTC).isoformat(timespec="seconds")
    draft = folder / "owner.json.new"
    draft.write_text(json.dumps({"pid": os.getpid(), "url": url, "since": since}))
    draft.replace(folder / "owner.json")


def why_not(folder: Path, words: str) -> str:
    """What RocksDB or the system says, as a sentence that helps."""
    if "While lock file" in words or "lock hold by" in words:
        return f"the folder {folder} is in use by {_owner(folder)}"
    if "orruption" in words:
        return (
            f"the store in {folder} is damaged ({words}); "
            "restore a copy of the folder, or move it away to begin anew"
        )
    if is_full(words):
        return f"the disk is full: make room for the store in {folder} ({words})"
    return f"cannot open the store in {folder}: {words}"


def _owner(folder: Path) -> str:
    try:
        owner = json.loads((folder / "owner.json").read_text())
        where = f" at {owner['url']}" if owner.get("url") else ""
        return f"process {owner['pid']}{where}, since {owner['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
