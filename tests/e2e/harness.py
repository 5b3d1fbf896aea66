"""A whole deployment for a test: `alba up` in a temporary folder, ended with the test.

    with Deployment("--asds=6") as d:
        d.alba("create-namespace", "ns", "default")

The programs come from $ALBA_BIN (CMake sets it). Every process that is started here is
ended here, by the pid it was started with. The last word of a test that got to its end
is "ok".
"""
import concurrent.futures
import contextlib
import fcntl
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

import cli_shapes

BIN = pathlib.Path(os.environ.get("ALBA_BIN", "build/release/bin")).resolve()

if not __debug__:
    sys.exit("PYTHONOPTIMIZE or -O takes the asserts away: nothing would be tested")


def ended(number, _):
    """Else a test that is ended says nothing, and all that it started stays."""
    sys.exit(f"ended by {signal.Signals(number).name}")


for number in signal.SIGTERM, signal.SIGHUP:
    if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
        signal.signal(number, ended)


class Failed(Exception):
    """The CLI answered success: false; the text is its message."""


def need(*programs):
    """Skips the test, with the reason, when a foreign program is missing."""
    for program in programs:
        if shutil.which(program) is None:
            print(f"SKIP: {program} is not installed")
            sys.exit(77)


def refused(action, *texts):
    """The CLI fails, in one line that says all this. Returns it."""
    try:
        action()
    except Failed as e:
        for text in texts:
            assert text in str(e), f"the message {str(e)!r} does not say {text!r}"
        assert len(str(e).splitlines()) == 1, f"more than one line: {e}"
        return str(e)
    raise AssertionError(f"this should have failed with {texts!r}")


