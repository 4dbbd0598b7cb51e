"""Public data sets, read by the rules of their trees."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from seas_runtime.dataset.importers.folder import Folder
from seas_runtime.dataset.importers.formats.tree_rules import Lists, Place, Tree
from seas_runtime.dataset.importers.levels import MaskFile
from seas_runtime.dataset.importers.pixels import EXTENSIONS, header
from seas_runtime.dataset.importers.records import BrokenError, Findings, Mark, Picture


def matches(tree: Tree, folder: Folder) -> bool:
    """Whether the folder is a product of this family: each of its signs fits some picture."""
    paths = [_bare(folder, picture) for picture in folder.pictures]
    signs = [Place(sign).pattern for sign in tree.signs]
    return all(any(sign.fullmatch(path) for path in paths) for sign in signs)


def read(tree: Tree, folder: Folder, found: Findings) -> None:
    """Add the folder's pictures to `found`; raises BrokenError where one of its lists is damaged."""
    lists = tree.lists(folder) if tree.lists else Lists()
    found.consumed.update(lists.files)
    by_path: defaultdict[str, list[Path]] = defaultdict(list)
    for picture in folder.pictures:
        bare = _bare(folder, picture).casefold()
        by_path[bare].append(picture)
        by_path[f"{bare.rpartition('/')[0]}/*"].append(picture)
    masks_of = {picture: _masks(tree, folder, picture, by_path) for picture in folder.pictures}
    found.consumed.update(mask for _, masks in masks_of.values() for mask in masks)
    passed = [Place(pattern).pattern for pattern in tree.passed]
    for picture in folder.pictures:
        if picture in found.consumed:
            continue
        place, masks = masks_of[picture]
        if any(pattern.fullmatch(_bare(folder, picture)) for pattern in passed):
            found.leave(picture, f"of no use here, as {tree.title} goes", loses=False)
        elif place is None:
            found.leave(picture, f"has no place in the tree of {tree.title}", loses=True)
        elif not place.masks:
            found.pictures.append(Picture(picture, held_out=place.held_out or picture in lists.held_out))
        elif not masks:
            found.leave(picture, "an anomaly without a mask", loses=not tree.views)
        else:
            match = place.pattern.fullmatch(_bare(folder, picture))
            named = match.groupdict().get("type", "") if match else ""
            title = lists.titles.get(picture) or place.title or place.titles.get(named, named)
            _add(place, picture, title, masks, found, tree.blank)


def _add(place: Place, picture: Path, title: str, masks: Iterable[Path], found: Findings, blank: bool) -> None:
    try:
        marks = tuple(Mark(title, MaskFile(mask, place.rule(mask)), header(mask).size) for mask in masks)
        found.pictures.append(Picture(picture, marks, place.held_out, blank="normal" if blank else "broken"))
    except BrokenError as error:
        found.leave(picture, f"its mask {error}", loses=True)


def _masks(tree: Tree, folder: Folder, picture: Path, by_path: dict[str, list[Path]]) -> tuple[Place | None, tuple[Path, ...]]:
    """The place of a picture, and its masks there."""
    path = _bare(folder, picture)
    for place in tree.places:
        match = place.pattern.fullmatch(path)
        if match is None:
            continue
        for pattern in place.masks:
            wanted = pattern.format_map(match.groupdict()).casefold()
            masks = tuple(mask for mask in by_path.get(wanted, ()) if wanted != path.casefold() or _is_beside(mask, picture))
            if masks:
                return place, masks
        return place, ()
    return None, ()


def _bare(folder: Folder, file: Path) -> str:
    """A picture's path from the root without its ending."""
    path = folder.path(file)
    return path.with_suffix("").as_posix() if path.suffix.lower() in EXTENSIONS else path.as_posix()


def _is_beside(mask: Path, picture: Path) -> bool:
    """Whether of two files of one name this is the mask: the picture is JPEG, the mask is not."""
    jpeg = (".jpg", ".jpeg")
    return picture.suffix.lower() in jpeg and mask.suffix.lower() not in jpeg
