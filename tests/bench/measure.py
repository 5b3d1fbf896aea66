"""What every benchmark here shares: processes, load generators, and what a run cost.

report.py makes rows and tables of it. A row compares ours with its reference; the sides take
turns, run after run, so that what else the machine does meets both. CPU time comes from /proc
of every process that took part; flushes and bytes from the daemons' /metrics, from /proc, and
from one more run at the end (not in the medians) in which `perf` counts the flushing system
calls. Nothing here judges a figure.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("ALBA_BIN", ROOT / "build/release/bin")).resolve()
TICKS = os.sysconf("SC_CLK_TCK")
FLUSH_FAMILIES = ("asd_fdatasyncs_total", "asd_index_syncs_total",
                  "volumedriver_journal_syncs_total")
WRITE_FAMILIES = ("asd_slab_write_bytes_total", "asd_index_write_bytes_total",
                  "volumedriver_journal_bytes_total")
FLUSH_CALLS = ("fdatasync", "fsync", "sync_file_range", "msync", "syncfs")


def say(text):
    print(text, file=sys.stderr, flush=True)


# ---- options ----

def options(description, add=None):
    """The arguments every script takes; `add(parser)` may add its own."""
    p = argparse.ArgumentParser(description=description,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--runs", type=int, default=5, help="of each side, in turns (5)")
    p.add_argument("--seconds", type=float, default=3, help="a run (3)")
    p.add_argument("--only", default="", help="regular expression: rows to measure, by name")
    p.add_argument("--dir", default=os.environ.get("TMPDIR", "/var/tmp"),
                   help="where the temporary folder is made; its disk is what is measured")
    p.add_argument("--json", help="append the JSON lines here; default: standard output")
    p.add_argument("--list", action="store_true", help="name the rows and stop")
    if add:
        add(p)
    return p.parse_args()


def need(*programs):
    for program in programs:
        if shutil.which(program) is None:
            sys.exit(f"{program} is not installed")


def need_ours(*programs):
    for program in programs:
        if not (BIN / program).exists():
            sys.exit(f"{BIN / program} is not built (tools/build release; or set ALBA_BIN)")


# ---- processes ----

def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(what, condition, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise RuntimeError(f"waited {seconds:.0f} s in vain for {what}")


class Scratch:
    """A temporary folder and the processes started in it; both are gone afterwards."""

    def __init__(self, parent):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="alba-bench-", dir=parent))
        self.processes = {}
        self.contexts = []

    def __enter__(self):
        return self

    def enter(self, context):
        """A context that ends with this one."""
        value = context.__enter__()
        self.contexts.append(context)
        return value

    def __exit__(self, *trouble):
        for context in reversed(self.contexts):
            context.__exit__(*trouble)
        for role in reversed(list(self.processes)):
            self.stop(role)
        shutil.rmtree(self.dir, ignore_errors=True)

    def start(self, role, *command, port=None):
        """`port`: waited for until something listens there. Returns the process id."""
        log = open(self.dir / f"{role}.log", "ab")
        process = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=log, cwd=self.dir)
        log.close()
        self.processes[role] = process

        def up():
            if process.poll() is not None:
                tail = (self.dir / f"{role}.log").read_text(errors="replace")[-800:]
                raise RuntimeError(f"{role} ended with {process.returncode}: {tail}")
            return port is None or listens(port)

        wait_for(f"{role} to listen", up)
        return process.pid

    def stop(self, role, seconds=60):
        process = self.processes.pop(role)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def listens(port):
    """`port`: a TCP port on loopback, or the path of a unix socket."""
    family = socket.AF_INET if isinstance(port, int) else socket.AF_UNIX
    with socket.socket(family) as s:
        return s.connect_ex(("127.0.0.1", port) if isinstance(port, int) else str(port)) == 0


# ---- what the kernel and the daemons counted ----

def cpu_seconds(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def io_bytes(pids):
    """(read, written) at the block layer by these processes."""
    read = written = 0
    for pid in pids:
        with open(f"/proc/{pid}/io") as f:
            counts = dict(line.split(": ") for line in f.read().splitlines())
        read += int(counts["read_bytes"])
        written += int(counts["write_bytes"])
    return read, written


def machine_cpu_seconds():
    with open("/proc/stat") as f:
        fields = [int(x) for x in f.readline().split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICKS


def children_cpu_seconds():
    times = os.times()
    return times.children_user + times.children_system


def metrics(http_ports):
    """Sums over daemons and labels: {family: value}. Histogram buckets are left out."""
    sums = {}
    for port in http_ports:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            for line in answer.read().decode().splitlines():
                found = re.match(r"([a-zA-Z_:][\w:]*)(?:\{.*\})? (\S+)", line)
                if found and not found[1].endswith("_bucket"):
                    sums[found[1]] = sums.get(found[1], 0) + float(found[2])
    return sums


class FlushTrace:
    """Counts the flushing system calls of `pids` while it is open; None without perf."""

    def __init__(self, pids):
        self.pids = pids

    def __enter__(self):
        self.count = None
        self.process = None
        if self.pids and shutil.which("perf"):
            events = ",".join(f"syscalls:sys_enter_{call}" for call in FLUSH_CALLS)
            self.process = subprocess.Popen(
                ["perf", "stat", "-x,", "-e", events, "-p", ",".join(map(str, self.pids))],
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            time.sleep(0.3)
        return self

    def __exit__(self, *_):
        if self.process is None:
            return
        self.process.send_signal(signal.SIGINT)
        lines = self.process.communicate()[1].splitlines()
        counts = [f.split(",")[0] for f in lines if "sys_enter_" in f]
        if counts and all(c.isdigit() for c in counts):
            self.count = sum(map(int, counts))


# ---- one side of a row ----

def rss_mib(pids):
    """Resident memory of these processes."""
    total_kib = 0
    for pid in pids:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        total_kib += int(re.search(r"VmRSS:\s+(\d+)", status)[1])
    return total_kib / 1024


class Side:
    """Something that can be measured: `load(seconds)` returns at least ops and seconds.

    `pids`: the daemons that serve it; `http_ports`: those of ours among them. `prepare()` runs
    before each run and is not measured."""

    def __init__(self, name, load, pids=lambda: [], http_ports=lambda: [], prepare=None):
        self.name = name
        self.load = load
        self.pids = pids
        self.http_ports = http_ports
        self.prepare = prepare

    def measure(self, seconds, trace=False):
        if self.prepare:
            self.prepare()
        pids = self.pids()
        load = float(open("/proc/loadavg").read().split()[0])
        counted = metrics(self.http_ports())
        read, written = io_bytes(pids)
        cpu, children, machine = cpu_seconds(pids), children_cpu_seconds(), machine_cpu_seconds()
        start = time.monotonic()
        with FlushTrace(pids if trace else []) as flushes:
            f = dict(self.load(seconds))
        if pids:
            f.pop("flushes", None)  # what fio asked for; the daemons' own are counted
        f["daemon_cpu_s"] = cpu_seconds(pids) - cpu
        children = children_cpu_seconds() - children
        f["other_cpu_share"] = max(0, machine_cpu_seconds() - machine - f["daemon_cpu_s"] -
                                   children) / (time.monotonic() - start) / os.cpu_count()
        if pids:
            read_after, written_after = io_bytes(pids)
            f["rss_mib"] = rss_mib(pids)
            f["disk_read_bytes"] = read_after - read
            f["disk_written_bytes"] = written_after - written
        after = metrics(self.http_ports())
        f["counted"] = {k: after[k] - counted.get(k, 0) for k in after
                        if k.endswith("_total") and after[k] != counted.get(k, 0)}
        f["flushes_traced"] = flushes.count
        f["load_before"] = load
        derive(f)
        return f


def derive(f):
    """What the table shows, from what was counted."""
    ops = max(f["ops"], 1)
    f.setdefault("ops_per_s", f["ops"] / f["seconds"])
    f["daemon_cpu_us_per_op"] = f["daemon_cpu_s"] * 1e6 / ops
    f["cpu_us_per_op"] = f["daemon_cpu_us_per_op"] + f.get("client_cpu_us_per_op", 0)
    if f.get("mb_per_s"):
        gigabytes = f["mb_per_s"] * f["seconds"] / 1e3
        f["cpu_s_per_gb"] = f["cpu_us_per_op"] * ops / 1e6 / gigabytes
    for way in ("disk_read_bytes", "disk_written_bytes"):
        if f.get(way) is not None:
            f[f"{way}_per_op"] = f[way] / ops
    own = [f["counted"][k] for k in WRITE_FAMILIES if k in f["counted"]]
    if own:
        f["stored_bytes_per_op"] = sum(own) / ops
    own = [f["counted"][k] for k in FLUSH_FAMILIES if k in f["counted"]]
    if own:
        f["flushes_per_op"] = sum(own) / ops
    elif f["flushes_traced"] is None and "flushes" in f:  # the load generator's own
        f["flushes_per_op"] = f["flushes"] / ops
    if "asd_applies_total" in f["counted"]:
        f["applies_per_op"] = f["counted"]["asd_applies_total"] / ops
    if f["flushes_traced"] is not None:
        f["flushes_traced_per_op"] = f["flushes_traced"] / ops


# ---- a whole deployment ----

class Daemons:
    """All processes of the `alba up` that runs in folder D, by D/up.json."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)

    def info(self):
        return json.loads((self.folder / "up.json").read_text())

    def running(self):
        return [d for d in self.info()["daemons"] if d["pid"] > 0]

    def pids(self):
        return [self.info()["pid"]] + [d["pid"] for d in self.running()]

    def http_ports(self):
        return [int(d["http"].rsplit(":", 1)[1]) for d in self.running() if d.get("http")]

    def drop_pages(self):
        drop_pages(self.folder / "data")


