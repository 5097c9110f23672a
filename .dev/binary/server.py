"""What the standalone ollama-queue-server starts with."""

from ollama_queue.http.serving.serve import main  # first: it patches the standard library

# isort: split
import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

# A standalone file is two processes: the first unpacks it, starts this one, and waits. It passes
# signals on, so this one leaves its group: Ctrl-C, sent to both, would arrive twice, and a second
# signal means to stop at once. Killed, the first one cannot pass anything on: Linux does.
os.setpgid(0, 0)
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
main()
