"""Entry point of the standalone ollama-queue-server."""

from ollama_queue.http.serving.serve import main  # first: it patches the standard library

# isort: split
import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

# A standalone file runs as two processes: the first unpacks it, starts this one and waits. It
# forwards signals, so this one leaves its process group: else a Ctrl-C would arrive twice, and a
# second signal means to stop at once. If the first is killed, Linux signals this one.
os.setpgid(0, 0)
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
main()
