"""The conversations of tests/golden/conversations, with a real proxy and a real ASD: every byte that they
say is the byte that was recorded, or a name's value of the length that was recorded."""
import pathlib
import re
import shutil

from asd_process import AsdProcess
from conversation import Conversation, Differs, play_all
from harness import Deployment, connect

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden/conversations"
PRESET = """{"policies": [[2, 1, 3, 3]], "fragment_size": 4096, "compression": "%s",
             "object_checksum": {"allowed": %s, "default": ["crc-32c"], "verify_upload": true}}"""
ALL = '[["none"], ["sha-1"], ["crc-32c"]]'


def known_of(d):
    files = d.dir / "files"
    (files / "in").write_bytes(b"from a file")
    engine = (d.dir / "alba.url").read_text().strip().removeprefix("asd://").split("/")[0]
    known = {"alba_id": d.alba("get-alba-id")["id"], "engine": engine, "file_in": files / "in",
             "file_out": files / "out", "file_none": files / "none"}
    return {name: str(value).encode() for name, value in known.items()}


def a_changed_byte_is_found(folder, prefix, connect_to, known):
    """One hexadecimal digit of each line that the server says: the player must stop there."""
    path = folder / "changed.txt"
    lines = (GOLDEN / f"{prefix}.txt").read_text().splitlines()
    tried = 0
    for at, line in enumerate(lines):
        found = re.match(r"S< (?:[0-9a-f]{2})*[0-9a-f]([0-9a-f])(?=[^0-9a-f]|$)", line)
        if not found:
            continue
        other = "0123456789abcdef"[int(found[1], 16) ^ 1]
        changed = line[:found.start(1)] + other + line[found.end(1):]
        path.write_text("\n".join(lines[:at] + [changed] + lines[at + 1:]))
        with connect_to() as sock:
            try:
                Conversation(path, known).play(sock)
            except Differs as e:
                assert f"changed.txt:{at + 1}:" in str(e), (e, line)
                tried += 1
                continue
        raise AssertionError(f"not found: {line} instead of {changed}")
    assert tried > 5, tried


def every_command_of_the_protocol_is_said():
    text = (GOLDEN.parents[2] / "client/wire/PROTOCOL.md").read_text()
    asd, proxy = text.split("\n## Proxy protocol\n")
    for prefix, part in ("asd", asd), ("proxy", proxy):
        commands = re.findall(r"^\| (\d+) \| ([A-Z]\w+)(?: \(\*ours\*\))? \|", part, re.M)
        said = "".join(path.read_text() for path in GOLDEN.glob(f"{prefix}_*.txt"))
        missing = [c for c in commands if not re.search(rf"^# {c[0]} {c[1]}\b", said, re.M)]
        assert len(commands) >= 14 and not missing, (prefix, len(commands), missing)


def main():
    every_command_of_the_protocol_is_said()
    with Deployment("--asds=3", "--nodes=1") as d:
        with AsdProcess(d.root, "golden") as asd:
            where = ("127.0.0.1", asd.port)
            known = {"long_id": b"golden"}
            for slowly in False, True:
                assert play_all(GOLDEN, "asd", lambda: connect(where), known, slowly) >= 7
            a_changed_byte_is_found(d.root, "asd_ranges", lambda: connect(where), known)
        for name, codec, allowed in (("plain", "none", ALL), ("packed", "lz4", ALL), ("snappy", "snappy", ALL),
                                     ("strict", "none", '[["crc-32c"]]')):
            path = d.root / f"{name}.json"
            path.write_text(PRESET % (codec, allowed))
            d.alba("create-preset", name, f"--input-url={path}")
        known = known_of(d)
        for where in (("127.0.0.1", d.info()["proxy_port"]), d.dir / "run/proxy.sock"):
            for slowly in False, True:
                shutil.rmtree(d.dir / "files/out", ignore_errors=True)
                assert play_all(GOLDEN, "proxy", lambda: connect(where), known, slowly) >= 16
        a_changed_byte_is_found(d.root, "proxy_sessions", lambda: connect(where), known)
        a_changed_byte_is_found(d.root, "proxy_osds", lambda: connect(where), known)


main()
print("ok")
