"""Reads objects from web servers. fsspec's own functions request the length first and report every error as a missing file."""

from __future__ import annotations

import errno
import time
from collections.abc import Awaitable, Callable, Mapping
from ssl import SSLCertVerificationError
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientTimeout
    from fsspec.asyn import AsyncFileSystem

Value = TypeVar("Value")

SCHEMES = ("https", "http")
MOST = 4 << 30  # bytes of an object
BLOCK = 1 << 16
WAITS: Mapping[str, float] = {"sock_connect": 10, "sock_read": 60}  # seconds without any answer from the server
ATTEMPTS = 4  # the clients of S3 and Google retry by themselves
PAUSE = 0.5  # seconds before the second attempt, doubled each time
GONE = (404, 410)
BUSY = (408, 425, 429)  # statuses after which the same request may succeed later


def patience() -> ClientTimeout:
    """The timeouts. A large object may take any time, as long as data keeps coming."""
    from aiohttp import ClientTimeout

    return ClientTimeout(total=None, **WAITS)


def downloaded(system: AsyncFileSystem, url: str) -> bytes:
    """The whole object. Its stated length is not trusted: the bytes are counted as they arrive.

    Raises OSError, and what aiohttp raises.
    """

    async def body(reply: ClientResponse) -> bytes:
        data = bytearray()
        if (reply.content_length or 0) <= MOST:
            async for block in reply.content.iter_chunked(BLOCK):
                data += block
                if len(data) > MOST:
                    break
            else:
                return bytes(data)
        raise OSError(errno.EFBIG, f"it has more than {MOST >> 30} GiB")

    return _repeated(lambda: _requested(system, url, body))


def is_served(system: AsyncFileSystem, url: str) -> bool:
    """Whether a server has an object. Raises what aiohttp raises if the request fails for another reason."""

    async def nothing(_: ClientResponse) -> None:
        """The head of the reply is enough; not every server answers HEAD."""

    try:
        _repeated(lambda: _requested(system, url, nothing))
    except FileNotFoundError:
        return False
    except Exception as error:
        if _is_refusal(error):
            return False
        raise
    return True


def _requested(system: AsyncFileSystem, url: str, use: Callable[[ClientResponse], Awaitable[Value]]) -> Value:
    """Sends GET and returns `use(reply)`."""
    from fsspec.asyn import sync

    async def ask() -> Value:
        session = await system.set_session()
        async with session.get(system.encode_url(url), **system.kwargs) as reply:
            if reply.status in GONE:
                raise FileNotFoundError(errno.ENOENT, "no such file")
            reply.raise_for_status()
            return await use(reply)

    value: Value = sync(system.loop, ask)
    return value


def _repeated(call: Callable[[], Value]) -> Value:
    """Returns `call()`, retried after temporary failures."""
    for attempt in range(1, ATTEMPTS):
        try:
            return call()
        except (FileNotFoundError, PermissionError, SSLCertVerificationError):
            raise
        except Exception as error:
            if _is_refusal(error) or getattr(error, "errno", None) == errno.EFBIG:
                raise
            time.sleep(PAUSE * 2 ** (attempt - 1))
    return call()


def _is_refusal(error: Exception) -> bool:
    """Whether the server has refused for good."""
    status = getattr(error, "status", None) or 500
    return 400 <= status < 500 and status not in BUSY
