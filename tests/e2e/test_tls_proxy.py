"""TLS between clients and proxies: on a port of its own with client certificates, for the CLI, volumes
and foreign software alike; a port without it stays on this machine unless it is told otherwise."""
import ctypes
import filecmp
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess

from certificates import Certs
from foreign_proxy import ForeignProxy, refused as code_of, upload, upload_file
from harness import BIN, Deployment, own_address, random_file, refused, wait_for


def tls_port(d):
    """Of the proxy that runs now."""
    log = (d.dir / "log/proxy.log").read_text()
    return int(re.findall(r"\bserving\b.* tls_port=(\d+)", log)[-1])


def reload(d):
    log = d.dir / "log/proxy.log"
    before = len(log.read_text())
    os.kill(d.daemon("proxy")["pid"], signal.SIGHUP)
    wait_for("a word about the configuration", lambda: "reload" in log.read_text()[before:])
    return log.read_text()[before:]


def foreign(c, port, version=ssl.TLSVersion.TLSv1_3, address="127.0.0.1", server="127.0.0.1"):
    sock = socket.create_connection((address, port), timeout=10)
    return ForeignProxy(None, sock=c.context(version).wrap_socket(sock, server_hostname=server))


def objects_go_through_tls(d, c, at):
    source = random_file(d.root / "in", 20_000_001, seed=3)
    d.alba("proxy-upload-object", *at, c.flag(), "ns", source, "x")
    d.alba("proxy-download-object", *at, c.flag(), "ns", "x", d.root / "out")
    assert filecmp.cmp(source, d.root / "out", shallow=False)
    assert d.alba("proxy-list-objects", *at, c.flag(), "--max=-1", "ns")["objects"] == ["x"]
    uri = f"--proxy=tls://127.0.0.1:{tls_port(d)}"
    assert all(o["seen"] for o in d.alba("list-osds", uri, c.flag()))
    refused(lambda: d.alba("list-osds", uri), "no certificates are configured here")


def foreign_software_speaks_it(c, port):
    with foreign(c, port) as p:
        assert p.sock.version() == "TLSv1.3", p.sock.version()
        p.update_session({"manifest_ser": b"\2"})
        data = os.urandom(3_000_000)
        p.apply("ns", updates=[upload("foreign", data)])
        assert p.read_slices("ns", [("foreign", [(1_000_000, 1_500_000)])]) == data[10**6:2_500_000]
    try:
        foreign(c, port, ssl.TLSVersion.TLSv1_2)
    except ssl.SSLError as e:
        assert "PROTOCOL_VERSION" in e.reason, e
    else:
        raise AssertionError("TLS 1.2 was taken")


def wrong_ones_are_refused(d, c, at):
    ask = lambda *options: d.alba("proxy-list-namespaces", *at, *options)
    assert "ns" in ask(c.flag())
    refused(lambda: ask(), "does this port speak TLS?")
    refused(lambda: ask(c.flag("stranger")), "refuses: unknown ca")
    refused(lambda: ask(c.flag("expired")), "certificate expired")
    refused(lambda: ask(c.flag("client", "other-ca.pem")), "unable to get local issuer certificate")
    refused(lambda: ask("--tls=" + c.path("ca.pem")), "CA,CERTIFICATE,KEY")
    plain = ["--host=127.0.0.1", f"--port={d.info()['proxy_port']}"]
    refused(lambda: d.alba("proxy-list-namespaces", *plain, c.flag()), "does this port speak TLS?")
    log = (d.dir / "log/proxy.log").read_text()
    assert "connection dropped peer=tls://127.0.0.1" in log, log


def certificates_are_read_again(d, c, at):
    ask = lambda: d.alba("proxy-list-namespaces", *at, c.flag())
    kept = c.folder / "kept"
    kept.mkdir()
    for end in "pem", "key":
        shutil.copy(c.path(f"server.{end}"), kept)
        shutil.copy(c.path(f"elsewhere.{end}"), c.path(f"server.{end}"))
    ask()  # not before it is told
    reload(d)
    refused(ask, "IP address mismatch")
    shutil.copy(kept / "server.pem", c.folder)
    told = reload(d)  # the key is not that certificate's
    assert "not reloaded" in told and "key values mismatch" in told, told
    refused(ask, "IP address mismatch")
    shutil.copy(kept / "server.key", c.folder)
    reload(d)
    ask()


def volumes_go_through_tls(d, c, port):
    d.volumes_anew(proxies=[f"tls://127.0.0.1:{port}"], tls_client=c.client())
    d.alba("vdisk-create", "disk", "1GiB")
    assert d.alba("vdisk-info", "disk")["name"] == "disk"


