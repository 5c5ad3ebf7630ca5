"""Several at once: names, addresses and answers stay apart."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.plugins.home import Home
from tests.requirements import needs

pytestmark = needs("qemu", "image", "ssh")


def test_ten_creates_at_once(banger_with_image: Home, leaves_nothing: Callable[[], None]) -> None:
    banger = banger_with_image
    with ThreadPoolExecutor(10) as pool:
        results = list(pool.map(lambda _: banger("create", "--memory", "128"), range(10)))
    assert all(result.status == 0 for result in results), results
    vms = banger.json("ls")
    assert len(vms) == 10
    for key in ("id", "name", "mac"):
        assert len({vm[key] for vm in vms}) == 10, key
    assert len({(vm["ssh_host"], vm["ssh_port"]) for vm in vms}) == 10
    banger.ok("vm", "delete", "--all", "--force")


def test_twenty_creates_of_one_name_have_one_winner(
    banger_with_image: Home, leaves_nothing: Callable[[], None]
) -> None:
    banger = banger_with_image
    with ThreadPoolExecutor(10) as pool:
        results = list(pool.map(lambda _: banger("create", "--name", "web"), range(20)))
    assert sorted(result.status for result in results) == [0, *[5] * 19]
    banger.ok("rm", "web")


def test_two_guests_have_keys_and_ids_of_their_own(
    banger_with_image: Home, leaves_nothing: Callable[[], None]
) -> None:
    """Two running guests keep their own host keys: neither answers under the other's."""
    banger = banger_with_image
    banger.ok("run", "--name", "one", "--memory", "256", "--vcpu", "1")
    banger.ok("run", "--name", "two", "--memory", "256", "--vcpu", "1")
    keys = {
        name: banger.ok("exec", name, "--", "cat", "/etc/ssh/ssh_host_ed25519_key.pub")
        for name in ("one", "two")
    }
    ids = {name: banger.ok("exec", name, "--", "cat", "/etc/machine-id") for name in ("one", "two")}
    assert len(set(keys.values())) == len(set(ids.values())) == 2
    assert banger.ok("ssh", "two", "--", "hostname") == "two\n"
    banger.ok("rm", "--force", "one", "two")
