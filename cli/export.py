"""`melpa export`: a user's adapter as files for mlx-lm, PEFT and other tools."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .console import command, json_out, note, out, size, table
from .options import AllowOtherWeights, Json, Model, User

if TYPE_CHECKING:
    from mlx_melpa.backends.base import BaseModel
    from mlx_melpa.core.layout import Layout
    from mlx_melpa.exports.common import Exported, Metadata
    from mlx_melpa.store import Store, Version
    from mlx_melpa.store.run import Run


@command
def export(
    user: User,
    to_folder: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to write.", show_default=False)],
    to: Annotated[
        Literal["mlx-lm", "peft", "melpa"],
        typer.Option(
            metavar="FORMAT",
            help="mlx-lm: LoRA for mlx-lm; peft: LoRA for PEFT, vLLM and LoRAX; melpa: any adapter with all its state.",
        ),
    ] = "mlx-lm",
    run: Annotated[str | None, typer.Option(help="The run's folder, where it was moved.")] = None,
    model: Model = None,
    allow_other_weights: AllowOtherWeights = False,
    json: Json = False,
) -> None:
    """Write a user's adapter for mlx-lm and other tools, checked by loading it there."""
    from mlx_melpa.exports import KINDS
    from mlx_melpa.personal.resolve import BaseChoice, load_user
    from mlx_melpa.store import Store, check_id

    user, folder = check_id(user), to_folder.expanduser()
    with Store() as store:
        if run is not None:
            _moved(store, user, run)
        found, version = load_user(store, user, BaseChoice(model, allow_other_weights, KINDS[to].engine))
    layout, row = found.problem.acting_layout, found.acting(version.state.rows)
    report = KINDS[to].write(found.setup.model, row, folder, metadata=_metadata(found, version, layout))
    following = _next(report, found.setup.base)
    if json:
        record = {"user": user, "version": version.number, "to": report.to, "out": report.folder, "files": report.files}
        numbers = {"max_difference": report.difference, "largest_logit": report.scale}
        json_out(record | numbers | {"left_out": report.left_out, "next": following})
    else:
        _show(report, user, version.number, following)


def _moved(store: "Store", user: str, run: str) -> None:
    """Tells the store where the version's run lies now."""
    from mlx_melpa.errors import StoreError
    from mlx_melpa.personal.resolve import run_folder
    from mlx_melpa.store.run import fingerprint, register

    folder = run_folder(store, run).resolve()
    found, version = fingerprint(folder), store.latest(user)
    if version is not None and version.run != found:
        raise StoreError(
            f"version {version.number} of '{user}' was adapted with run {version.run or 'none'}, not with {found} "
            f"in {folder}; leave out --run, or give that run's folder"
        )
    register(store, folder)


def _metadata(run: "Run", version: "Version", layout: "Layout") -> "Metadata":
    from mlx_melpa.exports.common import Metadata

    arrays = {name: array for name, array in version.state.arrays().items() if name not in ("rows", "shared")}
    readout = run.setup.recipe.resolved["readout"] or {"kind": run.info["readout"]}
    same = run.problem.decoder is None  # a decoder stays with the run: what is written stands by itself
    return Metadata(layout, version.base, version.run if same else None, readout, version.labels, arrays)


def _next(report: "Exported", base: "BaseModel") -> list[str]:
    import shlex

    model = shlex.quote(str(base.folder) if base.name == "pocket" else base.name)
    folder = shlex.quote(str(report.folder))
    back = f"melpa import --user NAME {folder} --model {shlex.quote(base.name)}"
    if report.to == "melpa":
        return [back]
    if report.to == "peft":
        return [f"vllm serve {model} --enable-lora --lora-modules NAME={folder}"]
    return [f'mlx_lm.generate --model {model} --adapter-path {folder} --prompt "Dear"', back]


def _show(report: "Exported", user: str, number: int, following: list[str]) -> None:
    rows = [(name, size(nbytes)) for name, nbytes in report.files.items()]
    table((f"version {number} of '{user}' in {report.folder}", "size"), rows)
    if report.scale:
        most, of = f"{report.difference:.2g}", f"{report.scale:.3g}"
        out(f"\nLoaded in {report.to}: its logits differ from ours by at most {most} (the largest is {of}).")
    if report.left_out:
        note(f"left out, since {report.to} has no place for it: {', '.join(report.left_out)}")
    out("\nNext:")
    for line in following:
        out(f"  {line}")
