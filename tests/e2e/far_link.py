"""Another network namespace, and the only link to it: a relay that delays, and counts what crosses.

    with FarLink() as link:
        asd = AsdProcess(folder, "far0")
        link.over_there(asd.start)
        port = link.open(asd.port)       # 127.0.0.1:port leads to that ASD

One thread lives over there: what it starts is there as well. The namespace has no name and no
interface but its loopback; it ends with the last process in it, however the test ends."""
import asyncio
import collections
import concurrent.futures
import ctypes
import fcntl
import os
import socket
import struct
import sys
import threading

CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
MULTI_GET, MULTI_GET2, PARTIAL_GET = 2, 8, 11
FRAGMENT = b"p\0\0\0\0n"  # how the keys of fragments begin


def _go_there():
    """This thread leaves the network of its process."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise PermissionError(error, os.strerror(error))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        name, flags, rest = struct.unpack(
            "16sH22s", fcntl.ioctl(s, SIOCGIFFLAGS, struct.pack("40s", b"lo")))
        fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sH22s", name, flags | IFF_UP, rest))


class Requests:
    """Takes the client's side of a connection to an ASD apart (PROTOCOL.md, "ASD")."""

    def __init__(self, count):
        self.count = count
        self.data = bytearray()
        self.version = None

    def take(self, data):
        self.data += data
        if self.version is None and not self.preamble():
            return
        while len(self.data) >= 4:
            end = 4 + struct.unpack_from("<I", self.data)[0]
            if len(self.data) < end:
                break
            body = bytes(self.data[8 if self.version == 2 else 4:end])
            self.count(struct.unpack_from("<I", body)[0], body[4:])
            del self.data[:end]

    def preamble(self):
        if len(self.data) < 9 or self.data[8] != 0 and len(self.data) < 13:
            return False
        end = 9 if self.data[8] == 0 else 13 + struct.unpack_from("<I", self.data, 9)[0]
        if len(self.data) < end:
            return False
        assert self.data[:4] == b"aLbA", bytes(self.data[:end])
        self.version = struct.unpack_from("<I", self.data, 4)[0]
        del self.data[:end]
        return True


class FarLink:
    def __init__(self, delay_s=0.01):
        self.delay_s = delay_s
        self.requests = collections.Counter()  # by (command, is it about fragments)
        self.bytes_here = 0                    # that came from there
        self.there = concurrent.futures.ThreadPoolExecutor(1)
        self.loop = asyncio.new_event_loop()
        self.relay = threading.Thread(target=self.loop.run_forever)
        self.servers = []

    def __enter__(self):
        try:
            self.over_there(_go_there)
        except PermissionError as e:
            self.there.shutdown()
            print(f"SKIP: no network namespace of our own: {e.strerror}")
            sys.exit(77)
        self.over_there(self.relay.start)  # as a thread of that one: it connects over there
        return self

    def __exit__(self, *_):
        asyncio.run_coroutine_threadsafe(self.end(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.relay.join()
        self.loop.close()
        self.there.shutdown()

    def over_there(self, action, *args):
        return self.there.submit(action, *args).result()

    def fragment_reads(self):
        return sum(self.requests[command, True] for command in (MULTI_GET, MULTI_GET2, PARTIAL_GET))

    def open(self, port):
        """Returns the port of 127.0.0.1 here that leads to this one over there."""
        here = socket.create_server(("127.0.0.1", 0))  # of this thread's network, for ever

        async def serve():
            self.servers.append(await asyncio.start_server(
                lambda r, w: self.carry(r, w, port), sock=here))

        asyncio.run_coroutine_threadsafe(serve(), self.loop).result()
        return here.getsockname()[1]

    # ---- in the relay's thread ----

    async def end(self):
        for server in self.servers:
            server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def carry(self, reader, writer, port):
        def count(command, args):
            self.requests[command, FRAGMENT in args] += 1

        def arrived(data):
            self.bytes_here += len(data)

        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self.pump(reader, far_writer, Requests(count).take),
                             self.pump(far_reader, writer, arrived))

    async def pump(self, reader, writer, look):
        try:
            while data := await reader.read(1 << 16):
                look(data)
                await asyncio.sleep(self.delay_s)
                writer.write(data)
                await writer.drain()
        except OSError:
            pass  # one side has gone: so does the other
        finally:
            writer.close()
