"""A create that is refused takes away what it made, and nothing that was there before."""
import json
import struct

import nbd_client as nbd
from foreign_wire import crc32c
from harness import Deployment, refused, wait_for

VOLUME_BYTES = 64 << 20
HEAD_BYTES = 5  # of a value in the registry: version, crc of key and the rest
BLOCK = 65536


class Record:
    """What the registry says of a volume, behind its back."""

    def __init__(self, d, volume):
        self.key = f"/alba/v1/reg/volume/{volume}"
        self.file = d.root / "record"
        self.run, self.port = d.run, d.daemon("meta")["address"].split(":")[1]

    def verb(self, verb):
        self.run(verb, "-h", "127.0.0.1", "-p", self.port, f"--file={self.file}", f"A{self.key}")

    def read(self):
        self.verb("asd-multi-get")
        return self.file.read_bytes()

    def change(self, **fields):
        value = self.read()
        version, (crc,) = value[:1], struct.unpack("<I", value[1:HEAD_BYTES])
        key = self.key.encode()
        assert crc == crc32c(key + version + value[HEAD_BYTES:])
        rest = json.dumps(json.loads(value[HEAD_BYTES:]) | fields).encode()
        self.file.write_bytes(version + struct.pack("<I", crc32c(key + version + rest)) + rest)
        self.verb("asd-set")


def too_few_osds(d, action):
    for name in ("asd0", "asd1", "asd2"):
        d.hold(name)
    refused(action, "policy")
    for name in ("asd0", "asd1", "asd2"):
        d.start(name)
        d.wait_running(name)


def one_that_was_never_made_leaves_nothing(d):
    too_few_osds(d, lambda: d.alba("vdisk-create", "new", str(VOLUME_BYTES)))
    assert d.alba("vdisk-list") == []
    assert d.alba("list-namespaces") == []


def one_of_a_record_older_than_its_disk_leaves_the_disk(d):
    """As a registry has it that was recovered: the disk is being made, it says, but is long full."""
    d.alba("vdisk-create", "old", str(VOLUME_BYTES))
    c = nbd.Client(d.nbd_socket, "old")
    c.write(0, b"old" * BLOCK)
    c.flush()
    c.disconnect()
    d.run("stop", "volumedriver")
    Record(d, "old").change(state="creating", epoch=0, owner="", device="")
    d.start("volumedriver")
    d.wait_volumes()
    too_few_osds(d, lambda: d.alba("vdisk-create", "old", str(VOLUME_BYTES)))
    wait_for("OSDs to be back", lambda: d.alba("vdisk-create", "old", str(VOLUME_BYTES)))
    c = nbd.Client(d.nbd_socket, "old")
    assert c.read(0, 3 * BLOCK) == b"old" * BLOCK
    c.disconnect()
    d.alba("vdisk-delete", "old")


def one_that_was_cut_off_while_it_was_undone_is_ended(d):
    d.alba("vdisk-create", "half", str(VOLUME_BYTES))
    d.run("stop", "volumedriver")
    Record(d, "half").change(state="deleting", epoch=0, owner="", device="")
    d.start("volumedriver")
    d.wait_volumes()
    wait_for("the record to go", lambda: d.alba("vdisk-list") == [])
    assert d.alba("list-namespaces") == []


def main():
    with Deployment() as d:
        one_that_was_never_made_leaves_nothing(d)
        one_of_a_record_older_than_its_disk_leaves_the_disk(d)
        one_that_was_cut_off_while_it_was_undone_is_ended(d)


main()
