"""Open the page: a lock, a port of this machine, a browser."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import uvicorn

from seas_runtime.dataset.decisions import MASKS, REVIEW
from seas_runtime.dataset.inside import refuse_link
from seas_runtime.dataset.review.access import Guard
from seas_runtime.dataset.review.gallery import Gallery
from seas_runtime.dataset.review.server import application
from seas_runtime.errors import OutputError, SettingsError
from seas_runtime.files import LOCK, locked

HOST = "127.0.0.1"


@contextmanager
def held(out: Path) -> Iterator[None]:
    """Be the only one to write decisions in `out` until the block ends; `seas-gen` may go on there.

    Raises:
        DataError: a link is in the way.
        OutputError: another page is open on it, or nothing can be written there.
    """
    folder = out / MASKS
    for path in (folder, folder / LOCK, out / REVIEW):
        refuse_link(path)
    with ExitStack() as stack:
        stack.callback(_remove_empty, folder)
        try:
            folder.mkdir(exist_ok=True)
            stack.enter_context(locked(folder))
        except OSError as error:
            why = f"{error.strerror or error}; mend that, or only look: --read-only"
            raise OutputError(f"{folder}: {why}") from error
        except OutputError:
            raise OutputError(f"{out}: open in another seas-data review; use its page, or only look: --read-only") from None
        yield


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()  # where no mask was mended


def serve(gallery: Gallery, port: int, *, browser: bool, say: Callable[[str], None]) -> None:
    """Serve the page until an interrupt.

    Args:
        gallery: what to show.
        port: of this machine; 0 takes a free one.
        browser: whether to open one.
        say: told the address.

    Raises:
        SettingsError: the port is taken.
    """
    listener = _listen(port)
    token = secrets.token_urlsafe(32)
    guard = Guard(application(gallery), token)
    address = f"http://{HOST}:{listener.getsockname()[1]}/?token="
    say(f"{address}{token}")
    config = uvicorn.Config(
        guard,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
    )
    if browser:
        threading.Thread(target=webbrowser.open, args=(address + guard.once(),), daemon=True).start()
    with listener, suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere it would let others listen too
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise SettingsError(f"--port {port}: {error.strerror or error}; give another, or none for a free one") from error
    return listener


def summary(gallery: Gallery) -> str:
    """What has been decided, in a line."""
    gallery.pairs.refresh()
    counts = gallery.counts()
    return (
        f"{len(gallery.pairs)} pairs: {counts['accept']} accepted, {counts['reject']} rejected, "
        f"{counts['undecided']} undecided, {counts['mended']} masks mended ({gallery.pairs.out / REVIEW})"
    )
