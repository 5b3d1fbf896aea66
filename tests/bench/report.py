"""Rows, their runs in turns, and the tables made of them."""
import json
import os
import re
import statistics
import subprocess
import sys
import time

from measure import ROOT, Scratch, say


class Row:
    """`figure`: the key that is compared. `build(scratch)` starts what it takes and returns the
    sides, ours first, then the references; what was started ends with the row. `quoted`:
    (what, value) of references measured at another time, shown as such."""

    def __init__(self, name, figure, build, target, quoted=()):
        self.name = name
        self.figure = figure
        self.build = build
        self.target = target
        self.quoted = quoted
        self.sides = []
        self.runs = {}
        self.traced = {}
        self.trouble = None

    def measure(self, args, out):
        with Scratch(args.dir) as scratch:
            self.sides = self.build(scratch)
            self.runs = {side.name: [] for side in self.sides}
            for i in range(args.runs + 1):
                for side in self.sides:
                    self.run(side, i, i == args.runs, args.seconds, out)

    def run(self, side, i, trace, seconds, out):
        f = side.measure(seconds, trace)
        line = {"row": self.name, "side": side.name, "run": i, "traced": trace,
                "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **f}
        print(json.dumps(line), file=out, flush=True)
        say(f"{self.name}: {side.name} #{i}: {self.figure}={number(f[self.figure])} "
            f"cpu={number(f['cpu_us_per_op'])} us/op load={f['load_before']}")
        if trace:
            self.traced[side.name] = f
        else:
            self.runs[side.name].append(f)


def measure(rows, args):
    """Every row, its sides in turns; prints JSON lines as they come and the table at the end."""
    rows = [row for row in rows if re.search(args.only, row.name)]
    if args.list:
        print(*(row.name for row in rows), sep="\n")
        return
    out = open(args.json, "a") if args.json else sys.stdout
    for row in rows:
        try:
            row.measure(args, out)
        except (OSError, RuntimeError) as trouble:
            row.trouble = trouble
            say(f"{row.name}: FAILED: {trouble}")
    print_host(args)
    print_table([row for row in rows if all(row.runs.values()) and row.runs])
    failed = [f"{row.name}: {row.trouble}" for row in rows if row.trouble]
    if failed:
        sys.exit("\n".join(["not measured to the end:", *failed]))


def number(value):
    if value is None:
        return "-"
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.1e}"


def median(runs, key):
    values = [f[key] for f in runs if f.get(key) is not None]
    return statistics.median(values) if values else None


def ratios(row):
    """Ours over each reference, run by run."""
    ours = row.runs[row.sides[0].name]
    return {side.name: statistics.median(a[row.figure] / b[row.figure] for a, b in
                                         zip(ours, row.runs[side.name]) if b[row.figure])
            for side in row.sides[1:]}


def print_host(args):
    model = re.search(r"model name\s*: (.*)", open("/proc/cpuinfo").read())
    memory = int(re.search(r"MemTotal:\s+(\d+)", open("/proc/meminfo").read())[1]) // 2**20
    source = subprocess.run(["df", "--output=source,fstype", args.dir], capture_output=True,
                            text=True).stdout.splitlines()[-1].split()
    commit = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"],
                            capture_output=True, text=True).stdout.strip()
    print(f"\n{time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC, commit {commit or 'unknown'}; "
          f"{os.cpu_count()} CPUs ({model[1] if model else os.uname().machine}), {memory} GiB, "
          f"Linux {os.uname().release}, {source[1]} on {source[0]}; "
          f"{args.runs} runs of {args.seconds:g} s a side, in turns; "
          f"load now {os.getloadavg()[0]:.2f}\n")


def flushes(row, side):
    own = median(row.runs[side.name], "flushes_per_op")
    traced = row.traced.get(side.name, {}).get("flushes_traced_per_op")
    if own is not None and traced is not None:
        return f"{number(own)} (traced {number(traced)})"
    return number(own if own is not None else traced)


def print_table(rows):
    print("| row | side | figure: median (min – max) | ours / it | p50 µs | p99 µs "
          "| CPU µs/op: daemons + client | CPU-s/GB | Applies/op | flushes/op "
          "| stored bytes/op | disk bytes/op: written; read | RSS MiB: daemons "
          "| others' CPU, load |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        ratio = ratios(row)
        for side in row.sides:
            runs = row.runs[side.name]
            values = [f[row.figure] for f in runs]
            daemons, client = median(runs, "daemon_cpu_us_per_op"), \
                median(runs, "client_cpu_us_per_op")
            compared = f"**{ratio[side.name]:.2f}**" if side.name in ratio else ""
            if side is row.sides[-1] and not row.quoted:
                compared = f"{compared} (target {row.target})".strip()
            cells = [row.name if side is row.sides[0] else "", side.name,
                     f"{number(median(runs, row.figure))} {row.figure} "
                     f"({number(min(values))} – {number(max(values))})",
                     compared, number(median(runs, "p50_us")), number(median(runs, "p99_us")),
                     f"{number(daemons)} + {number(client)}",
                     number(median(runs, "cpu_s_per_gb")),
                     number(median(runs, "applies_per_op")), flushes(row, side),
                     number(median(runs, "stored_bytes_per_op")),
                     f"{number(median(runs, 'disk_written_bytes_per_op'))}; "
                     f"{number(median(runs, 'disk_read_bytes_per_op'))}",
                     number(median(runs, "rss_mib")),
                     f"{median(runs, 'other_cpu_share'):.0%}, {median(runs, 'load_before'):.1f}"]
            print("| " + " | ".join(cells) + " |")
        for what, value in row.quoted:
            ratio = median(row.runs[row.sides[0].name], row.figure) / value
            print(f"| | {what}: earlier, not this run | {number(value)} {row.figure} "
                  f"| {ratio:.2f} (target {row.target}) |" + " |" * 10)
