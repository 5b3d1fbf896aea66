"""The lines of README.md, as they stand there, in a shell that stops at the first that fails; and
the tests that asd/TESTS.md names are there."""
import os
import pathlib
import re
import subprocess

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

tests = README.parent / "tests"
rows = re.findall(r"^\|[^|]*\| `([^`]+)` \| `([^`]+)`", (README.parent / "asd/TESTS.md").read_text(), re.M)
assert len(rows) > 30
for file, test in rows:
    assert re.search(rf"\b{test}\(", (tests / file).read_text()), f"TESTS.md: no {test} in {file}"

for link in re.findall(r"\]\(([^)]+)\)", text):
    assert (README.parent / link).exists(), f"README.md links to {link}"
