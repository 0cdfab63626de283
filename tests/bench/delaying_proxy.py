"""A TCP proxy that gives on what it gets after some time: delaying_proxy.py HERE:PORT THERE:PORT SECONDS."""

import asyncio
import sys
import time
from contextlib import suppress

BLOCK = 1 << 16


async def passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
    """What one side sends, late; at its end the other side is closed."""
    queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1000)

    async def send() -> None:
        with suppress(OSError):
            while True:
                due, data = await queue.get()
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                if not data:
                    break
                writer.write(data)
                await writer.drain()
        writer.close()

    sending = asyncio.create_task(send())
    data = b"a first one"
    while data:
        try:
            data = await reader.read(BLOCK)
        except OSError:
            data = b""
        await queue.put((time.monotonic() + seconds, data))
    await sending


async def main(here: str, there: str, seconds: float) -> None:
    host, port = there.split(":")

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.close()
            return
        await asyncio.gather(passed(reader, far_writer, seconds), passed(far_reader, writer, seconds))

    own, number = here.split(":")
    async with await asyncio.start_server(accept, own, int(number)) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
