"""The network between pgmend and a server, which a test can close, slow down, silence and cut."""

import asyncio
import contextlib
import random
import socket
import struct
import threading

FLUSH, SYNC = b"H\0\0\0\x04", b"S\0\0\0\x04"


class Link:
    """One connection through the gate."""

    def __init__(self, client, server):
        self.writers = (client, server)
        self.left = None  # bytes of the server's that still go through, before the end
        self.ends_at_answer = self.ends_at_ready = self.ends_behind_answer = self.asked = False
        self.answers = asyncio.Event()  # the server's go through
        self.answers.set()

    def reset(self):
        """Both ends meet ECONNRESET."""
        for writer in self.writers:
            with contextlib.suppress(OSError, AttributeError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


class TcpGate:
    """Forwards from a port of its own to `target`, from open() on. Everything else may be called from any thread."""

    def __init__(self, target, port=0):
        self.target, self.port, self.links = target, port, set()
        self.delay = 0.0  # seconds, each way
        self.at_commit = lambda: None  # of each COMMIT: "asking" (it never arrives), "answering", or None
        # Of each group that pgmend asks about ahead of its Sync: "asking" (the Sync never arrives, all else is answered),
        # "answering" (ReadyForQuery does not arrive), "silent" (nothing of the answer does), or None.
        self.at_sync = lambda: None
        self.at_flush = lambda: None  # the same of what is sent ahead of a Sync that comes later: "silent", or None
        self.at_answer = lambda: None  # called when an answer to such a COMMIT is cut
        self.hides_pids = False  # BackendKeyData names a backend that there is not
        self.holds = lambda link, data: None  # what is for the server waits for this Event of the loop's
        self.loop = asyncio.new_event_loop()
        self.passable = asyncio.Event()
        self.passable.set()
        self.server = None
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def call(self, function, *arguments):
        async def act():
            return function(*arguments)

        return asyncio.run_coroutine_threadsafe(act(), self.loop).result(20)

    def open(self):
        starting = asyncio.start_server(self.accept, "127.0.0.1", self.port)
        self.server = asyncio.run_coroutine_threadsafe(starting, self.loop).result(20)
        self.port = self.server.sockets[0].getsockname()[1]

    def silence(self):
        """Nothing goes through any more, and nobody is told: what was sent arrives when it is over."""
        self.call(self.passable.clear)

    def speak(self):
        self.call(self.passable.set)

    def reset_one(self):
        if links := self.call(lambda: list(self.links)):
            self.call(random.choice(links).reset)

    def cut_one(self, most=300):
        """A connection ends inside what the server says next."""
        if links := self.call(lambda: [link for link in self.links if link.left is None]):
            random.choice(links).left = random.randrange(most)

    def close(self):
        def end():
            if self.server is not None:
                self.server.close()
            for link in list(self.links):
                link.reset()
            for task in asyncio.all_tasks(self.loop):
                if task is not asyncio.current_task():
                    task.cancel()

        self.call(end)
        # What was cancelled ends before the loop does.
        ending = asyncio.run_coroutine_threadsafe(self.ended(), self.loop)
        with contextlib.suppress(Exception):
            ending.result(20)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(20)

    async def ended(self):
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        await asyncio.gather(*others, return_exceptions=True)

    async def accept(self, reader, writer):
        try:
            server_reader, server_writer = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
            return
        link = Link(writer, server_writer)
        self.links.add(link)
        try:
            await asyncio.gather(self.forward(reader, server_writer, link, False), self.forward(server_reader, writer, link, True))
        except OSError:
            link.reset()
        finally:
            self.links.discard(link)
            for each in link.writers:
                each.close()

    def meets_commit(self, link, data):
        where = self.at_commit() if b"COMMIT\0" in data else None
        if where == "asking":
            raise ConnectionResetError
        link.ends_at_answer = link.ends_at_answer or where == "answering"

    def meets_sync(self, link, data):
        """What of it goes on. A Sync that is sent strictly comes alone, when what stands before it was answered."""
        if link.asked and not data.replace(FLUSH, b""):
            return data
        strictly, link.asked = link.asked and data == SYNC, data.endswith(FLUSH) and b"pgmend_0\0" in data
        if link.asked:
            link.ends_at_answer = link.ends_at_answer or self.at_flush() == "silent"
        if not strictly and not (data.endswith(FLUSH + SYNC) and b"pgmend_0\0" in data):
            return data
        where = self.at_sync()
        if where == "asking" and strictly:
            raise ConnectionResetError
        if where == "asking":
            link.ends_behind_answer = True
            return data.removesuffix(SYNC)
        link.ends_at_ready = where == "answering"
        link.ends_at_answer = link.ends_at_answer or where == "silent"
        return data

    async def forward(self, reader, writer, link, answers):
        """With the time of each piece, so that a delay does not hold up what follows."""
        pieces = asyncio.Queue(1000)

        async def read():
            while True:
                try:
                    data = await reader.read(65536)
                except OSError:
                    data = None
                await pieces.put((self.loop.time() + self.delay, data))
                if not data:
                    return

        reading = asyncio.ensure_future(read())
        try:
            while True:
                at, data = await pieces.get()
                await asyncio.sleep(max(0.0, at - self.loop.time()))
                await self.passable.wait()
                if answers:
                    await link.answers.wait()
                elif data and (held := self.holds(link, data)):
                    await held.wait()
                if data is None:
                    raise ConnectionResetError
                if not data:
                    writer.write_eof()
                    return
                if not answers:
                    self.meets_commit(link, data)
                    data = self.meets_sync(link, data)
                elif link.ends_at_answer:
                    self.at_answer()
                    raise ConnectionResetError
                if answers and self.hides_pids and (at_key := data.find(b"K\0\0\0\x0c")) >= 0:
                    data = data[:at_key + 5] + b"\x3f\xff\xff\xff" + data[at_key + 9:]
                ends = answers and (link.ends_behind_answer or (link.ends_at_ready and b"Z\0\0\0\x05" in data))
                if ends and link.ends_at_ready:
                    data = data[:data.index(b"Z\0\0\0\x05")]
                if answers and link.left is not None:
                    data, link.left = data[:link.left], link.left - len(data)
                writer.write(data)
                await writer.drain()
                if ends:
                    raise ConnectionResetError
                if answers and link.left is not None and link.left <= 0:
                    raise ConnectionResetError
        finally:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await reading
