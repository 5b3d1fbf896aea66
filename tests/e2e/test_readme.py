"""The lines of README.md, as they stand there, in a shell that stops at the first that fails; the
configuration of asd/README.md is good; the tests that asd/TESTS.md and proxy/TESTS.md name, and
what documents link to, are there."""
import json
import os
import pathlib
import re
import subprocess
import tempfile

from harness import BIN, Deployment, need

README = pathlib.Path(__file__).resolve().parents[2] / "README.md"
PLACE = "/var/tmp/alba"


def block(text, first_words):
    """The indented block that starts with these words."""
    blocks = re.findall(r"(?:^    .*\n)+", text, re.M)
    found = [b for b in blocks if b.strip().startswith(first_words)]
    assert len(found) == 1, f"{len(found)} blocks of README.md start with {first_words!r}"
    return re.sub(r"^    ", "", found[0], flags=re.M)


need("nbdinfo")
text = README.read_text()
up = re.search(r"alba up --dir (\S+) (--volume \S+)", block(text, "tools/build"))
assert up and up[1] == PLACE
lines = block(text, f"export ALBA_DIR={PLACE}")
with Deployment(*up[2].split()) as d:
    lines = lines.replace(PLACE, str(d.dir)).replace("/tmp/os-release", str(d.root / "os-release"))
    env = {k: v for k, v in os.environ.items() if not k.startswith("ALBA_")}
    env["PATH"] = f"{BIN}:{env['PATH']}"
    done = subprocess.run(["bash", "-exu"], input=lines, env=env, text=True, capture_output=True,
                          timeout=300)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert (d.root / "os-release").read_bytes() == pathlib.Path("/etc/os-release").read_bytes()
    for word in ("uuid", "asd5", "another", "os-release", "fragments", "redundancy", "clean"):
        assert word in done.stdout, f"{word!r} is not in:\n{done.stdout}"

ROOT = README.parent
config = json.loads(block((ROOT / "asd/README.md").read_text(), '{"home"'))
with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
    json.dump(config, file)
    file.flush()
    subprocess.run([BIN / "alba-asd", "--check", f"--config={file.name}"], check=True)
assert "http_port" in config

for table, least in ("asd/TESTS.md", 30), ("proxy/TESTS.md", 15):
    rows = re.findall(r"^\|[^|]*\| `([^`]+)` \| `([^`]+)`", (ROOT / table).read_text(), re.M)
    assert len(rows) > least
    for file, test in rows:
        source = (ROOT / "tests" / file).read_text()
        assert re.search(rf"\b{test}\(", source), f"{table}: no {test} in {file}"

documents = [README, *ROOT.glob("*/*.md"), *ROOT.glob("client/*/*.md")]
for document in documents:
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
        if "://" not in link:
            assert (document.parent / link).exists(), f"{document} links to {link}"
print("ok")
