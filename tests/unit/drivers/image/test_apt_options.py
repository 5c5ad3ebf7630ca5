from __future__ import annotations

from banger.drivers.image.apt_options import parse_options, render_for_guest

DUMP = """\
APT "";
APT::Update::Post-Invoke:: "rm -f /var/cache/apt/*.bin || true";
Acquire::http::Proxy "http://user:secret@proxy.example:3142";
Acquire::http::Proxy::mirror.example "DIRECT";
Acquire::https::Proxy "";
Acquire::https::CaInfo "/etc/ssl/ca.pem";
Acquire::https::mirror.example::CaInfo "/etc/ssl/other.pem";
Acquire::Check-Valid-Until "false";
Acquire::Languages:: "none";
Acquire::Retries "3";
DPkg::Post-Invoke:: "echo";
Dir::Etc "etc/apt";
"""


def test_only_the_way_to_the_archive_is_passed_on() -> None:
    assert parse_options(DUMP) == (
        'Acquire::http::Proxy "http://user:secret@proxy.example:3142"',
        'Acquire::http::Proxy::mirror.example "DIRECT"',
        'Acquire::https::CaInfo "/etc/ssl/ca.pem"',
        'Acquire::https::mirror.example::CaInfo "/etc/ssl/other.pem"',
        'Acquire::Check-Valid-Until "false"',
        'Acquire::Retries "3"',
    )


def test_no_proxy_and_no_password_gets_into_the_image() -> None:
    assert render_for_guest(parse_options(DUMP)) == 'Acquire::Check-Valid-Until "false";\n'
    assert render_for_guest(()) == ""
