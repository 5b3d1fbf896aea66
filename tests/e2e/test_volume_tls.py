"""A volume whose proxy is behind TLS: its bytes go there and come back, also from the backend alone;
without certificates the driver does not start, with wrong ones it says what is wrong."""
import json
import random
import re
import subprocess

import nbd_client as nbd
from certificates import Certs
from harness import BIN, Deployment, wait_for

BLOCK = 1 << 18
BLOCKS = 24
rng = random.Random(8)


def block(i):
    return random.Random(f"tls/{i}").randbytes(BLOCK)


def tls_port(d):
    log = (d.dir / "log/proxy.log").read_text()
    return int(re.findall(r"\bserving\b.* tls_port=(\d+)", log)[-1])


def driver_with(d, **keys):
    """The volumedriver starts anew with these keys."""
    d.hold("volumedriver")
    d.configure("volumedriver", **keys)
    d.start("volumedriver")


def is_well(d):
    return d.alba("vdisk-info", "disk")["backend"] == "well"


def uploaded(d):
    return d.statistics("disk")["tail_bytes"] == 0


def bytes_go_there_and_come_back(d):
    c = nbd.Client(d.nbd_socket, "disk")
    for i in range(BLOCKS):
        c.write(i * BLOCK, block(i))
    c.flush()
    c.disconnect()
    wait_for("the upload", lambda: uploaded(d), 120)
    driver_with(d)  # nothing of it is in memory now
    d.wait_volumes(60)
    c = nbd.Client(d.nbd_socket, "disk")
    for i in range(BLOCKS):
        assert c.read(i * BLOCK, BLOCK) == block(i), i
    c.disconnect()
    assert d.statistics("disk")["backend_read_bytes"] >= BLOCKS * BLOCK // 2
    assert is_well(d)


def without_certificates_it_does_not_start(d):
    config = json.loads((d.dir / "etc/volumedriver.json").read_text())
    del config["tls_client"]
    path = d.root / "without.json"
    path.write_text(json.dumps(config))
    done = subprocess.run([BIN / "volumedriver", f"--config={path}", "--check"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode > 0, done
    for words in ("tls://127.0.0.1", "tls_client"):
        assert words in done.stderr, done.stderr


def wrong_ones_are_named(d, c, who, words):
    """Reads fail, writes stay in the journal, and what is wrong is said where people look."""
    driver_with(d, tls_client=c.client(who), backend_timeout_ms=2000)
    log = d.dir / "log/volumedriver.log"
    wait_for("a word about it", lambda: words in log.read_text(), 60)
    line = next(line for line in log.read_text().splitlines() if words in line)
    assert "tls://127.0.0.1" in line, line


def main():
    with Deployment() as d:
        c = Certs(d.root / "certs")
        d.reconfigured("proxy", tls=c.server())
        proxy = f"tls://127.0.0.1:{tls_port(d)}"
        d.volumes_anew(proxies=[proxy], tls_client=c.client(), sco_age_ms=300)
        d.alba("vdisk-create", "disk", "64MiB")
        bytes_go_there_and_come_back(d)
        without_certificates_it_does_not_start(d)
        wrong_ones_are_named(d, c, "stranger", "unknown ca")
        wrong_ones_are_named(d, c, "expired", "certificate expired")
        driver_with(d, tls_client=c.client())
        d.wait_volumes(60)
        wait_for("the backend to be well", lambda: is_well(d), 60)
        client = nbd.Client(d.nbd_socket, "disk")
        assert client.read(3 * BLOCK, BLOCK) == block(3)
        client.disconnect()


main()
print("ok")
