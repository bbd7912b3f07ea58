"""Ansible inventories, read by the real `ansible-inventory`: what they list, what they may not do, and what is said."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from clarion_controller.discover import inventory
from clarion_controller.discover.ask import ask_in_child
from clarion_controller.discover.discovered import Discovered
from clarion_controller.discover.inventory import InventoryDiscoverer, stamp_of
from clarion_controller.fleet_toml.fleet import HostSource
from clarion_protocol.errors import BadConfig

INI = """\
mail.example.net

[web]
web-[01:03] ansible_host=10.0.0.1 ansible_password=secret

[db]
db-1:2222

[europe:children]
web

[production:children]
europe
db

[web:vars]
http_port=80
"""

YAML = """\
all:
  hosts:
    mail.example.net:
  children:
    production:
      children:
        web:
          hosts:
            web-[01:02]:
              ansible_host: 2001:db8::1
        db:
          hosts:
            db-1:
"""

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return what writes an inventory."""

    def written(content: str, name: str = "hosts.ini", mode: int = 0o644) -> Path:
        path = tmp_path / name
        path.write_text(content)
        path.chmod(mode)
        return path

    return written


def groups_by_name(path: Path) -> dict[str, tuple[str, ...]]:
    """Return what an inventory lists."""
    return {host.name: host.groups for host in InventoryDiscoverer(path).hosts()}


def refused(path: Path) -> BadConfig:
    """Return why an inventory cannot be read."""
    with pytest.raises(BadConfig) as caught:
        InventoryDiscoverer(path).hosts()
    return caught.value


def test_an_ini_inventory_with_ranges_and_groups_of_groups(write: Write) -> None:
    """Each host with all its groups, by name; a port is no part of the name."""
    assert groups_by_name(write(INI)) == {
        "db-1": ("db", "production"),
        "mail.example.net": (),
        "web-01": ("europe", "production", "web"),
        "web-02": ("europe", "production", "web"),
        "web-03": ("europe", "production", "web"),
    }


@pytest.mark.parametrize("name", ["hosts.yml", "hosts.yaml", "hosts"])
def test_a_yaml_inventory(write: Write, name: str) -> None:
    """Also one whose name does not say what it is, as Ansible has it."""
    assert groups_by_name(write(YAML, name)) == {
        "db-1": ("db", "production"),
        "mail.example.net": (),
        "web-01": ("production", "web"),
        "web-02": ("production", "web"),
    }


def test_of_its_variables_only_the_address_is_taken(write: Write) -> None:
    """A password that stands there goes nowhere."""
    path = write(INI)
    web = next(host for host in InventoryDiscoverer(path).hosts() if host.name == "web-01")
    assert web == Discovered(
        name="web-01",
        source="inventory hosts.ini",
        groups=("europe", "production", "web"),
        addresses=("10.0.0.1",),
    )


def test_it_is_read_through_a_child_from_the_folder_of_fleet_toml(write: Write) -> None:
    """As the controller does it, with what is beside it left alone."""
    path = write(INI)
    beside = sorted(path.parent.iterdir())
    found = asyncio.run(ask_in_child(HostSource(inventory="hosts.ini"), path.parent))
    assert [host.name for host in found] == ["db-1", "mail.example.net", "web-01", "web-02", "web-03"]
    assert sorted(path.parent.iterdir()) == beside


def test_an_inventory_of_nobody_lists_nobody(write: Write) -> None:
    """Which is an answer, and for the judge."""
    assert groups_by_name(write("# nobody yet\n")) == {}


GENERATES = """\
plugin: ansible.builtin.generator
hosts: {{name: "{{{{ kind }}}}-{{{{ lookup('pipe', 'touch {0}; echo 1') }}}}"}}
layers: {{kind: [web]}}
"""
RUNS = '#!/bin/sh\ntouch {0}\necho \'{{"web": {{"hosts": ["web-1"]}}}}\'\n'


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("hosts", RUNS, id="a script"),
        pytest.param("hosts.ini", RUNS, id="a script that is called a list"),
        pytest.param("hosts", "\n" + RUNS, id="a script that hides its first line"),
        pytest.param("hosts", "#!/bin/sh\nhostname\n", id="a script that reads like a list of one host"),
        pytest.param("hosts.yml", GENERATES, id="the settings of a plugin that makes hosts up"),
        pytest.param("hosts.yml", "plugin: ansible.builtin.script\npath: {0}\n", id="the settings of a plugin"),
        pytest.param("hosts.yml", "all: !!python/object/apply:os.mknod ['{0}']\n", id="a call in YAML"),
    ],
)
def test_an_inventory_that_would_run_something_is_refused(
    write: Write, tmp_path: Path, name: str, content: str
) -> None:
    """Executable or not; nothing has run."""
    traces = tmp_path / "traces"
    error = refused(write(content.format(traces), name, mode=0o755))
    assert str(tmp_path / name) in error.message
    assert not traces.exists()


@pytest.mark.parametrize("lookup", ["lookup('pipe', 'touch {0}')", "lookup('file', '/etc/passwd')"])
def test_templates_stay_what_they_are(write: Write, tmp_path: Path, lookup: str) -> None:
    """They are neither run nor taken for an address."""
    traces = tmp_path / "traces"
    template = "{{ " + lookup.format(traces) + " }}"
    [host] = InventoryDiscoverer(write(f'web-1 ansible_host="{template}"\n')).hosts()
    assert host.addresses == ()
    assert not traces.exists()