def wait_for(what, condition, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


def connect(where):
    """To a (host, port) or the path of a unix socket."""
    if isinstance(where, tuple):
        return socket.create_connection(where, timeout=10)
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(10)
    s.connect(str(where))
    return s


def read_exactly(sock, size, who):
    parts = bytearray()
    while len(parts) < size:
        part = sock.recv(size - len(parts))
        if not part:
            raise EOFError(f"{who} has closed the connection")
        parts += part
    return bytes(parts)


def talk(where, messages):
    """Sends each on its own connection, stays a while on all of them, then hangs up."""
    idle = []
    for data in messages:
        s = connect(where)
        try:
            s.sendall(data)
        except OSError:
            pass
        idle.append(s)
    for s in idle:
        s.close()


def side_by_side(*actions):
    """All at the same time, with deployments of their own, or parts of one that do not meet."""
    with concurrent.futures.ThreadPoolExecutor(len(actions)) as pool:
        for running in [pool.submit(action) for action in actions]:
            running.result()


def own_address():
    """Of this machine, but not its loopback: who connects to it comes from it. None: there is none."""
    siocgifaddr = 0x8915
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for _, name in socket.if_nameindex():
        try:
            found = fcntl.ioctl(s.fileno(), siocgifaddr, struct.pack("256s", name.encode()[:15]))
        except OSError:
            continue  # none of IPv4
        address = socket.inet_ntoa(found[20:24])
        if not address.startswith("127."):
            return address
    return None


def thread_states(pid):
    """The letters of proc(5); none when the process has gone."""
    found = set()
    for stat in pathlib.Path(f"/proc/{pid}/task").glob("*/stat"):
        try:
            found.add(stat.read_text().rsplit(")", 1)[1].split()[0])
        except (FileNotFoundError, ProcessLookupError):
            pass  # it ended meanwhile
    return found


def is_gone(pid):
    """Or a zombie: its parent may be the one that hangs."""
    return thread_states(pid) <= {"Z", "X"}


def tcp_sockets():
    """(own port, peer's port, bytes not read, inode) of each of IPv4; those that wait for accept()
    have no inode."""
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, own, peer, _, queues, _, _, _, _, inode, *_ = line.split()
        yield (*(int(x.split(":")[1], 16) for x in (own, peer, queues)), int(inode))


def is_waiting(pid, port):
    """Something that it sent to this port lies there and is not read."""
    sockets = list(tcp_sockets())
    unread = {peer for own, peer, size, _ in sockets if own == port and size != 0}
    inodes = {os.readlink(fd) for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir()}
    return any(peer == port and own in unread and f"socket:[{inode}]" in inodes
               for own, peer, _, inode in sockets)


@contextlib.contextmanager
def frozen(*pids):
    """Meanwhile they do nothing: SIGSTOP returns before their threads stand still."""
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        for pid in pids:
            wait_for(f"{pid} to stand still", lambda: thread_states(pid) == {"T"})
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # a test may have it killed
                os.kill(pid, signal.SIGCONT)


class Deployment:
    def __init__(self, *up_args):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="alba-e2e-"))
        self.dir = self.root / "d"
        self.up_args = list(up_args)
        self.process = None

    def __enter__(self):
        try:
            self.up()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, kind, value, trace):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if kind is not None:
            self.show_logs()
        shutil.rmtree(self.root, ignore_errors=True)

    def show_logs(self):
        for log in sorted(self.root.glob("d/log/*.log")) + [self.root / "up.log"]:
            if log.exists():
                lines = log.read_text(errors="replace").splitlines()[-25:]
                print(f"--- {log.name}", *lines, sep="\n", file=sys.stderr)

    def up(self, timeout=90):
        """Starts `alba up` and waits until it says that everything runs."""
        log = open(self.root / "up.log", "ab")
        self.process = subprocess.Popen(
            [BIN / "alba", "up", f"--dir={self.dir}", *self.up_args],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()

        def ready():
            if self.process.poll() is not None:
                raise AssertionError(f"alba up ended with {self.process.returncode}")
            info = self.info()
            return info and info.get("pid") == self.process.pid and info.get("ready")

        wait_for("alba up to be ready", ready, timeout)

    def down(self):
        """Ctrl-C, and a clean end."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(90) == 0, "alba up did not end with 0"
        self.process = None

    def info(self):
        try:
            return json.loads((self.dir / "up.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None

    def daemon(self, name):
        return next(d for d in self.info()["daemons"] if d["name"] == name)

    def kill(self, name):
        """kill -9; the supervisor starts it again. Returns the pid that died."""
        pid = self.daemon(name)["pid"]
        os.kill(pid, signal.SIGKILL)
        return pid

    def hold(self, name, *options):
        """Ends a daemon (`--kill`: with -9); it stays down until start()."""
        self.run("stop", name, *options)

    def start(self, name):
        """Starts what is held down, or was given up after too many deaths."""
        self.run("start", name)

    def configure(self, name, **keys):
        """Changes the configuration of a daemon; it counts from its next start until the next
        up(), which writes it anew. None takes a key out."""
        path = self.dir / f"etc/{name}.json"
        config = json.loads(path.read_text())
        config.update(keys)
        path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))

    def proxy_page(self, page):
        port = json.loads((self.dir / "etc/proxy.json").read_text())["http_port"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=10) as answer:
            return answer.read().decode()

    def proxy_figure(self, name):
        text = self.proxy_page("metrics")
        return int(float(re.search(rf"^{name} (\S+)$", text, re.M)[1]))

    # ---- volumes ----

    def volumes_anew(self, **keys):
        """A volumedriver with these keys and an empty home: before the first volume is made."""
        assert not self.alba("vdisk-list"), "the journal may hold the only copy"
        self.hold("volumedriver")
        shutil.rmtree(self.dir / "data/volumedriver")
        self.configure("volumedriver", **keys)
        self.start("volumedriver")
        self.wait_volumes()

    def wait_volumes(self, seconds=30):
        """The driver answers again: every volume was opened, or says why not."""
        def served():
            try:
                return self.alba("vdisk-list") is not None
            except Failed:
                return False

        wait_for("the volumedriver to serve", served, seconds)

    def wait_running(self, name, not_pid=0, seconds=60):
        """Until it runs, as another process than `not_pid`."""
        def runs():
            state = self.daemon(name)
            if state["state"] == "failed":  # five deaths within a minute: it waits for a word
                self.start(name)
            return state["state"] == "running" and state["pid"] not in (0, not_pid)

        wait_for(f"{name} to run", runs, seconds)

    def reconfigured(self, name, **keys):
        """Starts it anew with these keys, and waits until it serves."""
        log = self.dir / f"log/{name}.log"
        before = log.read_text().count(" serving")
        self.hold(name)
        self.configure(name, **keys)
        self.start(name)
        wait_for(f"{name} to serve", lambda: log.read_text().count(" serving") > before)

    USERS = "proxy", "maintenance", "volumedriver"  # of the metadata; the first serves them

    def stop_users(self):
        for name in reversed(self.USERS):
            self.hold(name)

    def start_users(self, seconds=30):
        for name in self.USERS:
            self.start(name)
            self.wait_running(name)
        self.wait_volumes(seconds)

    def assert_no_restarts(self):
        restarts = [x["name"] for x in self.info()["daemons"] if x["restarts"]]
        assert not restarts, f"restarted: {restarts}"

    def kill_and_wait(self, name):
        """kill -9, and up again."""
        self.wait_running(name, self.kill(name))

    @property
    def nbd_socket(self):
        return self.dir / "run/nbd.sock"

    def nbd_uri(self, volume):
        return self.info()["nbd_unix_uri"].replace("///?", f"///{volume}?")

    def nbd_tcp_uri(self, volume):
        return self.info()["nbd_uri"] + volume

    def statistics(self, volume):
        return self.alba("vdisk-info", volume)["statistics"]

    # ---- the CLI ----

    def run(self, *args, check=True, stdin=None):
        """The CLI as a person uses it: (exit code, stdout, stderr)."""
        env = dict(os.environ, ALBA_CONFIG=str(self.dir / "alba.url"), ALBA_DIR=str(self.dir))
        done = subprocess.run([BIN / "alba", *map(str, args)], env=env, input=stdin,
                              capture_output=True, text=True, timeout=600)
        if check and done.returncode != 0:
            raise Failed(done.stderr.strip())
        return done.returncode, done.stdout, done.stderr

    def alba(self, verb, *args):
        """The CLI as a program uses it: the result of --to-json, or Failed."""
        _, out, err = self.run(verb, "--to-json", *args, check=False)
        answer = json.loads(out)
        if not answer["success"]:
            raise Failed(answer["error"]["message"])
        return answer["result"]


class Caller:
    """The CLI, and which verbs were called how."""

    def __init__(self, d):
        self.d = d
        self.called = {}

    def note(self, how, verb):
        self.called.setdefault(verb, set()).add(how)

    def json(self, verb, *args):
        result = self.d.alba(verb, *args)
        cli_shapes.check(verb, result)
        self.note("json", verb)
        return result

    def text(self, verb, *args):
        out = self.d.run(verb, *args)[1]
        self.note("text", verb)
        return out

    def both(self, verb, *args):
        text = self.text(verb, *args)
        return self.json(verb, *args), text

    def assert_called(self, verbs):
        for verb in verbs:
            how = self.called.get(verb)
            assert how == {"json", "text"}, f"{verb}: only {how} tried"


def is_asd_verb(verb):
    """About one ASD or one disk: test_asd_verbs.py has it."""
    return (verb.startswith(("asd-", "osd-", "bench-"))
            and verb not in ("asd-start", "asd-discovery"))


def random_file(path, size, seed):
    """`size` bytes that do not compress and can be made again from `seed`."""
    import random

    source = random.Random(seed)
    with open(path, "wb") as out:
        while size > 0:
            part = source.randbytes(min(size, 1 << 20))
            out.write(part)
            size -= len(part)
    return path
