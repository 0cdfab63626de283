"""The server of `psal paint`: its socket, the browser, and its end."""

import contextlib
import os
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator, Sequence

import uvicorn

from psal_cli.batch.inputs import Item
from psal_cli.batch.runner import SIGNALS
from psal_cli.errors import InputError
from psal_cli.paint.app import application
from psal_cli.paint.session import Session
from psal_cli.paint.state import remove_stale, state_folder

LOCAL = "127.0.0.1"


class Server(uvicorn.Server):
    """uvicorn's server, except that a signal that stops it is not raised again: that is how it normally ends."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self.handle_exit) for number in heard}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def serve(
    items: Sequence[Item],
    *,
    address: str,
    port: int,
    token: str,
    device: Callable[[], str],
    max_pixels: int,
    say: Callable[[str], None],
    browser: bool,
) -> None:
    """Serves the page until the process is interrupted.

    Args:
        items: the pictures, with their outputs.
        address, port: where to listen; port 0 takes a free one. token: the secret that each request has to carry.
        device: returns the device of the networks.
        say: called with the page's address once it can be opened; browser: whether to open it.

    Raises:
        InputError: the address or port is not available.
    """
    listener = _listener(address, port)
    port = listener.getsockname()[1]
    states = state_folder()
    remove_stale(states)
    session = Session(items, states, device, max_pixels)
    server = Server(
        uvicorn.Config(
            application(session, port, token, anywhere=address != LOCAL),
            log_level="error",
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            limit_concurrency=200,
            timeout_graceful_shutdown=2,
        )
    )
    page = f"http://{_called(address)}:{port}/#token={token}"
    say(page)
    if browser and _has_screen():
        threading.Thread(target=webbrowser.open, args=(page,), daemon=True).start()
    try:
        server.run(sockets=[listener])
    finally:
        session.close()


def _listener(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen()  # listen now: the page may be requested before the server runs
    except (OSError, OverflowError) as error:
        listener.close()
        raise InputError(f"cannot listen on {address}, port {port}: {error}") from error
    return listener


def _has_screen() -> bool:
    """Whether a graphical browser could open. Without a screen Python would start one in the terminal."""
    return sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _called(address: str) -> str:
    """The address as the browser writes it."""
    if address in ("0.0.0.0", "::"):
        return socket.gethostname()
    return f"[{address}]" if ":" in address else address
