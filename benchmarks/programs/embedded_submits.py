"""Submits to an embedded queue: `python embedded_submits.py FOLDER`.

Each line of input is a number of tasks, which eight threads submit to a paused queue in FOLDER; a
line of output says that they have. It uses only the public API of the `ollama_queue` that it finds,
so that it also runs an older one.
"""

import sys
import threading

from ollama_queue import QueueManager, chat_task

THREADS = 8
PROMPT = "Why is the sky blue, and why does it turn red in the evening? " * 4


def main() -> None:
    new = chat_task("stub", [{"role": "user", "content": PROMPT}])
    manager = QueueManager(
        storage_path=sys.argv[1], ollama_host="http://127.0.0.1:1", log_level="error"
    )
    with manager:
        manager.pause()

        def submit(count: int) -> None:
            for _ in range(count):
                manager.submit_task(new)

        for line in sys.stdin:
            share = int(line) // THREADS
            threads = [threading.Thread(target=submit, args=(share,)) for _ in range(THREADS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            print("done", flush=True)


if __name__ == "__main__":
    main()
