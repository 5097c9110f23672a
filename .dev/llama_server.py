"""Runs llama.cpp's HTTP server, from the wheel xllamacpp, on the loopback interface.

Run it with the Python from the folder that install_model_servers.sh created. It prints `READY URL`
when it is ready, and exits on SIGTERM and SIGINT.
"""

import argparse
import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="path of a gguf file")
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--alias", help="the name under which the model is listed")
    parser.add_argument("--context", type=int, default=2048, help="tokens, shared by the slots")
    parser.add_argument("--parallel", type=int, default=1, help="slots")
    parser.add_argument("--predict", type=int, default=-1, help="tokens of a reply by default")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--embedding", action="store_true", help="serve embeddings, not chat")
    parser.add_argument("--api-key", help="refuse requests that do not carry it")
    parser.add_argument("--with-parent", type=int, metavar="PID", help="end when this parent ends")
    return parser.parse_args()


def end_with(parent: int) -> None:
    """Make Linux send SIGTERM when the parent, or its thread that started this process, ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(f"process {parent} has already ended")


def start(arguments: argparse.Namespace) -> object:
    """Start the server, which runs as long as the returned object exists."""
    import xllamacpp  # after the environment and the signals are set up

    parameters = xllamacpp.CommonParams()
    parameters.model.path = arguments.model
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = arguments.port
    parameters.n_ctx = arguments.context
    parameters.n_predict = arguments.predict
    parameters.n_parallel = arguments.parallel
    parameters.cpuparams.n_threads = arguments.threads
    parameters.cpuparams_batch.n_threads = arguments.threads
    parameters.endpoint_metrics = True
    parameters.endpoint_slots = True
    if arguments.alias:
        parameters.model_alias = {arguments.alias}
    if arguments.api_key:
        parameters.api_keys = [arguments.api_key]
    if arguments.embedding:
        parameters.embedding = True
        parameters.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    server = xllamacpp.Server(parameters)
    print(f"READY {server.listening_address}", flush=True)
    return server


def main() -> None:
    arguments = parse_arguments()
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # inherited by the server's threads
    if arguments.with_parent:
        end_with(arguments.with_parent)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle threads sleep instead of spinning
    _server = start(arguments)
    signal.sigwait(ends)
    os._exit(0)  # at once: closing the server would wait for answers in progress


if __name__ == "__main__":
    main()
