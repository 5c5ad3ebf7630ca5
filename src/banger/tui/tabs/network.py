"""The tab Network: addresses, name, internet, published ports and traffic (pure)."""

from __future__ import annotations

from banger.cli.reach import reached_at
from banger.cli.units import format_size
from banger.client.views import VMView
from banger.tui.tabs.page import Page
from banger.tui.themes import Tones
from banger.tui.world import World


def network(world: World, vm: VMView, tones: Tones) -> Page:
    """What reaches ``vm`` and what it reaches."""
    page = Page(tones)
    page.row("address", vm["address"] or "-")
    page.row("from host", reached_at(vm))
    page.row("name", vm["dns_name"] or "none (banger help names)")
    page.row("MAC", vm["mac"])
    page.row("driver", vm["network"])
    page.gap()
    page.row("internet", "● yes: NAT is on" if vm["nat"] else "○ no: NAT is off (a: on)",
             "good" if vm["nat"] else "dim")  # fmt: skip
    page.row("other VMs", "no: it is isolated" if vm["isolated"] else "yes")
    page.row("host", "all services" if vm["host_access"] else "ping and DNS alone")
    page.gap()
    if not vm["forwards"]:
        page.row("forwards", "none (f: publish a port)", "dim")
    for number, forward in enumerate(vm["forwards"]):
        title = " " if number else "forwards"
        ports = f"{forward['host_port']} → {forward['guest_port']}/{forward['protocol']}"
        page.row(title, ports)
    page.gap()
    figures = world.traffic(vm["id"])
    if figures is None or figures.get("received_bytes") is None:
        page.row("traffic", "nobody counts it" if figures else "it does not run", "dim")
        return page
    for title, rate, total, drops in (
        ("received", "received_rate", "received_bytes", "received_drops"),
        ("sent", "sent_rate", "sent_bytes", "sent_drops"),
    ):
        speed = "-" if figures[rate] is None else f"{format_size(figures[rate])}/s"
        lost = f", {figures[drops]} dropped" if figures[drops] else ""
        page.row(title, f"{speed}  {format_size(figures[total])} in all{lost}")
    return page
