"""Several proxies of one registry: each lists itself, who dies or is frozen disappears and comes back,
and the verbs of the CLI that are given no proxy find one that answers."""
import filecmp
import json
import os
import signal
import subprocess

from harness import BIN, Deployment, frozen, random_file, wait_for


class Proxy:
    """`alba proxy-start` beside the one of the deployment, on a port of the kernel's choice."""

    def __init__(self, d, name, **keys):
        self.d = d
        self.log = d.root / f"{name}.log"
        self.socket = d.root / f"{name}.sock"
        config = json.loads((d.dir / "etc/proxy.json").read_text())
        config.update({"port": 0, "http_port": None, "socket": str(self.socket),
                       "announce_interval": 0.5}, **keys)
        path = d.root / f"{name}.json"
        path.write_text(json.dumps(config))
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([BIN / "alba", "proxy-start", f"--config={path}"],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(f"{name} to be ready", lambda: "daemon: ready" in self.log.read_text())

    @property
    def pid(self):
        return self.process.pid

    def is_listed(self):
        return any(f"unix://{self.socket}" in p["endpoints"] for p in self.d.alba("list-proxies"))

    def end(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(60)


def start(d, *args):
    """A verb that knows the registry and nothing else."""
    env = {k: v for k, v in os.environ.items() if k != "ALBA_DIR"}
    env["ALBA_CONFIG"] = str(d.dir / "alba.url")
    return subprocess.Popen([BIN / "alba", *map(str, args)], env=env, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def find(d, *args):
    """The same, to its end."""
    done = start(d, *args)
    out, error = done.communicate(timeout=120)
    assert done.returncode == 0, error.decode()
    return out.decode()


def listed_by_where_they_listen(d, a, b):
    wait_for("both to be listed", lambda: a.is_listed() and b.is_listed())
    records = d.alba("list-proxies")
    assert len(records) == 3 and len({p["id"] for p in records}) == 3, records
    announced = next(p for p in records if "tcp://192.0.2.7:10000" in p["endpoints"])
    assert announced["endpoints"] == ["tcp://192.0.2.7:10000", f"unix://{b.socket}"], announced
    mine = next(p for p in records if f"unix://{a.socket}" in p["endpoints"])
    assert mine["endpoints"][0].startswith("tcp://127.0.0.1:"), mine
    assert mine["endpoints"][0] != "tcp://127.0.0.1:0", mine


def a_private_proxy_is_not_listed(d, source):
    d.alba("upload-object", "ns", source, "direct")
    assert len(d.alba("list-proxies")) == 3


def verbs_find_one(d, source):
    find(d, "proxy-upload-object", "ns", source, "found")
    assert find(d, "proxy-list-objects", "ns").split() == ["direct", "found"]
    out = d.root / "out"
    find(d, "proxy-download-object", "ns", "found", out)
    assert out.read_bytes() == source.read_bytes()


def got(proxy):
    """Bytes that it has read, sockets included."""
    with open(f"/proc/{proxy.pid}/io") as io:
        return int(io.readline().split()[1])


def an_upload_goes_on_with_another(d, a, b):
    """The one that takes it dies halfway: it begins again where it is taken."""
    source = random_file(d.root / "large", 200 << 20, 2)
    d.hold("proxy")
    before = {proxy: got(proxy) for proxy in (a, b)}
    upload = start(d, "proxy-upload-object", "ns", source, "large")
    victim = wait_for("one to take a part", lambda: next(
        (proxy for proxy in (a, b) if got(proxy) > before[proxy] + (20 << 20)), None))
    assert upload.poll() is None, "it was over before anything was killed"
    victim.end(signal.SIGKILL)
    _, error = upload.communicate(timeout=120)
    assert upload.returncode == 0, error.decode()
    d.start("proxy")
    d.wait_running("proxy")
    out = d.root / "out"
    find(d, "proxy-download-object", "ns", "large", out)
    assert filecmp.cmp(source, out, shallow=False)
    return victim


def who_is_frozen_disappears_and_comes_back(d, a):
    with frozen(a.pid):
        wait_for("a frozen one to disappear", lambda: not a.is_listed(), 60)
    wait_for("it to come back", a.is_listed, 60)


def who_is_killed_is_passed_over_and_disappears(d, a, source):
    a.end(signal.SIGKILL)
    for i in range(6):  # it may be the first choice
        find(d, "proxy-upload-object", "ns", source, f"o{i}")
    wait_for("a killed one to disappear", lambda: not a.is_listed(), 60)


def who_ends_takes_its_record_along(d, b):
    b.end()
    assert not b.is_listed()
    assert len(d.alba("list-proxies")) == 1


with Deployment("--asds=3") as d:
    source = random_file(d.root / "source", 300_000, 1)
    d.alba("create-namespace", "ns")
    a = Proxy(d, "a")
    b = Proxy(d, "b", announce=["tcp://192.0.2.7:10000", f"unix://{d.root}/b.sock"])
    c = None
    try:
        listed_by_where_they_listen(d, a, b)
        a_private_proxy_is_not_listed(d, source)
        verbs_find_one(d, source)
        who_is_frozen_disappears_and_comes_back(d, a)
        victim = an_upload_goes_on_with_another(d, a, b)
        wait_for("a killed one to disappear", lambda: not victim.is_listed(), 60)
        c = Proxy(d, "c")
        who_is_killed_is_passed_over_and_disappears(d, c, source)
        who_ends_takes_its_record_along(d, b if victim is a else a)
    finally:
        for proxy in filter(None, (a, b, c)):
            proxy.end(signal.SIGKILL)
    d.assert_no_restarts()
print("ok")
