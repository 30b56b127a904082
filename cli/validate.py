"""`melpa validate`: checks a recipe and prints every setting."""

import typer

from .console import command, json_out, out
from .options import Json, RecipeName, Sets


@command
def validate(
    recipe: RecipeName,
    sets: Sets = None,
    json: Json = False,
) -> None:
    """Check a recipe and print every setting, or every fault."""
    from mlx_melpa.config.recipe import InvalidRecipe, load_recipe
    from mlx_melpa.errors import RecipeError

    try:
        read = load_recipe(recipe, sets or ())
    except RecipeError as error:
        if not json:
            raise
        faults = error.faults if isinstance(error, InvalidRecipe) else []
        errors = [{"file": f.place.source, "line": f.place.line, "key": f.key, "message": f.message} for f in faults]
        json_out({"valid": False, "errors": errors or [{"message": str(error)}]})
        raise typer.Exit(1) from None
    if json:
        json_out({"valid": True, "recipe": read.resolved})
    else:
        out(read.dump().rstrip())
