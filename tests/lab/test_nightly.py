"""Nights really begin: by systemd's timer, and by cron where systemd does not run, as the packages install them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from . import debs
from .cache import Cache
from .cluster import APP, ENVIRONMENT, Cluster
from .debian import BUILDING, with_packages
from .lab import Lab
from .server import Server

UNIT = "clarion-nightly.service"
TIMER = "clarion-nightly.timer"
REPORTS = "/var/lib/clarion/state/nightly"
REMOTE = "/srv/shop.git"
CRON = "/etc/cron.d/clarion-nightly"
MAIL = "/root/mail"

# A network of its own takes a capability (net_admin) that the lab's servers, being containers, do not have.
FLEET = f"""
max_unreachable = "100%"

[repository.{APP}]
url = "{REMOTE}"
network = "full"
"""
# At once, once, and not at the hour of the package.
NOW = """\
[Timer]
OnCalendar=
OnActiveSec=1s
AccuracySec=1ms
RandomizedDelaySec=0
Persistent=no
"""
# As on a machine without systemd: what cron starts finds no trace of it.
NO_SYSTEMD = """\
[Service]
TemporaryFileSystem=/run/systemd
"""
SENDMAIL = f"""\
#!/bin/sh
cat >> {MAIL}
"""
SOURCE = f"""\
set -e
git init --quiet --bare {REMOTE}
git init --quiet --initial-branch main /srv/source
cd /srv/source
printf '[app]\\nname = "{APP}"\\n[test]\\npackage = ["grep -q hello content"]\\n' > clarion.toml
echo hello > content
git add .
git -c user.name=ada -c user.email=ada@example.net commit --quiet --message first
git tag v1.0.0
git push --quiet {REMOTE} main v1.0.0
clarion build --out /tmp/dist
chown -R clarion: /tmp/dist {REMOTE}
"""

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def control(lab: Lab, cache: Cache) -> Server:
    """Give a controller with one app in force, whose source lies in a git remote; its one host is off."""
    below = with_packages(cache, *BUILDING)
    (control,) = lab.boot("control", layers=[debs.installed(cache, "clarion", over=below), below])
    cluster = Cluster(lab, control, [])
    cluster.found(FLEET)
    control.run("sh", "-c", SOURCE, timeout=60)
    cluster.must("publish", f"/tmp/dist/{APP}-1.0.0.tar.zst")
    token = cluster.must("hosts", "invite", "web-1", "-e", ENVIRONMENT).strip()
    (web,) = lab.boot("web-1", layers=[debs.installed(cache, "clarion-agent")])
    web.run("clarion-agent", "join", token)
    cluster.begin("1.0.0")
    web.kill()
    return control


def until(holds: Callable[[], Any], seconds: float) -> Any:
    """Return the first value of `holds` that is true.

    Raises:
        TimeoutError: none within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing after {seconds:.0f} s")
        time.sleep(0.5)
    return found


def report(control: Server) -> dict[str, Any]:
    """Return the last report, as the controller's user reads it; nothing before the first."""
    done = control.run("runuser", "-u", "clarion", "--", "clarion", "nightly", "report", "--json", check=False)
    return json.loads(done.stdout) if done.returncode == 0 else {}


def results(control: Server) -> dict[str, str]:
    """Return the result and reason of each check of the last report."""
    return {check["name"]: f"{check['result']}: {check['reason']}" for check in report(control).get("checks", [])}


def has_ended(control: Server) -> bool:
    """Return whether the unit has run to its end since its last start."""
    return control.show(UNIT, "ActiveState") in ("inactive", "failed") and control.show(UNIT, "ExecMainPID") != "0"


def test_the_timer_is_installed_and_begins_a_night_that_works(control: Server) -> None:
    """The package's timer waits for the night; when it fires, the app is rebuilt between walls and is bit-identical."""
    assert control.run("systemctl", "is-enabled", TIMER).stdout.strip() == "enabled"
    assert "03:" in control.run("systemctl", "list-timers", TIMER).stdout
    verified = control.run("systemd-analyze", "verify", UNIT, TIMER)
    assert verified.stdout + verified.stderr == ""
    control.write(f"/etc/systemd/system/{TIMER}.d/now.conf", NOW)
    control.run("systemctl", "daemon-reload")
    control.run("systemctl", "restart", TIMER)
    until(lambda: has_ended(control), 120)
    assert results(control)[f"rebuild {APP}"] == "works: bit-identical"
    assert control.show(UNIT, "Result") == "success"
    assert f"rebuild {APP}" in control.journal(UNIT)
    assert set(control.run("stat", "-c", "%U", "-R", REPORTS, check=False).stdout.split()) <= {"clarion"}
    assert control.run("sh", "-c", f"stat -c %U {REPORTS} {REPORTS}/*").stdout.split() == ["clarion"] * 3
    assert control.run("sh", "-c", "ls /var/tmp | grep clarion-nightly", check=False).stdout == ""


def test_a_broken_night_fails_its_unit_and_says_so_in_the_journal(control: Server) -> None:
    """A remote that is gone is one broken check; the unit fails, and its journal holds the report."""
    control.run("mv", REMOTE, "/srv/elsewhere")
    assert control.run("systemctl", "start", UNIT, check=False, timeout=120).returncode == 1
    assert control.show(UNIT, "ExecMainStatus") == "1"
    assert results(control)[f"rebuild {APP}"].startswith("broken: ")
    assert f"broken   rebuild {APP}" in control.journal(UNIT)


def test_cron_begins_a_night_where_systemd_does_not_and_mails_what_is_broken(control: Server) -> None:
    """Its line does nothing under systemd; elsewhere a night that works is silent, and one that is broken is mailed."""
    control.write("/usr/sbin/sendmail", SENDMAIL, mode="0755")
    control.run("sed", "-i", r"s/^17 3 \* \* \*/* * * * */", CRON)
    line = control.run("sh", "-c", f"sed -n 's/^[*].* root //p' {CRON}").stdout
    at_home = ["env", "CLARION_HOME=/var/lib/clarion", "sh", "-c", line]
    assert control.run(*at_home, check=False).stdout == ""
    assert report(control) == {}

    control.write("/etc/systemd/system/cron.service.d/alone.conf", NO_SYSTEMD)
    control.run("systemctl", "daemon-reload")
    control.run("systemctl", "restart", "cron")
    until(lambda: results(control).get(f"rebuild {APP}") == "works: bit-identical", 120)
    assert control.run("test", "-e", MAIL, check=False).returncode == 1

    control.run("mv", REMOTE, "/srv/elsewhere")
    mail = until(lambda: control.run("cat", MAIL, check=False).stdout, 120)
    assert "clarion nightly --quiet" in mail.splitlines()[2]
    assert f"broken   rebuild {APP}" in mail
