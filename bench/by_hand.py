"""A VM without banger: overlay, TAP and QEMU by hand; prints once the first SSH command is done.

Usage: by_hand.py FOLDER, which has rootfs.ext4, vmlinux, initrd.cpio and hand.json.
"""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path


def main(folder: Path) -> None:
    hand = json.loads((folder / "hand.json").read_text())
    overlay = folder / "overlay.qcow2"
    origin = ["-b", f"{folder}/rootfs.ext4", "-F", "raw"]
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *origin, overlay, "8G"], check=True)
    for line in hand["tap"]:
        subprocess.run(["ip", *line], check=True)
    drive = f"id=root,file={overlay},format=qcow2,if=none,discard=unmap"
    disk = ["-drive", drive, "-device", "virtio-blk-device,drive=root"]
    boot = ["-kernel", f"{folder}/vmlinux", "-initrd", f"{folder}/initrd.cpio"]
    qemu = subprocess.Popen([*hand["qemu"], *boot, *disk], stdin=subprocess.DEVNULL)
    try:
        while True:
            try:
                with socket.create_connection((hand["host"], hand["port"]), 0.05) as probe:
                    if probe.recv(4) == b"SSH-":
                        break
            except OSError:
                time.sleep(0.01)
        subprocess.run([*hand["ssh"], "true"], check=True)
        print("done", flush=True)
    finally:
        qemu.kill()
        qemu.wait()


main(Path(sys.argv[1]))
