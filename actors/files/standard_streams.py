"""A program's standard streams: whatever text comes, and whichever of them there are."""

import codecs
import io
import os
import sys

from ..core.text.escaping import escaped

_ESCAPING = "ollama_queue.escaping"


def prepare() -> None:
    """Have characters that an output's encoding lacks written out as JSON escapes them, so that a
    JSON document stays one; a stream that was closed before the program began is an empty one."""
    codecs.register_error(_ESCAPING, _escape)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 (for as long as it runs)
    for stream, errors in (
        (sys.stdin, "replace"),
        (sys.stdout, _ESCAPING),
        (sys.stderr, _ESCAPING),
    ):
        if isinstance(stream, io.TextIOWrapper):  # a host program may have put in its own
            stream.reconfigure(errors=errors)


def finish() -> None:
    """Before the program ends: what cannot be written any more is no reason to end badly."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        discard()


def discard() -> None:
    """Whatever is still to be written goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for output in (sys.stdout, sys.stderr):
        os.dup2(nowhere, output.fileno())


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return escaped(error.object[error.start : error.end]), error.end
