"""python -m merc serve: the page, for whoever sits at this computer."""

import argparse
import signal
import socket
from pathlib import Path

from merc import params
from merc.problem import Problem
from merc.serve.command_line import CommandLine
from merc.serve.guard import is_loopback
from merc.serve.jobs import Limits, sweep

ADDRESS = "127.0.0.1:8017"
GRACE = 3  # seconds that a stopping server waits for answers on their way


def serve(*words: str) -> None:
    """Serve the page until Ctrl-C."""
    asked = _parser().parse_args(words)
    host, port = _address(asked)
    if not is_loopback(host) and not asked.open:
        raise Problem(f"{host}: others could reach the page there; say --open too if that is meant")
    listening = _listen(host, port)
    try:
        _serve(asked, host, listening)
    finally:
        listening.close()


def _serve(asked: argparse.Namespace, host: str, listening: socket.socket) -> None:
    import uvicorn  # late, as torch: a mistake on the command line need not wait for them

    from merc.serve import examples, web
    from merc.serve.predictor import Predictor
    from merc.serve.showing import Showing

    sweep()
    limits = Limits()
    model = Showing(Predictor.load(asked.model), limits)
    app = web.application(model, host=host, limits=limits, examples=examples.find())
    quiet = {"log_level": "warning", "access_log": False, "server_header": False}
    config = uvicorn.Config(app, timeout_graceful_shutdown=GRACE, **quiet)
    place = f"{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
    print(f"merc: http://{place}/  (Ctrl-C stops it and deletes what was uploaded)", flush=True)
    if hasattr(signal, "SIGHUP"):  # a terminal that closes ends it as Ctrl-C does: nothing stays behind
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    try:
        uvicorn.Server(config).run(sockets=[listening])
    except KeyboardInterrupt:
        print("merc: stopped")


def _parser() -> CommandLine:
    parser = CommandLine("python -m merc serve", description="A page that reads emotions from videos.")
    parser.add_argument("--model", type=Path, default=Path("out/export"), help="an exported folder (out/export)")
    parser.add_argument("--host", help=f"address to listen on (compute.address of params.yaml, or {ADDRESS})")
    parser.add_argument("--port", type=int, help="port to listen on; 0: any that is free")
    parser.add_argument("--open", action="store_true", help="allow a --host that other computers can reach")
    return parser


def _address(asked: argparse.Namespace) -> tuple[str, int]:
    known = params.read("compute.address", str) if params.FILE.is_file() else ADDRESS
    host, colon, port = known.rpartition(":")
    if not colon or not port.isdecimal():
        raise Problem(f"{params.FILE}: compute.address = {known!r}: say host:port, such as {ADDRESS}")
    port = int(port) if asked.port is None else asked.port
    if not 0 <= port < 65536:
        raise Problem(f"--port {port}: 0 to 65535")
    return (asked.host or host).strip("[]"), port


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        refused = f"{host}:{port}: cannot listen there ({error.strerror}); choose another --port or --host"
        raise Problem(refused) from None
    return listening
