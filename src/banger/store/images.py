"""Rows of images <-> model."""

from __future__ import annotations

import dataclasses
import sqlite3

from banger.errors import AlreadyExists
from banger.model.image import Image
from banger.store.database import Database
from banger.store.documents import dump, load


class Images:
    """The image table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, image: Image) -> None:
        """Add or overwrite. Raises ``AlreadyExists`` if another image has the name."""
        values = (image.id, image.name, image.state.value, dump(image))
        with self._database.transaction() as connection:
            try:
                connection.execute(
                    "INSERT INTO image VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
                    "name = excluded.name, state = excluded.state, document = excluded.document",
                    values,
                )
            except sqlite3.IntegrityError as error:
                raise AlreadyExists(
                    f"an image named {image.name} exists already",
                    resolution=f"banger image show {image.name}",
                ) from error

    def rename(self, image: Image, name: str) -> Image:
        """Give ``image`` another name and return it so."""
        renamed = dataclasses.replace(image, name=name, generation=image.generation + 1)
        self.put(renamed)
        return renamed

    def delete(self, image_id: str) -> None:
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM image WHERE id = ?", (image_id,))

    def get(self, image_id: str) -> Image | None:
        return self._one("id = ?", image_id)

    def by_name(self, name: str) -> Image | None:
        return self._one("name = ?", name)

    def by_id_prefix(self, prefix: str) -> list[Image]:
        return [image for image in self.all() if image.id.startswith(prefix)]

    def all(self) -> list[Image]:
        rows = self._database.connection.execute("SELECT document FROM image ORDER BY name")
        return [load(row[0], Image) for row in rows]

    def _one(self, condition: str, value: str) -> Image | None:
        row = self._database.connection.execute(
            f"SELECT document FROM image WHERE {condition}", (value,)
        ).fetchone()
        return load(row[0], Image) if row else None
