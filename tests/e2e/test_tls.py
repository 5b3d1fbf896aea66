"""TLS with client certificates: ASDs that speak nothing else hold the objects of a deployment, its
metadata is reached the same way, and whoever is not vouched for is refused with a reason."""
import filecmp
import json
import re
import shutil
import ssl
import subprocess

from asd_peer import Peer
from asd_process import AsdProcess
from certificates import Certs
from harness import BIN, Deployment, Failed, random_file, refused, wait_for

PLAIN_ASDS = [f"asd{i}" for i in range(6)]


def tls_port(asd):
    return int(re.search(r"\bserving\b.* tls_port=(\d+)", asd.log())[1])


def tls_address(asd):
    return ["--host=127.0.0.1", f"--port={tls_port(asd)}"]


def only_version_1_3_is_spoken(c, asd):
    peer = Peer(tls_port(asd), tls=c.context(ssl.TLSVersion.TLSv1_3))
    assert peer.sock.version() == "TLSv1.3", peer.sock.version()
    peer.close()
    try:
        Peer(tls_port(asd), hello=False, tls=c.context(ssl.TLSVersion.TLSv1_2))
    except ssl.SSLError as e:
        assert "PROTOCOL_VERSION" in e.reason, e
    else:
        raise AssertionError("TLS 1.2 was taken")


def wrong_ones_are_refused(d, c, asd):
    at = tls_address(asd)
    d.alba("asd-disk-usage", *at, c.flag())
    refused(lambda: d.alba("asd-disk-usage", *at), "speaks TLS, but was asked without")
    refused(lambda: d.alba("asd-disk-usage", *at, c.flag("stranger")), "refuses: unknown ca")
    refused(lambda: d.alba("asd-disk-usage", *at, c.flag("expired")), "certificate expired")
    refused(lambda: d.alba("asd-disk-usage", *at, c.flag("client", "other-ca.pem")),
            "unable to get local issuer certificate")
    refused(lambda: d.alba("asd-disk-usage", *at, "--tls=" + c.path("ca.pem")), "CA,CERTIFICATE,KEY")
    refused(lambda: d.alba("asd-disk-usage", *at, c.flag("nobody")), "nobody.pem: No such file")
    assert "connection dropped peer=tls://127.0.0.1" in asd.log(), asd.log()


def certificates_are_read_again(d, c, asd):
    at = tls_address(asd)
    kept = c.folder / "kept"
    kept.mkdir()
    for end in "pem", "key":
        shutil.copy(c.path(f"server.{end}"), kept)
        shutil.copy(c.path(f"elsewhere.{end}"), c.path(f"server.{end}"))
    d.alba("asd-disk-usage", *at, c.flag())  # not before it is told
    asd.reload()
    refused(lambda: d.alba("asd-disk-usage", *at, c.flag()), "IP address mismatch")
    shutil.copy(kept / "server.pem", c.folder)
    told = asd.reload()  # the key is not that certificate's
    assert "not reloaded" in told and "key values mismatch" in told, told
    refused(lambda: d.alba("asd-disk-usage", *at, c.flag()), "IP address mismatch")
    shutil.copy(kept / "server.key", c.folder)
    asd.reload()
    d.alba("asd-disk-usage", *at, c.flag())


