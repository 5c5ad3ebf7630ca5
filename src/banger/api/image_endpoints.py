"""What each method of the resources of images takes and gives."""

from __future__ import annotations

from banger.api import bodies, image_bodies, requests, routes
from banger.api.endpoint import KEY, Endpoint

IMAGE_ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("GET", routes.IMAGES, "listImages", "All images", 200, image_bodies.Images),
    Endpoint(
        "POST",
        routes.IMAGES,
        "buildImage",
        "Build an image",
        202,
        bodies.Operation,
        body=requests.BuildImage,
        parameters=(KEY,),
    ),
    Endpoint("GET", routes.IMAGE, "getImage", "One image", 200, image_bodies.Image),
    Endpoint(
        "PATCH",
        routes.IMAGE,
        "renameImage",
        "Rename an image, in use or not",
        202,
        bodies.Operation,
        body=requests.RenameImage,
    ),
    Endpoint(
        "POST",
        routes.IMAGE_REGISTER,
        "registerImage",
        "Make an image of one's own files",
        202,
        bodies.Operation,
        body=requests.RegisterImage,
        parameters=(KEY,),
    ),
    Endpoint(
        "POST",
        routes.IMAGE_CUSTOMIZE,
        "customizeImage",
        "Make a changed copy of an image, or an image of a root file system",
        202,
        bodies.Operation,
        body=requests.CustomizeImage,
        parameters=(KEY,),
        errors=(404,),
    ),
    Endpoint(
        "POST",
        routes.IMAGE_KEEP,
        "keepImage",
        "Make an image of a stopped VM",
        202,
        bodies.Operation,
        body=requests.KeepImage,
        parameters=(KEY,),
        errors=(404,),
    ),
    Endpoint(
        "POST",
        routes.IMAGE_IMPORT,
        "importImage",
        "Make an image of an archive: OCI, docker save, a root tree, or an export",
        202,
        bodies.Operation,
        body=requests.ImportImage,
        parameters=(KEY,),
        errors=(404,),
    ),
    Endpoint(
        "GET",
        routes.IMAGE_PRUNE,
        "prunable",
        "Images, remains and caches that nobody uses",
        200,
        image_bodies.Prunables,
    ),
    Endpoint(
        "POST",
        routes.IMAGE_PRUNE,
        "prune",
        "Remove the remains and caches, and no image",
        200,
        image_bodies.Prunables,
        body=requests.Nothing,
        body_required=False,
    ),
    Endpoint(
        "DELETE", routes.IMAGE, "deleteImage", "Delete an unused image", 202, bodies.Operation
    ),
)
