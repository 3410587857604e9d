"""python -m merc serve: the web page's server, by default reachable from this computer only."""

import argparse
import signal
import socket
from functools import partial
from pathlib import Path

from merc.encoders.pretrained import transcription
from merc.encoders.pretrained.transcription import Transcriber
from merc.runtime import params
from merc.runtime.errors import CommandLine, UserError
from merc.serve.commands.predict import add_speech_options, add_typicality_option, limit_threads
from merc.serve.web.guard import is_loopback
from merc.serve.web.jobs import PageLimits, delete_abandoned_folders

DEFAULT_ADDRESS = "127.0.0.1:8017"
SHUTDOWN_SECONDS = 3  # seconds that a stopping server waits for responses in progress


def serve(*words: str) -> None:
    """Serve the page until Ctrl-C."""
    arguments = _parser().parse_args(words)
    transcriber = transcription.chosen_transcriber(arguments.asr, arguments.language, is_off=arguments.no_asr)
    limit_threads()  # two wait for each other: 2 and, for reasons, 25 times the processor seconds on a busy machine
    host, port = _address(arguments)
    if not is_loopback(host) and not arguments.open:
        raise UserError(f"{host}: others could reach the page there; say --open too if that is meant")
    listener = _listen(host, port)
    try:
        _serve(arguments, host, listener, transcriber)
    finally:
        listener.close()


def _serve(
    arguments: argparse.Namespace, host: str, listener: socket.socket, transcriber: Transcriber | None
) -> None:
    import uvicorn  # imported late like torch, since a mistake on the command line need not wait for them

    from merc.serve.web import application, examples
    from merc.serve.web.model import PredictorPageModel
    from merc.serve.web.server import PageProtocol, PageServer

    delete_abandoned_folders()
    limits = PageLimits()
    hint = "" if transcriber or arguments.no_asr else transcription.HINT
    model = PredictorPageModel(
        arguments.model, limits, arguments.trust, transcriber, hint, keep_atypical=arguments.keep_atypical
    )
    app = application.build_application(model, host=host, limits=limits, examples=examples.find_examples())
    quiet = {"log_level": "warning", "access_log": False, "server_header": False}
    config = uvicorn.Config(app, http=PageProtocol, timeout_graceful_shutdown=SHUTDOWN_SECONDS, **quiet)
    address = f"{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
    ready = f"merc: http://{address}/  (Ctrl-C stops it and deletes what was uploaded)"
    if hasattr(signal, "SIGHUP"):  # closing the terminal stops the server as Ctrl-C does, and deletes the uploads
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    try:
        PageServer(config, partial(print, ready, flush=True)).run(sockets=[listener])
    except KeyboardInterrupt:
        print("merc: stopped")


def _parser() -> CommandLine:
    parser = CommandLine("python -m merc serve", description="A page that reads emotions from videos.")
    parser.add_argument("--model", type=Path, default=Path("out/export"), help="an exported folder (out/export)")
    parser.add_argument("--trust", metavar="SHA256", help="refuse a model whose hashes.json has another SHA-256")
    parser.add_argument(
        "--host", help=f"address to listen on (compute.address of params.yaml, or {DEFAULT_ADDRESS})"
    )
    add_speech_options(parser)
    add_typicality_option(parser)
    parser.add_argument("--port", type=int, help="port to listen on; 0: any that is free")
    parser.add_argument("--open", action="store_true", help="allow a --host that other computers can reach")
    return parser


def _address(arguments: argparse.Namespace) -> tuple[str, int]:
    """Host and port: of the arguments, else of params.yaml, else ADDRESS."""
    default = params.read("compute.address", str) if params.FILE.is_file() else DEFAULT_ADDRESS
    host, colon, port = default.rpartition(":")
    if not colon or not port.isdecimal():
        raise UserError(f"{params.FILE}: compute.address = {default!r}: say host:port, such as {DEFAULT_ADDRESS}")
    port = int(port) if arguments.port is None else arguments.port
    if not 0 <= port < 65536:
        raise UserError(f"--port {port}: 0 to 65535")
    return (arguments.host or host).strip("[]"), port


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        message = f"{host}:{port}: cannot listen there ({error.strerror}); choose another --port or --host"
        raise UserError(message) from None
    return listener
