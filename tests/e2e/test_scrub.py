"""Rot in the files of an ASD that serves: the scrub finds it, says which key, and nothing else is
touched; its settings change while it runs."""
import json
import urllib.error
import urllib.request

from asd_process import AsdProcess
from harness import Deployment, random_file, wait_for
from slabs import flip, places


def ask(url, path, method="GET"):
    with urllib.request.urlopen(urllib.request.Request(url + path, method=method)) as answer:
        return answer.read().decode()


def status(url):
    return json.loads(ask(url, "/status"))


def passes_done(url, number):
    scrub = status(url)["scrub"]
    return scrub if scrub["pass"] >= number and scrub["state"] == "paused" else None


def rot_is_found(d, asd, url):
    source = random_file(d.root / "source", 300_000, seed=5)
    address = [f"--host={asd['address'].rsplit(':')[0]}", f"--port={asd['address'].rsplit(':')[1]}"]
    for key in ("good1", "bad", "good2"):
        d.alba("asd-set", *address, key, f"--file={source}")
    done = status(url)["scrub"]["pass"]
    ask(url, "/scrub", "POST")
    clean = wait_for("a pass over sound values", lambda: passes_done(url, done + 1))
    assert clean["bad_values"] == 0 and clean["keys"] >= 3 and clean["percent"] == 100, clean

    content = source.read_bytes()
    home = json.loads(open(asd["config"]).read())["home"]
    slab, = (d.root / home / "slabs").iterdir()
    _, bad, _ = places(slab, content)
    flip(slab, bad + 1000)
    ask(url, "/scrub", "POST")
    scrub = wait_for("the rot to be found", lambda: passes_done(url, done + 2))
    assert scrub["bad_values"] == 1 == len(scrub["bad"]), scrub
    assert scrub["bad"][0]["key"] == "bad" and scrub["bad"][0]["kind"] == "value", scrub
    assert 'asd_scrub_bad_values{kind="value"} 1' in ask(url, "/metrics")
    assert ask(url, "/healthz").strip() == "ok"
    log = open(asd["log"]).read()
    assert log.count('bad value key="bad" kind=value') == 1, log
    for key in ("good1", "good2"):
        d.alba("asd-multi-get", *address, key, f"--file={d.root / 'back'}")
        assert (d.root / "back").read_bytes() == content
    assert "bad" in d.run("asd-range-validate", *address, "--verify-checksums", check=False)[1]


def settings_change_while_it_serves(d, one, url):
    assert status(url)["scrub"]["state"] == "off"
    try:
        ask(url, "/scrub", "POST")
        raise AssertionError("a pass began at rate 0")
    except urllib.error.HTTPError as e:
        assert "scrub_rate" in e.read().decode()
    one.configure(scrub_rate="8MiB", scrub_interval=1)
    one.reload()
    scrub = wait_for("the first pass", lambda: passes_done(url, 1))
    assert scrub["rate"] == 8 << 20 and scrub["interval_s"] == 3600, scrub
    one.stop()
    one.start()
    assert status(url)["scrub"]["pass"] == 1  # the pause goes on


with Deployment("--asds=2") as d:
    asd = d.daemon("asd0")
    rot_is_found(d, asd, asd["http"])
    port = asd["http"].rsplit(":", 1)[1]
    d.hold("asd0")  # its port is free now
    with AsdProcess(d.root, "one", scrub_rate=0, http_port=int(port),
                    http_ips=["127.0.0.1"]) as one:
        settings_change_while_it_serves(d, one, f"http://127.0.0.1:{port}")
print("ok")
