"""Find the columns of a table of images, under the names that other tools give them too."""

from collections.abc import Collection, Iterable, Mapping

from holotype.errors import InvalidTable

_FILE_NAMES = (
    "filepath", "filename", "file", "image", "imagepath", "imagefile", "imagefilename", "imagename",
    "img", "imgpath",
)  # fmt: skip
_ID_NAMES = ("imageid", "imgid", "id")
_INDIVIDUAL_NAMES = ("individualid", "identity")
_CLASS_NAMES = ("labels", "class", "classname", "category", "categoryname", "species", "target")

# What else a column is called, without capitals, blanks, underscores and hyphens. An id counts only
# where no column names files.
OTHER_NAMES: dict[str, tuple[tuple[str, ...], ...]] = {
    "path": (_FILE_NAMES, _ID_NAMES),
    "label": ((*_CLASS_NAMES, "individual", *_INDIVIDUAL_NAMES),),
    "individual": (_INDIVIDUAL_NAMES,),
    "encounter": (("encounterid",),),
}
_AS_WRITTEN = ("weight",)  # a column Weight may be that of the animals


def find_columns(
    source: str, columns: Collection[str], wanted: Iterable[str], taken: Collection[str] = ()
) -> dict[str, str]:
    """What is wanted -> the column that has it; what no column has is absent.

    A column of the very name comes first, then one that differs in capitals, blanks, underscores or
    hyphens only (but for weights), then one of `OTHER_NAMES`.

    Args:
        source: the table, for messages.
        wanted: names as Holotype writes them: path, label, …
        taken: columns with another meaning.

    Raises:
        InvalidTable: two columns could be meant.
    """
    found = {}
    for name in wanted:
        if name in columns:
            found[name] = name
            continue
        folded = () if name in _AS_WRITTEN else (_folded(name),)
        for names in (folded, *OTHER_NAMES.get(name, ())):
            meant = [each for each in columns if _folded(each) in names and each not in taken]
            if len(meant) > 1:
                option = f", or say --label-pattern column:{meant[0]}" if name == "label" else ""
                raise InvalidTable(
                    f"{source}: {' and '.join(map(repr, meant))} could each be the column "
                    f"{name!r}; rename the right one to {name}{option}."
                )
            if meant:
                found[name] = meant[0]
                break
    return found


def column_notes(found: Mapping[str, str]) -> tuple[str, ...]:
    """A sentence that says which columns were taken under another name; none where none was."""
    named = [f"{name} from the column {column!r}" for name, column in found.items()
             if name != column]  # fmt: skip
    return (f"{', '.join(named)}.",) if named else ()


def has_path_column(columns: Iterable[str]) -> bool:
    """Whether a column of a header could be that of the paths."""
    known = {"path"}.union(*OTHER_NAMES["path"])
    return any(_folded(name) in known for name in columns)


def known_names(name: str) -> str:
    """The names that a column may have, for a message."""
    return ", ".join([name, *(other for names in OTHER_NAMES[name] for other in names)])


def _folded(name: str) -> str:
    return "".join(name.lower().replace("_", " ").replace("-", " ").split())
