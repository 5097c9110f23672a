"""What the standalone ollama-queue starts with."""

import signal
from types import FrameType

from ollama_queue.cli.main import main


def interrupt_once(number: int, frame: FrameType | None) -> None:
    """A standalone file is two processes, and the first passes on the Ctrl-C that both get."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not so under nohup
    signal.signal(signal.SIGINT, interrupt_once)
main()
