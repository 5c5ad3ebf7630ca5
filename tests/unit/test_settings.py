from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banger.errors import InvalidInput
from banger.host.command import Command, run_blocking
from banger.settings import FIELDS, Settings, load


def test_without_file_and_variables_the_defaults_hold(tmp_path: Path) -> None:
    assert load(tmp_path / "config.toml", {}) == Settings()


def test_variables_win_over_the_file_over_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(
        'vmm = "qemu"\nstorage = "copy"\nnameservers = ["192.0.2.1", "192.0.2.2"]\n'
        'min_free_bytes = "2G"\nstart_timeout = 30\nnetwork_pool = "192.168.0.0/16"\n'
    )
    variables = {"BANGER_STORAGE": "reflink", "BANGER_START_TIMEOUT": "2.5"}
    settings = load(file, {**variables, "BANGER_NETWORK": "", "HOME": "x"})
    assert settings == Settings(
        vmm="qemu",
        storage="reflink",
        nameservers=("192.0.2.1", "192.0.2.2"),
        min_free_bytes=2 << 30,
        start_timeout=2.5,
        network_pool="192.168.0.0/16",
    )
    assert load(file, {"BANGER_NAMESERVERS": "192.0.2.9, 192.0.2.8"}).nameservers == (
        "192.0.2.9",
        "192.0.2.8",
    )


def test_unknown_keys_warn(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('vmm = "qemu"\nfuture = 1\n[table]\nx = 1\n')
    settings = load(file, {})
    assert settings.vmm == "qemu"
    assert settings.warnings == (
        f"unknown key 'future' in {file}",
        f"unknown key 'table' in {file}",
    )


def test_failpoints_come_from_the_environment_alone(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('failpoints = ["a"]\nwarnings = ["b"]\n')
    settings = load(file, {"BANGER_FAILPOINTS": "vm.start.launch.after=kill,x"})
    assert settings.failpoints == ("vm.start.launch.after=kill", "x")
    assert len(settings.warnings) == 2


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("vmm", '"xen"'),
        ("vmm", "1"),
        ("image", '"../x"'),
        ("image", '"a\\n"'),
        ("suite", '""'),
        ("network_pool", '"8.8.8.0/24"'),
        ("network_pool", '"127.0.0.0/8"'),
        ("network_pool", '"0.0.0.0/0"'),
        ("network_pool", '"10.0.0.1/12"'),
        ("network_pool", '"10.208.0.0/31"'),
        ("network_pool", "12"),
        ("nameservers", '["x"]'),
        ("nameservers", "[1]"),
        ("nameservers", "1"),
        ("log_level", '"loud"'),
        ("min_free_bytes", '"lots"'),
        ("min_free_bytes", "-1"),
        ("min_free_bytes", "true"),
        ("start_timeout", "0"),
        ("start_timeout", "nan"),
        ("start_timeout", "true"),
        ("start_timeout", '"soon"'),
    ],
)
def test_values_that_cannot_be_used_name_their_place(tmp_path: Path, key: str, value: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f"{key} = {value}\n")
    with pytest.raises(InvalidInput) as caught:
        load(file, {})
    assert f"{key} in {file}" in caught.value.brief
    assert caught.value.cause


def test_a_bad_variable_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="the variable BANGER_VMM has the value 'xen'"):
        load(tmp_path / "none", {"BANGER_VMM": "xen"})


@pytest.mark.parametrize("content", [b"vmm = ", b"\xff\xfe", b"a = 1\na = 2\n"])
def test_a_broken_file_is_told(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(content)
    with pytest.raises(InvalidInput, match="cannot be read") as caught:
        load(file, {})
    assert str(file) in caught.value.resolution


def test_a_folder_is_no_settings_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        load(tmp_path, {})


@given(st.sampled_from(sorted(FIELDS)), st.text(min_size=1))
def test_any_variable_is_used_or_refused(key: str, value: str) -> None:
    try:
        settings = load(Path("/nonexistent"), {f"BANGER_{key.upper()}": value})
    except InvalidInput:
        return
    assert getattr(settings, key) is not None


@given(st.integers(0, 2**40), st.sampled_from(["", "K", "M", "G", "MiB", "gb", " k"]))
def test_sizes_with_units(number: int, unit: str) -> None:
    settings = load(Path("/nonexistent"), {"BANGER_MIN_FREE_BYTES": f"{number}{unit}"})
    letter = unit.strip()[:1].upper()
    assert settings.min_free_bytes == number * 1024 ** ["", "K", "M", "G"].index(letter)


def test_every_field_has_help_and_a_default() -> None:
    assert set(Settings._fields) == {*FIELDS, "failpoints", "warnings"}
    assert all(field.help for field in FIELDS.values())
    assert all(name in Settings._field_defaults for name in Settings._fields)


def test_the_import_is_light(tmp_path: Path) -> None:
    heavy = ("dataclasses", "subprocess", "asyncio", "tomllib", "logging")
    script = (
        "import sys; from pathlib import Path; from banger.settings import load;"
        f"load(Path({str(tmp_path / 'none')!r}), {{}});"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    source = str(Path(__file__).parents[2] / "src")
    command = Command((sys.executable, "-c", script), env={"PYTHONPATH": source})
    assert run_blocking(command).text.strip() == "[]"
