"""A program's standard streams: any text can be written, and a missing stream does no harm."""

import codecs
import io
import os
import sys

from ..core.text.escaping import escaped

_ESCAPING = "ollama_queue.escaping"


def prepare() -> None:
    """Write characters that an output's encoding lacks as JSON escapes, which keeps JSON valid,
    and replace a stream that was closed before the program started by an empty one."""
    codecs.register_error(_ESCAPING, _escape)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 (open until the end)
    for stream, errors in (
        (sys.stdin, "replace"),
        (sys.stdout, _ESCAPING),
        (sys.stderr, _ESCAPING),
    ):
        if isinstance(stream, io.TextIOWrapper):  # a host program may have put in its own
            stream.reconfigure(errors=errors)


def finish() -> None:
    """Flush before the program ends: a closed output is no reason to fail."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        discard()


def discard() -> None:
    """Drop all output that is not written yet."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for output in (sys.stdout, sys.stderr):
        os.dup2(nowhere, output.fileno())


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return escaped(error.object[error.start : error.end]), error.end