def test_what_lies_beside_it_is_not_read(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither variables, which may be locked in a vault, nor settings, nor plugins, whoever names them."""
    traces = tmp_path / "traces"
    for folder in ("group_vars", "host_vars", "vars_plugins", "inventory_plugins"):
        (tmp_path / folder).mkdir()
    (tmp_path / "group_vars" / "all.yml").write_text("$ANSIBLE_VAULT;1.1;AES256\n6162\n")
    (tmp_path / "host_vars" / "web-1.yml").write_text("ansible_host: 10.9.9.9\n")
    for folder in ("vars_plugins", "inventory_plugins"):
        (tmp_path / folder / "evil.py").write_text(f"open({str(traces)!r}, 'w')\n")
    settings = f"[defaults]\nvars_plugins={tmp_path}/vars_plugins\ninventory_plugins={tmp_path}/inventory_plugins\n"
    (tmp_path / "ansible.cfg").write_text(settings)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANSIBLE_CONFIG", str(tmp_path / "ansible.cfg"))
    monkeypatch.setenv("ANSIBLE_VARS_PLUGINS", str(tmp_path / "vars_plugins"))
    [host] = InventoryDiscoverer(write("web-1\n")).hosts()
    assert (host.addresses, traces.exists()) == ((), False)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        pytest.param(
            "hosts.ini", "[web]\nweb-1 foo bar\n", ", line 2: Expected key=value", id="INI that makes no sense"
        ),
        pytest.param(
            "hosts.ini",
            "[web\nweb-1\n",
            " cannot be read as an inventory: not enough values",
            id="a section that does not end",
        ),
        pytest.param("hosts.ini", "[a:children]\nmissing\n", ", line 2: ", id="a group that is not there"),
        pytest.param(
            "hosts.ini",
            "[a:children]\nb\n[b:children]\na\n",
            " cannot be read as an inventory: ",
            id="groups in a circle",
        ),
        pytest.param("hosts.yml", "all:\n  hosts:\n    web-1: {a: [}\n", ", line 3: did not find", id="no YAML"),
        pytest.param(
            "hosts.yml", "- web-1\n", " cannot be read as an inventory: YAML inventory has", id="YAML of another kind"
        ),
        pytest.param("hosts.ini", "[web]\nWeb-1\n", ", line 2: 'Web-1' cannot be a host's name", id="a capital letter"),
        pytest.param("hosts.ini", "[web]\nweb_1\nweb-1\n[db]\ndb-1/x\n", ", line 5: 'db-1/x' cannot", id="a path"),
        pytest.param("hosts.ini", f"{'x' * 64}\n", ", line 1: ", id="a name that is too long"),
        pytest.param("hosts.yml", "all:\n  hosts:\n    web-1:\n      a: .nan\n", ": ", id="a number that is none"),
    ],
)
def test_a_mistake_names_the_file_and_where_ansible_says_it_the_line(
    write: Write, name: str, content: str, said: str
) -> None:
    """In one sentence, with the next command."""
    path = write(content, name)
    error = refused(path)
    assert error.message.startswith(f"{path}{said}"), error.message
    assert "\n" not in error.message
    assert "/clarion" not in error.message.removeprefix(str(path))
    assert f"-i {path} --list" in (error.hint or "") or "its agent joins with" in (error.hint or "")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        pytest.param(lambda path: None, "No such file", id="missing"),
        pytest.param(lambda path: path.mkdir(), "Is a directory", id="a folder"),
        pytest.param(lambda path: path.write_bytes(b"#" * (inventory.MAX_BYTES + 1)), "more than", id="too big"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, make: Callable[[Path], object], said: str) -> None:
    """And that fleet.toml names it."""
    make(tmp_path / "hosts.ini")
    error = refused(tmp_path / "hosts.ini")
    assert error.message.startswith(str(tmp_path / "hosts.ini"))
    assert said in error.message
    assert "fleet.toml" in (error.hint or "")


def test_the_hint_can_be_pasted(write: Write, tmp_path: Path) -> None:
    """It names the file itself, also one with a space in its name."""
    assert f"-i {tmp_path}/hosts --list --yaml" in (refused(write("#!/bin/sh\n", "hosts")).hint or "")
    assert f"-i '{tmp_path}/our hosts.ini' --list" in (refused(write("[web\n", "our hosts.ini")).hint or "")


def test_a_name_with_odd_letters_is_no_trouble(write: Write) -> None:
    """Ansible takes what has a comma in it for a list of hosts; it never sees the name."""
    assert groups_by_name(write("web-1\n", "a, b-c d.ini")) == {"web-1": ()}


def test_without_ansible_it_is_said_how_to_install_it(write: Write, tmp_path: Path) -> None:
    """Looked for beside this Python, then on the path."""
    path = write("web-1\n")
    code = (
        "import sys; sys.executable = '/nowhere/python'\n"
        "from pathlib import Path\n"
        "from clarion_controller.discover.inventory import InventoryDiscoverer\n"
        f"InventoryDiscoverer(Path({str(path)!r})).hosts()\n"
    )
    environment = {**os.environ, "PATH": str(tmp_path)}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert "ansible-inventory, which is not installed" in ended.stderr
    assert "pip install 'clarion[ansible]'" in ended.stderr
    environment["PATH"] = str(Path(sys.executable).parent)
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


def test_ansible_is_never_imported(write: Write) -> None:
    """It is a program to us."""
    InventoryDiscoverer(write("web-1\n")).hosts()
    assert not [name for name in sys.modules if name.partition(".")[0] == "ansible"]


def test_a_change_of_the_file_is_seen(write: Write, tmp_path: Path) -> None:
    """And that there is none."""
    assert stamp_of(tmp_path / "hosts.ini") is None
    before = stamp_of(write("web-1\n"))
    assert before == stamp_of(tmp_path / "hosts.ini")
    assert before != stamp_of(write("web-2\n\n"))
