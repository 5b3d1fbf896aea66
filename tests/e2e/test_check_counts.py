"""tools/check counts what passed, failed and was skipped; a test whose program is missing failed."""
import pathlib
import subprocess
import sys
import tempfile

from harness import need

COUNTS = pathlib.Path(__file__).resolve().parents[2] / "tools/junit_counts"
TESTS = """
add_test(good "/bin/true")
add_test(bad "/bin/false")
add_test(left_out "/bin/sh" "-c" "echo 'SKIP: fio is not installed'; exit 77")
set_tests_properties(left_out PROPERTIES SKIP_RETURN_CODE 77)
add_test(missing "/no/such/program")
add_test(off "/bin/true")
set_tests_properties(off PROPERTIES DISABLED 1)
"""


def counts(path):
    done = subprocess.run([sys.executable, COUNTS, path], check=True, capture_output=True, text=True)
    return done.stdout.split(), done.stderr


need("ctest")
with tempfile.TemporaryDirectory(prefix="alba-e2e-") as name:
    root = pathlib.Path(name)
    (root / "CTestTestfile.cmake").write_text(TESTS)
    subprocess.run(["ctest", "--test-dir", root, "--output-junit", root / "junit.xml"],
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    numbers, said = counts(root / "junit.xml")
    assert numbers == ["1", "2", "1"], numbers
    assert said == "skipped: left_out: SKIP: fio is not installed\n", said
    (root / "junit.xml").write_text("<cut")
    assert counts(root / "junit.xml") == (["0", "1", "0"], "")
    (root / "empty.xml").write_text("<testsuite/>")
    assert counts(root / "empty.xml") == (["0", "1", "0"], "")
    assert counts(root / "nothing.xml") == (["0", "1", "0"], "")
print("ok")