class LibraryOptions(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("proxies", ctypes.POINTER(ctypes.c_char_p)),
                ("proxy_count", ctypes.c_size_t), ("flags", ctypes.c_uint32),
                ("timeout_ms", ctypes.c_uint32), ("direct_ms", ctypes.c_uint32),
                ("preferred", ctypes.c_uint32), ("manifest_bytes", ctypes.c_uint64),
                ("ca", ctypes.c_char_p), ("cert", ctypes.c_char_p), ("key", ctypes.c_char_p)]


class LibraryError(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int), ("proxy_code", ctypes.c_int),
                ("text", ctypes.c_char * 400)]


def programs_with_the_library_speak_it(c, port):
    path = next(BIN.parent.glob("**/libalbacore.so"))
    if b"__asan_init" in path.read_bytes() or b"__tsan_init" in path.read_bytes():
        print("the library has a sanitizer, which Python cannot load: not tried")
        return
    library = ctypes.CDLL(str(path))
    proxies = (ctypes.c_char_p * 1)(f"tls://127.0.0.1:{port}".encode())
    client, e = ctypes.c_void_p(), LibraryError()
    files = [c.path(name).encode() for name in ("ca.pem", "client.pem", "client.key")]
    for given in files, [None] * 3:
        options = LibraryOptions(ctypes.sizeof(LibraryOptions), proxies, 1, 0, 5000, 0, 0, 0, *given)
        rc = library.albacore_connect(ctypes.byref(options), ctypes.byref(client), ctypes.byref(e))
        if given is not files:
            assert rc != 0 and b"tls_ca_cert" in e.text, (rc, e.text)
            continue
        assert rc == 0, e.text
        data = os.urandom(100_000)
        rc = library.albacore_put(client, b"ns", b"library", data, ctypes.c_size_t(len(data)), None,
                                  ctypes.byref(e))
        assert rc == 0, e.text
        library.albacore_close(client)
    with foreign(c, port) as p:
        assert p.read_slices("ns", [("library", [(0, 100_000)])]) == data


def others_are_known_by_their_certificates(d, c, address):
    """From another address than the loopback's: no files, whatever certificate."""
    with foreign(c, tls_port(d), address=address, server="127.0.0.1") as p:
        assert p.namespace_exists("ns")
        path = d.dir / "files/in"
        path.write_bytes(b"x")
        message = code_of(1, p.write_file, "ns", "stolen", path)
        assert b"unix socket" in message, message
        assert p.fragment_key(p.alba_id(), d.alba("list-namespaces")[0]["id"]) is None
        code_of(1, p.apply, "ns", updates=[upload_file("stolen", path)])
        assert p.multi_exists("ns", ["stolen"]) == [False]


def plain_ports_stay_on_this_machine(d, c):
    config = json.loads((d.dir / "etc/proxy.json").read_text())

    def check(**keys):
        path = d.root / "check.json"
        path.write_text(json.dumps({k: v for k, v in (config | keys).items() if v is not None}))
        done = subprocess.run([BIN / "alba-proxy", "--check", f"--config={path}"],
                              capture_output=True, text=True)
        return done.returncode, done.stderr

    for keys in ({"ips": []}, {"ips": None}, {"ips": ["127.0.0.1", "192.0.2.1"]},
                 {"ips": ["::"], "tls": c.server()}):
        code, said = check(**keys)
        assert code != 0 and "allow_plain" in said, said
    code, said = check(port=None, socket=None)
    assert code != 0 and "nor 'tls'" in said, said
    code, said = check(tls=dict(c.server(), key=c.path("client.key")))
    assert code != 0 and "client.key: key values mismatch" in said, said
    for keys in ({"ips": ["127.0.0.1", "::1"]}, {"ips": [], "allow_plain": True},
                 {"ips": [], "port": None, "tls": c.server()}, {"ips": [], "port": None},
                 {"port": None, "socket": None, "tls": c.server()}):
        code, said = check(**keys)
        assert code == 0, said


def main():
    with Deployment() as d:
        c = Certs(d.root / "certs")
        d.alba("create-namespace", "ns", "volumes")
        plain_ports_stay_on_this_machine(d, c)
        d.reconfigured("proxy", tls=c.server())
        at = ["--host=127.0.0.1", f"--port={tls_port(d)}"]
        objects_go_through_tls(d, c, at)
        foreign_software_speaks_it(c, tls_port(d))
        programs_with_the_library_speak_it(c, tls_port(d))
        wrong_ones_are_refused(d, c, at)
        certificates_are_read_again(d, c, at)
        volumes_go_through_tls(d, c, tls_port(d))
        address = own_address()
        if address is None:
            print("no other address than the loopback's: not tried from one")
            return
        d.reconfigured("proxy", ips=["0.0.0.0"], port=None)
        others_are_known_by_their_certificates(d, c, address)


main()
print("ok")
