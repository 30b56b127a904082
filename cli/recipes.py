"""`melpa recipes`: lists the packaged recipes, prints one, copies one."""

from pathlib import Path
from typing import Annotated

import typer

from .console import command, json_out, note, out, table
from .options import Json


@command
def recipes(
    name: Annotated[str | None, typer.Argument(help="A packaged recipe; without it, all are listed.")] = None,
    copy: Annotated[Path | None, typer.Option(metavar="DEST", help="Copy the recipe to a file or folder.")] = None,
    json: Json = False,
) -> None:
    """List the packaged recipes, print one, or copy one to change it."""
    from mlx_melpa.config.recipe import packaged
    from mlx_melpa.errors import RecipeError

    if name is None:
        if copy is not None:
            raise RecipeError("--copy needs the name of a recipe: melpa recipes quickstart --copy my.yaml")
        listed = [{"name": name, "about": _first_line(path)} for name, path in packaged().items()]
        if json:
            json_out(listed)
        else:
            table(["recipe", "about"], [(item["name"], item["about"]) for item in listed])
        return
    _one(name, copy, json)


def _one(name: str, copy: Path | None, json: bool) -> None:
    from mlx_melpa.config.recipe import packaged
    from mlx_melpa.config.schema import did_you_mean
    from mlx_melpa.errors import RecipeError

    if name not in packaged():
        raise RecipeError(f"no recipe '{name}'{did_you_mean(name, packaged())}")
    text = packaged()[name].read_text(encoding="utf-8")
    to = None if copy is None else _copy(text, copy / f"{name}.yaml" if copy.is_dir() else copy)
    if json:
        json_out({"name": name, "text": text, "copied_to": to})
    elif to is None:
        out(text.rstrip())
    else:
        note(f"copied to {to}; next: melpa validate {to}")


def _copy(text: str, to: Path) -> Path:
    from mlx_melpa.errors import RecipeError

    try:
        with to.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise RecipeError(f"{to} is there already; name another file") from None
    except OSError as error:
        raise RecipeError(f"can't write {to}: {error.strerror}") from None
    return to


def _first_line(path: Path) -> str:
    first = path.read_text(encoding="utf-8").split("\n", 1)[0]
    return first.removeprefix("#").strip()
