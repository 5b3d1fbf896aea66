"""What a volume may hold, sector by sector.

Every write has a number; each of its sectors carries the number, its own place and a fill made
of both, so that a sector that is read says which write it comes from, and that it is whole.
Number 0 are zeroes: trims, write-zeroes, and what was never written.

A value may be there unless a write that was sent after the value's reply has been answered.
So of two overlapping requests in flight either may win, and what was in flight when the server
died may be there or not; for each sector of 512 bytes alone."""
import struct

SECTOR = 512
ZEROES = bytes(SECTOR)
NEVER = 1 << 62


def sector_of(number, place):
    return (struct.pack("<QQ", number, place ^ number << 20) + b"%016x" % (number * place)) * 16


def data_of(number, place, count):
    """`count` sectors from `place` on, as write `number` sends them."""
    return b"".join([sector_of(number, s) for s in range(place, place + count)])


def number_of(data, place):
    """The write that a sector comes from; None if it is no whole sector of any."""
    if data == ZEROES:
        return 0
    number = struct.unpack("<Q", data[:8])[0]
    return number if data == sector_of(number, place) else None


class Model:
    def __init__(self, size_bytes):
        self.sectors = size_bytes // SECTOR
        self.clock = 0
        start = (0, 0, 0)  # number, when sent, when answered
        self.values = [(start,)] * self.sectors
        self.flying = {}  # key -> (number, sent, place, count)
        self.late = []  # reads in flight: they may see writes sent after them

    def tick(self):
        self.clock += 1
        return self.clock

    def sent(self, key, number, place, count):
        """A write (or trim or zeroes: number 0) goes out."""
        value = (number, self.tick(), NEVER)
        self.flying[key] = (value, place, count)
        values = self.values
        for s in range(place, place + count):
            values[s] += (value,)
        for read in self.late:
            read["writes"].append((number, place, count))

    def answered(self, key):
        value, place, count = self.flying.pop(key)
        number, sent, _ = value
        done = (number, sent, self.tick())
        values = self.values
        shared = {}
        for s in range(place, place + count):
            old = values[s]
            if old not in shared:
                shared[old] = tuple([v for v in old if v[2] >= sent and v != value]) + (done,)
            values[s] = shared[old]

    def reading(self, place, count):
        """A read goes out: what it may see is known when it is given to judge()."""
        read = {"place": place, "values": self.values[place:place + count], "writes": []}
        self.late.append(read)
        return read

    def judge(self, read, data):
        """What is wrong with the answer of a read: a list of lines."""
        self.late.remove(read)
        wrong = []
        place = read["place"]
        for i, values in enumerate(read["values"]):
            found = number_of(data[i * SECTOR:(i + 1) * SECTOR], place + i)
            if any(v[0] == found for v in values):
                continue
            if any(n == found and p <= place + i < p + c for n, p, c in read["writes"]):
                continue
            want = sorted({v[0] for v in values})
            wrong.append(f"sector {place + i}: found {describe(found)}, want one of {want}")
        return wrong

    def crashed(self):
        """The server is gone: what flew may have landed or not, and nothing lands later."""
        self.flying.clear()
        self.late.clear()

    def settle(self, place, data):
        """Takes what was read after a crash for a fact, if it may be: a list of lines."""
        read = self.reading(place, len(data) // SECTOR)
        wrong = self.judge(read, data)
        now = self.tick()
        for i in range(len(data) // SECTOR):
            found = number_of(data[i * SECTOR:(i + 1) * SECTOR], place + i)
            if len(self.values[place + i]) != 1 and found is not None:
                self.values[place + i] = ((found, now, now),)
        return wrong


def describe(number):
    return "no whole sector of any write" if number is None else f"write {number}"


class Prefixes:
    """Requests one after the other, and which prefixes of them a volume's content can be."""

    def __init__(self, size_bytes):
        self.history = [[(0, 0)] for _ in range(size_bytes // SECTOR)]  # (request, number)
        self.count = 0

    def wrote(self, number, place, count):
        self.count += 1
        for s in range(place, place + count):
            self.history[s].append((self.count, number))

    def forget_after(self, count):
        """Only the first `count` requests were ever made."""
        self.count = count
        for history in self.history:
            while history[-1][0] > count:
                history.pop()

    def match(self, blocks):
        """`blocks`: (place, data) of the whole volume. The lengths of prefix that fit all."""
        fits = (1 << (self.count + 1)) - 1
        for place, data in blocks:
            for i in range(len(data) // SECTOR):
                history = self.history[place + i]
                found = number_of(data[i * SECTOR:(i + 1) * SECTOR], place + i)
                if len(history) == 1 and found == 0:
                    continue
                mask = 0
                for at, (request, number) in enumerate(history):
                    if number == found:
                        end = history[at + 1][0] if at + 1 < len(history) else self.count + 1
                        mask |= (1 << end) - (1 << request)
                fits &= mask
                if not fits:
                    return [], f"sector {place + i}: {describe(found)} fits no prefix any more"
        return [k for k in range(self.count + 1) if fits >> k & 1], ""
