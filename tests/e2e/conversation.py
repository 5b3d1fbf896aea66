"""Plays a conversation of tests/golden/conversations with a real server: says what the client says,
and compares every byte of the answers. The format is in the README.md there."""
import contextlib
import re
import socket
import struct

from foreign_wire import snappy_block

TOKEN = re.compile(r"string\[|snappy\[|\]|closed|\{(\w+)(?::(\w+))?\}|((?:[0-9a-f]{2})+)")


class Differs(AssertionError):
    """With the file and line of the first byte that is not as it was recorded."""


class Socket:
    """What comes, by pieces; `taken` counts."""

    def __init__(self, sock):
        self.sock = sock
        self.taken = 0

    def take(self, size):
        parts = bytearray()
        while len(parts) < size:
            part = self.sock.recv(size - len(parts))
            if not part:
                raise EOFError(f"closed after {len(parts)} of {size} bytes")
            parts += part
        self.taken += size
        return bytes(parts)


class Block:
    """The inside of a string."""

    def __init__(self, data):
        self.data = data
        self.taken = 0

    def take(self, size):
        part = self.data[self.taken:self.taken + size]
        if len(part) != size:
            raise EOFError(f"{size} bytes were to come, {len(part)} are left")
        self.taken += size
        return part


class Conversation:
    def __init__(self, path, known=None):
        """`known`: values of names that the test gives."""
        self.path = path
        self.known = dict(known or {})
        self.lines = list(self.read())

    def read(self):
        """(line number, "C" or "S", tokens)"""
        for number, line in enumerate(self.path.read_text().splitlines(), 1):
            said = line.split("#")[0].strip()
            if not said:
                continue
            who, rest = said[:2], said[2:].strip()
            tokens, at = [], 0
            while at < len(rest):
                found = TOKEN.match(rest, at)
                assert found and who in ("C>", "S<"), f"{self.path.name}:{number}: {line!r}"
                tokens.append(found)
                at = found.end()
                while at < len(rest) and rest[at] == " ":
                    at += 1
            yield number, who[0], tokens

    def play(self, sock, slowly=False):
        """`slowly`: what the client says comes byte by byte."""
        sock.settimeout(20)
        at = 0
        while at < len(self.lines):
            who = self.lines[at][1]
            end = at
            while end < len(self.lines) and self.lines[end][1] == who:
                end += 1
            if who == "C":
                said = self.said(self.lines[at:end])
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may close
                    for first in range(0, len(said), 1 if slowly else len(said)):
                        sock.sendall(said[first:first + 1] if slowly else said)
            else:
                self.expect(sock, self.lines[at:end])
            at = end
        last = self.lines[-1]
        if last[2][-1][0] != "closed":
            sock.shutdown(socket.SHUT_WR)
            more = self.closed(Socket(sock))
            if more is not None:
                self.fail(last[0], last[2][-1], f"{more.hex()} came behind it")

    # ---- the client ----

    def said(self, lines):
        tokens = [token for _, _, tokens in lines for token in tokens]
        out, frame = bytearray(), None
        for token in tokens:
            name, form, data = token.groups()
            if data is not None:
                out += bytes.fromhex(data)
            elif name == "frame":
                frame = len(out)
                out += bytes(4)
            elif form == "S":
                out += struct.pack("<i", len(self.known[name])) + self.known[name]
            else:
                out += self.known[name]
        if frame is not None:
            struct.pack_into("<I", out, frame, len(out) - frame - 4)
        return bytes(out)

    # ---- the server ----

    def expect(self, sock, lines):
        source = Socket(sock)
        sources, frame_end = [source], None
        for number, _, tokens in lines:
            for token in tokens:
                try:
                    found = self.match(sources, token)
                except (EOFError, OSError) as e:
                    self.fail(number, token, str(e))
                if found is not None:
                    self.fail(number, token, f"{found.hex()} came")
                if token[1] == "frame":
                    frame_end = source.taken + self.frame
                if frame_end == source.taken and len(sources) == 1:
                    frame_end = None
        if frame_end is not None:
            self.fail(lines[-1][0], lines[-1][2][-1],
                      f"{frame_end - source.taken} bytes more in the frame")

    def match(self, sources, token):
        """None, or the bytes that are not what was to come."""
        name, form, data = token.groups()
        text, source = token[0], sources[-1]
        if data is not None:
            want = bytes.fromhex(data)
            came = source.take(len(want))
            return None if came == want else came
        if text.endswith("["):
            block = source.take(struct.unpack("<i", source.take(4))[0])
            sources.append(Block(snappy_block(block) if text == "snappy[" else block))
            return None
        if text == "]":
            left = sources.pop()
            return left.data[left.taken:] or None
        if text == "closed":
            return self.closed(source)
        if name == "frame":
            self.frame = struct.unpack("<I", source.take(4))[0]
            return None
        return self.match_name(source, name, form)

    def match_name(self, source, name, form):
        if form == "S":
            came = source.take(struct.unpack("<i", source.take(4))[0])
        elif form is not None and form[0] == "L":
            head = source.take(4)
            came = head + source.take(struct.unpack("<i", head)[0] * int(form[1:]))
        else:
            came = source.take(int(form) if form is not None else len(self.known[name]))
        return None if self.known.setdefault(name, came) == came else came

    @staticmethod
    def closed(source):
        try:
            return source.sock.recv(100) or None
        except ConnectionResetError:
            return None

    def fail(self, number, token, what):
        line = self.path.read_text().splitlines()[number - 1]
        raise Differs(f"{self.path.name}:{number}: {token[0]}: {what}; the line is: {line}")


def play_all(folder, prefix, connect_to, known=None, slowly=False):
    """All files of that prefix, each on a connection of its own. Returns how many."""
    paths = sorted(folder.glob(f"{prefix}_*.txt"))
    for path in paths:
        with connect_to() as sock:
            Conversation(path, known).play(sock, slowly)
    return len(paths)
