"""The registry is kept on OSDs, too: its copies follow every change by themselves, and an OSD that
was away gets its copy when it is back."""
from harness import Deployment, wait_for


def copies(d):
    return d.alba("registry-copies")


def states(d):
    return [o["state"] for o in copies(d)["osds"]]


def follow(d):
    """Without a word the copies come, and come again after a change."""
    wait_for("five copies", lambda: copies(d)["current"] == 5)
    before = copies(d)["version"]
    d.alba("create-namespace", "ns", "volumes")
    assert copies(d)["version"] > before
    wait_for("five copies of the change", lambda: copies(d)["current"] == 5)


def an_osd_is_away(d):
    """Its turn goes to the one that had none; back with an old copy it gets the present one."""
    spare = states(d).index("none")
    d.hold("asd0")
    d.alba("create-namespace", "while-away", "volumes")
    wait_for("five copies without it", lambda: copies(d)["current"] == 5)
    assert states(d)[0] == "no answer" and states(d)[spare] == "current"
    d.start("asd0")
    d.wait_running("asd0")
    wait_for("asd0 to be seen", lambda: states(d)[0] == "older")
    assert d.alba("registry-copies", "--write")["osds"][0]["state"] == "current"


with Deployment() as d:
    follow(d)
    an_osd_is_away(d)
