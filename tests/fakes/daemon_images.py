"""What the fake daemon does with images that are made of what is there."""

from __future__ import annotations

from typing import Any, cast

from tests.fakes.daemon import FakeDaemon, Refusal

JSON = dict[str, Any]
REMAINS: JSON = {
    "kind": "remains", "id": "", "name": "dead", "path": "/state/images/dead", "bytes": 4096
}  # fmt: skip
CACHE: JSON = {
    "kind": "cache", "id": "", "name": "downloaded packages", "path": "/cache/debs",
    "bytes": 90 * 1024**2,
}  # fmt: skip


def make(fake: FakeDaemon, verb: str, body: JSON) -> JSON:
    """Begin ``register``, ``keep``, ``import`` or ``customize``."""
    name = body.get("name") or f"docker-{body['base']}"
    if any(image["name"] == name for image in fake.images.values()):
        raise Refusal(409, "already_exists", f"the image {name} exists already", "it is ready",
                      "choose another name")  # fmt: skip
    if verb == "import" and not any(i["name"] == "debian" for i in fake.images.values()):
        raise Refusal(404, "not_found", "there is no image 'debian'", "its kernel is needed",
                      "banger image build debian")  # fmt: skip
    image = {"id": "feedfeedfeed", "name": name}
    source = next(filter(None, map(body.get, ("vm", "rootfs", "archive", "base"))))
    origin = f"{verb} {source}"

    def effect() -> None:
        cast("None", fake.add_image(name, id=image["id"], origin=origin))

    return fake.operate(f"image.{verb}", image, effect)


def rename(fake: FakeDaemon, image: JSON, body: JSON) -> JSON:
    """Begin ``rename``."""
    return fake.operate("image.rename", image, lambda: image.update(name=body["name"]))


def prunable(fake: FakeDaemon) -> JSON:
    """Images that nobody uses and are not the default, and two other things."""
    images = [
        {
            "kind": "image",
            "id": image["id"],
            "name": image["name"],
            "path": image["directory"],
            "bytes": image["allocated_bytes"],
        }
        for image in fake.images.values()
        if image["name"] != "debian" and not image["used_by"]
    ]
    return {"prunable": [*images, REMAINS, CACHE]}