def objects_lie_on_tls_asds(d, c, asds):
    for asd in asds:
        at = tls_address(asd)
        d.alba("add-osd", *at, f"--node-id=tls-{asd.home.name}", c.flag())
        d.alba("claim-osd", f"--long-id={asd.home.name}", c.flag())
    listed = {o["long_id"]: o for o in d.alba("list-osds", c.flag())}
    for asd in asds:
        osd = listed[asd.home.name]
        assert osd["use_tls"] and osd["answers"], osd
    assert all(listed[o]["answers"] for o in listed), listed
    assert not any(o["answers"] for o in d.alba("list-osds") if o["use_tls"])  # no --tls

    preset = d.root / "mirror.json"
    preset.write_text('{"policies": [[1, 1, 2, 1]], "fragment_size": 1048576}')
    d.alba("create-preset", "mirror", f"--input-url={preset}")
    d.alba("create-namespace", "ns", "mirror")
    for name in PLAIN_ASDS:
        d.hold(name)
    source = random_file(d.root / "in", 30_000_001, seed=1)
    refused(lambda: d.alba("proxy-upload-object", *d.proxy, "ns", source, "x"), "")
    for name in "proxy", "maintenance":
        d.hold(name)
        d.configure(name, tls_client=c.client())
        d.start(name)
        d.wait_running(name)

    def uploaded():
        try:
            d.alba("proxy-upload-object", *d.proxy, "ns", source, "x")
            return True
        except Failed:
            return False

    wait_for("the proxy to put an object on the ASDs with TLS", uploaded, 60)
    d.alba("proxy-download-object", *d.proxy, "ns", "x", d.root / "out")
    assert filecmp.cmp(source, d.root / "out", shallow=False)
    d.alba("download-object", c.flag(), "ns", "x", d.root / "out2")  # through a proxy of its own
    assert filecmp.cmp(source, d.root / "out2", shallow=False)
    refused(lambda: d.alba("download-object", "ns", "x", d.root / "out3"), "")
    asds[0].kill()
    asds[0].start()  # another port: its old one is in the registry
    d.alba("add-osd", *tls_address(asds[0]), f"--node-id=tls-{asds[0].home.name}", c.flag())
    d.alba("proxy-download-object", *d.proxy, "ns", "x", d.root / "out4")
    assert filecmp.cmp(source, d.root / "out4", shallow=False)
    for name in PLAIN_ASDS:
        d.start(name)


def metadata_is_reached_over_tls(d, c):
    d.hold("meta")
    d.configure("meta", tls=c.server())
    d.start("meta")
    d.wait_running("meta")
    log = d.dir / "log/meta.log"
    tls_ports = lambda: re.findall(r"tls_port=([1-9]\d*)", log.read_text())
    wait_for("the metadata to serve", tls_ports)
    url = "asd+tls://127.0.0.1:" + tls_ports()[-1]
    assert d.alba("get-alba-id", f"--config={url}", c.flag()) == d.alba("get-alba-id")
    refused(lambda: d.alba("get-alba-id", f"--config={url}"), "no certificates are configured")
    refused(lambda: d.alba("get-alba-id", f"--config={url}", c.flag("stranger")), "unknown ca")
    d.hold("proxy")
    d.configure("proxy", albamgr_cfg_url=url)
    d.start("proxy")
    d.wait_running("proxy")

    def listed():
        try:
            return d.alba("proxy-list-objects", *d.proxy, "--max=-1", "ns")["objects"] == ["x"]
        except Failed:
            return False

    wait_for("the proxy to reach its metadata over TLS", listed)


def plain_ports_stay_on_this_machine(folder, c):
    def check(**keys):
        path = folder / "check.json"
        path.write_text(json.dumps({"home": str(folder / "h"), "node_id": "n"} | keys))
        done = subprocess.run([BIN / "alba-asd", "--check", f"--config={path}"],
                              capture_output=True, text=True)
        return done.returncode, done.stderr

    for keys in ({"port": 0}, {"port": 0, "ips": ["127.0.0.1", "192.0.2.1"]},
                 {"port": 0, "tls": c.server()}):
        code, said = check(**keys)
        assert code != 0 and "allow_plain" in said, said
    code, said = check()
    assert code != 0 and "neither 'port' nor 'tls'" in said, said
    code, said = check(tls=dict(c.server(), key=c.path("client.key")))
    assert code != 0 and "client.key: key values mismatch" in said, said
    for keys in ({"port": 0, "ips": ["127.0.0.1", "::1"]}, {"port": 0, "allow_plain": True},
                 {"tls": c.server()}, {"port": 0, "ips": ["127.0.0.1"], "tls": c.server()}):
        code, said = check(**keys)
        assert code == 0, said


def main():
    with Deployment() as d:
        c = Certs(d.root / "certs")
        d.proxy = ["--host=127.0.0.1", f"--port={d.info()['proxy_port']}"]
        plain_ports_stay_on_this_machine(d.root, c)
        with AsdProcess(d.root, "tls-a", port=None, tls=c.server()) as a, \
                AsdProcess(d.root, "tls-b", tls=c.server(), threads=2) as b:
            refused(lambda: d.alba("asd-disk-usage", *b.address, c.flag()),
                    "does this port speak TLS?")
            d.alba("asd-disk-usage", *b.address)
            only_version_1_3_is_spoken(c, a)
            wrong_ones_are_refused(d, c, a)
            certificates_are_read_again(d, c, a)
            objects_lie_on_tls_asds(d, c, [a, b])
            metadata_is_reached_over_tls(d, c)


main()
print("ok")
