"""/metrics of an ASD: every line is what Prometheus' text format allows, every family says what it
is, and the figures are those of /status and of what was done."""
import pathlib
import re
import tempfile

from asd_peer import CORRUPT, OK, Peer, crc32c, delete_values, multi_get, set_value
from asd_process import AsdProcess

NAME = r"[a-zA-Z_][a-zA-Z0-9_]*"
LABEL = NAME + r'="(?:[^"\\\n]|\\["\\n])*"'
HELP = re.compile(rf"# HELP ({NAME}) \S.*")
TYPE = re.compile(rf"# TYPE ({NAME}) (counter|gauge|histogram)")
NUMBER = r"-?\d+(?:\.\d+)?(?:e[-+]\d+)?|\+Inf"
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? ({NUMBER})")
KIB = 1024


def parse(text):
    """{family: type}, {(name, labels): value}; fails at what is not sound."""
    assert text.endswith("\n") and "\n\n" not in text, text[-200:]
    families, samples = {}, {}
    lines = iter(text.splitlines())
    family = None
    for line in lines:
        if line.startswith("#"):
            told = HELP.fullmatch(line)
            assert told and told[1] not in families, f"not a HELP, or a second one: {line!r}"
            family = told[1]
            kind = TYPE.fullmatch(next(lines))
            assert kind and kind[1] == family, f"no TYPE follows {line!r}"
            families[family] = kind[2]
            continue
        sample = SAMPLE.fullmatch(line)
        assert sample, f"not a sample: {line!r}"
        name, labels, value = sample.groups()
        parts = ("_bucket", "_sum", "_count") if families[family] == "histogram" else ("",)
        assert name in [family + part for part in parts], f"{line!r} is not of {family}"
        assert (name, labels) not in samples, f"twice: {line!r}"
        samples[name, labels] = float(value)
    return families, samples


def histogram_is_sound(name, samples):
    """Its buckets grow with their bound; the last one is the count."""
    series = {}
    for (sample, labels), value in samples.items():
        if sample == name + "_bucket":
            rest, bound = re.fullmatch(r'(?:(.*),)?le="(.*)"', labels).groups()
            series.setdefault(rest, []).append((float(bound), value))
    assert series
    for rest, buckets in series.items():
        assert buckets == sorted(buckets) and buckets[-1][0] == float("inf"), (rest, buckets)
        assert [value for _, value in buckets] == sorted(value for _, value in buckets)
        assert buckets[-1][1] == samples[name + "_count", rest], rest
        assert (samples[name + "_sum", rest] > 0) == (buckets[-1][1] > 0), rest


def sound(asd):
    families, samples = parse(asd.page("metrics"))
    for family, kind in families.items():
        assert any(name.startswith(family) for name, _ in samples), f"{family} without a sample"
        assert (kind == "counter") == family.endswith("_total"), f"{family} is a {kind}"
        if kind == "histogram":
            histogram_is_sound(family, samples)
        assert re.match("asd_|process_|albacore_", family), family
    assert all(value >= 0 for value in samples.values())
    assert len(families) > 40, len(families)
    return samples


def do_known_things(peer):
    for i in range(5):
        assert peer.call(set_value(b"large%d" % i, bytes(100 * KIB)))[0] == OK
    for _ in range(7):
        assert peer.call(multi_get(b"large1", b"none"))[0] == OK
    assert peer.call(delete_values([b"large0"]))[0] == OK
    assert peer.call(set_value(b"wrong", b"123456789", crc32c(0)))[0] == CORRUPT


def figures_are_of_what_was_done(asd, peer):
    before = sound(asd)
    do_known_things(peer)
    now = sound(asd)

    def grown(name, labels=None):
        return now[name, labels] - before[name, labels]

    for op, count in ("apply", 7), ("multi_get", 7), ("range", 0):
        labels = f'op="{op}"'
        assert grown("asd_requests_total", labels) == count, op
        assert grown("asd_request_seconds_count", labels) == count, op
    for name, count in (("applies", 7), ("errors", 1), ("reads", 7), ("refused_checksum", 1),
                        ("asserts_failed", 0), ("cancelled", 0), ("bad_values", 0)):
        assert grown(f"asd_{name}_total") == count, name
    assert 1 <= grown("asd_commits_total") <= 7
    assert grown("asd_index_syncs_total") >= 6  # those of giving space back, too
    assert 500 * KIB <= grown("asd_slab_write_bytes_total") < 600 * KIB
    assert 700 * KIB <= grown("asd_read_bytes_total") < 800 * KIB
    assert 400 * KIB <= grown("asd_used_bytes") < 500 * KIB


def figures_are_those_of_status(asd):
    status, samples = asd.status(), sound(asd)
    for name in "used_bytes", "capacity_bytes", "slabs", "connections", "failed":
        assert samples["asd_" + name, None] == status[name], name
    for name in "bad_values", "read_errors":
        assert samples[f"asd_{name}_total", None] == status[name], name
    assert samples["asd_connections", None] == 1 and samples["asd_capacity_bytes", None] == 1 << 30
    assert samples["process_open_fds", None] >= asd.descriptors() - 2  # of this request


with tempfile.TemporaryDirectory(prefix="alba-e2e-") as name:
    with AsdProcess(pathlib.Path(name), "a", capacity=1 << 30, threads=2, scrub_rate=0) as asd:
        peer = Peer(asd.port)
        figures_are_of_what_was_done(asd, peer)
        figures_are_those_of_status(asd)
        assert asd.page("healthz").strip() == "ok"
        print("ok;", len(parse(asd.page("metrics"))[0]), "families")