def drop_pages(folder):
    """No file below `folder` stays in the page cache."""
    for where, _, names in os.walk(folder):
        for name in names:
            fd = os.open(os.path.join(where, name), os.O_RDONLY)
            os.fdatasync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)


# ---- load generators ----

def run_json(*command, timeout=600):
    """A load generator that prints one JSON object."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True,
                          timeout=timeout)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr[-500:]}")
    return json.loads(done.stdout[done.stdout.index("{"):])  # fio may say something before


def fio(seconds, **job):
    """One timed fio job: its figures under our names."""
    job = {"name": "job", "output-format": "json", "time_based": 1,
           "runtime": f"{seconds * 1000:.0f}ms",
           "group_reporting": 1, "randrepeat": 0, "norandommap": 1, "refill_buffers": 0,
           "percentile_list": "50:99", **job}
    d = run_json("fio", *(f"--{k}={v}" for k, v in job.items() if v is not None))
    j = d["jobs"][0]
    side = j["write"] if j["write"]["total_ios"] else j["read"]
    elapsed = side["runtime"] / 1e3
    cpu_s = (j["usr_cpu"] + j["sys_cpu"]) / 100 * j["job_runtime"] / 1e3
    latency = side["clat_ns"].get("percentile", {})
    return {"ops": side["total_ios"], "seconds": elapsed, "ops_per_s": side["iops"],
            "mb_per_s": side["bw_bytes"] / 1e6,
            "disk_written_bytes": j["write"]["io_bytes"] if job.get("direct") else None,
            "disk_read_bytes": j["read"]["io_bytes"] if job.get("direct") else None,
            "p50_us": latency.get("50.000000", 0) / 1e3,
            "p99_us": latency.get("99.000000", 0) / 1e3,
            "client_cpu_us_per_op": cpu_s * 1e6 / max(side["total_ios"], 1),
            "flushes": j.get("sync", {}).get("lat_ns", {}).get("N", 0)}
