"""Several proxies of one registry: each lists itself, who dies or is frozen disappears and comes back,
and the verbs of the CLI that are given no proxy find one that answers."""
import contextlib
import filecmp
import json
import os
import signal
import socket
import subprocess
import threading

from harness import BIN, Deployment, connect, frozen, random_file, refused, wait_for


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


class Relay:
    """A folder as $ALBA_DIR whose proxy is lost: what is asked of it goes to the deployment's, until
    its answers are more than `answers_max` bytes, or one comes to `requests_max` bytes or more."""

    def __init__(self, d, name, answers_max=1 << 40, requests_max=1 << 40):
        self.d = d
        self.dir = d.root / name
        self.answers_left, self.requests_left = answers_max, requests_max
        self.is_cut = False
        (self.dir / "run").mkdir(parents=True)
        (self.dir / "alba.url").write_text((d.dir / "alba.url").read_text())
        self.listener = socket.create_server(str(self.dir / "run/proxy.sock"),
                                             family=socket.AF_UNIX)
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        with contextlib.suppress(OSError):  # it was shut down
            client = self.listener.accept()[0]
            with client, connect(self.d.dir / "run/proxy.sock") as proxy:
                proxy.settimeout(None)
                asking = threading.Thread(target=self.ask, args=(client, proxy))
                asking.start()
                self.answer(client, proxy)
                for sock in (client, proxy):
                    with contextlib.suppress(OSError):
                        sock.shutdown(socket.SHUT_RDWR)
                asking.join()

    def ask(self, client, proxy):
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 20):
                self.requests_left -= len(data)
                proxy.sendall(data)
            proxy.shutdown(socket.SHUT_RDWR)

    def answer(self, client, proxy):
        while data := proxy.recv(1 << 20):
            self.answers_left -= len(data)
            if self.answers_left < 0 or self.requests_left <= 0:
                self.is_cut = True
                self.listener.close()
                return
            client.sendall(data)

    def run(self, *args):
        env = dict(os.environ, ALBA_DIR=str(self.dir))
        env.pop("ALBA_CONFIG", None)
        return subprocess.run([BIN / "alba", *map(str, args)], env=env, text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=120)

    def alba(self, *args):
        done = self.run(*args)
        assert done.returncode == 0, done.stderr

    def fails(self, *args):
        done = self.run(*args)
        assert done.returncode == 2, done
        return done.stderr

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):  # cut
            self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()


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


def written(d, *proxies):
    """Bytes that these and the deployment's have written, answers included."""
    total = 0
    for pid in (d.daemon("proxy")["pid"], *(proxy.pid for proxy in proxies)):
        with open(f"/proc/{pid}/io") as io:
            total += int(io.readlines()[1].split()[1])
    return total


def a_download_goes_on_with_another(d, other):
    """The proxy of $ALBA_DIR is lost with two thirds of the object read: the last third comes from
    another of its registry."""
    size = (d.root / "large").stat().st_size
    before = written(d, other)
    with Relay(d, "cut", answers_max=2 * size // 3) as relay:
        relay.alba("proxy-download-object", "ns", "large", d.root / "out")
        assert relay.is_cut
    assert filecmp.cmp(d.root / "large", d.root / "out", shallow=False)
    assert size <= written(d, other) - before < size + (24 << 20), "more than a window came twice"


def an_upload_whose_answer_is_lost_says_so(d):
    for size in (300_000, 40 << 20):  # in one request, and as a stream
        source = random_file(d.root / "doubt", size, 3)
        with Relay(d, f"doubt{size}", requests_max=size) as relay:
            said = relay.fails("proxy-upload-object", "ns", source, f"doubt{size}")
            assert f"'doubt{size}': may or may not have been stored: look with show-object" in said
            assert relay.is_cut
        d.alba("download-object", "ns", f"doubt{size}", d.root / "out")
        assert filecmp.cmp(source, d.root / "out", shallow=False)


def others_serve_while_that_of_the_folder_is_down(d, source):
    """With $ALBA_DIR as without; --host and --port are that proxy, and no other."""
    d.hold("proxy")
    d.alba("proxy-upload-object", "ns", source, "elsewhere")
    d.alba("proxy-download-object", "ns", "elsewhere", d.root / "out")
    assert filecmp.cmp(source, d.root / "out", shallow=False)
    d.alba("proxy-delete-object", "ns", "elsewhere")
    d.alba("proxy-bench", "--count=3", "--size=4096", "ns")
    refused(lambda: d.alba("proxy-list-objects", f"--port={d.info()['proxy_port']}",
                           "--host=127.0.0.1", "ns"), "Connection refused")
    d.start("proxy")
    d.wait_running("proxy")


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
        a_download_goes_on_with_another(d, b if victim is a else a)
        an_upload_whose_answer_is_lost_says_so(d)
        others_serve_while_that_of_the_folder_is_down(d, source)
        wait_for("a killed one to disappear", lambda: not victim.is_listed(), 60)
        c = Proxy(d, "c")
        who_is_killed_is_passed_over_and_disappears(d, c, source)
        who_ends_takes_its_record_along(d, b if victim is a else a)
    finally:
        for proxy in filter(None, (a, b, c)):
            proxy.end(signal.SIGKILL)
    d.assert_no_restarts()
print("ok")
