"""What lies in the slabs of an ASD, to be changed behind its back.

Where a value lies is to be looked for. A slab is as long as it may become, and nearly all of it is a
hole, in front as well: what was given up is punched out within seconds, like the first copy of a
fragment that an ASD refused because it did not know the namespace yet.
"""
import errno
import os


def written(file):
    """(offset, bytes) of what a file without a buffer has in it, a run after the other."""
    at = 0
    while True:
        try:
            at = file.seek(at, os.SEEK_DATA)
        except OSError as e:
            assert e.errno == errno.ENXIO, e  # no more
            return
        end = file.seek(at, os.SEEK_HOLE)
        yield at, os.pread(file.fileno(), end - at, at)
        at = end


def places(path, needle):
    """The offsets at which it stands in a file, one after the other."""
    with open(path, "rb", buffering=0) as file:
        for at, data in written(file):
            found = data.find(needle)
            while found >= 0:
                yield at + found
                found = data.find(needle, found + 1)


def flip(path, *offsets):
    """One bit of the byte at each."""
    with open(path, "r+b", buffering=0) as file:
        for at in offsets:
            byte, = os.pread(file.fileno(), 1, at)
            os.pwrite(file.fileno(), bytes([byte ^ 1]), at)
