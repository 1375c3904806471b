"""The command line: ``python -m harmony_split``, or ``harmony-split``."""

from __future__ import annotations

import argparse
import importlib.util
import ipaddress
import logging
import os
import shutil
import socket
import sys
import threading
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from common.errors import exit_code
from common.files import cache_folder, user_path
from harmony_split.limits import add_options, from_options

MODEL = "unmix/singing"
PORT = 8765
GRACE_SECONDS = 3
BACKLOG = 512


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server until it is interrupted; return the exit code."""
    parser = argparse.ArgumentParser(
        "harmony_split",
        description="Serve a page that splits songs into their parts.",
    )
    add = parser.add_argument
    add(
        "--host", default="127.0.0.1", help="address to serve on (default: %(default)s)"
    )
    add(
        "--port",
        type=int,
        default=PORT,
        help="port to serve on; 0 takes a free one (default: %(default)s)",
    )
    add("--token", help="secret of the visitors; required unless --host is loopback")
    add("--open", action="store_true", help="open the page in the browser")
    add("--model", default=MODEL, help="model to load first (default: %(default)s)")
    add(
        "--light",
        metavar="FOLDER",
        help="separate by onnxruntime, without TensorFlow, with the models that "
        "'python -m PACKAGE.export NAME --output FOLDER/PACKAGE/NAME' wrote",
    )
    add("--workers", type=int, default=1, help="processes that separate (default: 1)")
    add("--folder", help="folder of the jobs (default: harmony_split in the cache)")
    add_options(parser)
    options = parser.parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return exit_code("harmony_split", lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    _check(options)
    import uvicorn

    from harmony_split.jobs import Jobs
    from harmony_split.server import WORKER, application

    limits = from_options(vars(options))
    light = user_path(options.light) if options.light else None
    folder = (
        user_path(options.folder) if options.folder else cache_folder("harmony_split")
    )
    listener = _listener(options.host, options.port)
    jobs = Jobs(Path(folder), limits.keep_hours * 3600)
    app = application(
        jobs,
        limits,
        options.model if light is None else _exported(options.model, light),
        workers=options.workers,
        command=[*WORKER, f"--light={light}"] if light else WORKER,
        token=options.token,
        hosts=[options.host],
    )
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    _announce(listener, options)
    config = uvicorn.Config(
        app,
        access_log=False,  # addresses hold the secrets of jobs
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        lifespan="on",
    )
    uvicorn.Server(config).run(sockets=[listener])
    return 0


def _check(options: argparse.Namespace) -> None:
    """Refuse options that would not work, or that would open the server to everybody.

    Raises:
        ValueError: An option is out of its range, or a package or ffmpeg is missing.
    """
    missing = [n for n in ("starlette", "uvicorn") if not importlib.util.find_spec(n)]
    if missing:
        raise ValueError(
            f"{' and '.join(missing)} not installed; run pip install "
            "'tf-separation-suite[web]'"
        )
    if not shutil.which("ffprobe"):
        raise ValueError(
            "ffprobe is not on PATH, without which uploads are not checked; install "
            "ffmpeg, as by 'apt install ffmpeg'"
        )
    if options.workers < 1:
        raise ValueError(f"--workers is {options.workers}; expected at least 1")
    if not 0 <= options.port < 1 << 16:
        raise ValueError(f"--port is {options.port}; expected 0 to 65535")
    if options.token and not (options.token.isascii() and options.token.isprintable()):
        raise ValueError("--token has other characters than those of ASCII")
    if not (options.token or _is_loopback(options.host)):
        raise ValueError(
            f"--host {options.host} lets other machines in, and without a token "
            "everybody there could use this one; add --token SECRET, or leave --host "
            "out to serve this machine alone"
        )


def _exported(model: str, folder: Path) -> str:
    """Return the model that is loaded first: that of the options, or any exported one.

    Raises:
        ValueError: A model was chosen that is not among the exported ones.
    """
    from harmony_split.light import entries

    names = [f"{entry.pillar}/{entry.name}" for entry in entries(folder)]
    if model not in (MODEL, *names):
        raise ValueError(
            f"{model} is not exported in {folder}; expected one of {', '.join(names)}"
        )
    return model if model in names else names[0]


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listener(host: str, port: int) -> socket.socket:
    """Open the socket to serve on, so that a port in use is one sentence.

    Raises:
        OSError: The address cannot be served on.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        raise OSError(
            f"{host} port {port} cannot be served on ({error.strerror}); choose "
            "another --port, or end the server that uses it"
        ) from error


def _announce(listener: socket.socket, options: argparse.Namespace) -> None:
    """Print the address, and open it once the server listens."""
    port = listener.getsockname()[1]
    host = f"[{options.host}]" if ":" in options.host else options.host
    address = f"http://{host}:{port}/"
    if options.token:
        address += f"?token={quote(options.token, safe='')}"
    sys.stdout.write(f"harmony_split: {address} (Ctrl+C ends it)\n")
    sys.stdout.flush()
    if options.open:
        opening: Any = threading.Timer(0.5, webbrowser.open, [address])
        opening.daemon = True
        opening.start()


if __name__ == "__main__":
    sys.exit(main())
