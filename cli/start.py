"""Where `ollama-queue` starts: from here on Ctrl-C ends it, and never with a traceback.

The handler of a signal is only ever replaced by another function. Where it becomes `SIG_IGN` or
`SIG_DFL` just after the signal has come, Python complains of a race; so it would as it finalizes,
which is why the process ends here.
"""

import os
import sys

# What `signal` wraps. It is there at once, while the enums that `signal` loads first take so long
# that a Ctrl-C hits them. Imported in this way since type checkers do not know it.
signal = __import__("_signal")

INTERRUPTED = 130
CLEANUP_S = 2  # for what an interrupted command has left to do; then it ends wherever it hangs


def main() -> None:
    """The program's entry. Ends the process."""
    try:
        os._exit(_run())
    except KeyboardInterrupt:
        os._exit(INTERRUPTED)


def _run() -> int:
    """The exit code."""
    minds = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not so under nohup
    if minds:
        signal.signal(signal.SIGINT, _leave)  # there is nothing to tidy up while modules load
    from ..actors.files import standard_streams
    from .main import cli

    standard_streams.prepare()
    if minds:
        sys.unraisablehook = _unraisable
        signal.signal(signal.SIGALRM, _leave)
        signal.signal(signal.SIGINT, _interrupt)
    code = 0
    try:
        cli.main(_texts(sys.argv[1:]), prog_name="ollama-queue")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    standard_streams.finish()
    return code


def _texts(arguments: list[str]) -> list[str]:
    """With bytes that the locale does not know read as UTF-8, and U+FFFD for what is none.

    The name of a file stays as it is.
    """
    texts = []
    for before, text in zip(["", *arguments], arguments, strict=False):
        is_file = "--file" in (before, text.partition("=")[0])
        has_bytes = any("\ud800" <= character <= "\udfff" for character in text)
        recode = has_bytes and not is_file
        texts.append(os.fsencode(text).decode(errors="replace") if recode else text)
    return texts


def _leave(*_: object) -> None:
    os._exit(INTERRUPTED)


def _ignore(*_: object) -> None:
    pass


def _interrupt(*_: object) -> None:
    """Once: a second Ctrl-C would break off what the first one has to say. (A standalone file gets
    each twice, as two processes.)"""
    signal.signal(signal.SIGINT, _ignore)
    signal.alarm(CLEANUP_S)
    raise KeyboardInterrupt


def _unraisable(problem: "sys.UnraisableHookArgs") -> None:
    """Ctrl-C came in a place that an exception cannot leave, such as a finalizer."""
    if issubclass(problem.exc_type, KeyboardInterrupt):
        _leave()
    sys.__unraisablehook__(problem)


if __name__ == "__main__":
    main()
