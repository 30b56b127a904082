"""README and docs: links lead somewhere, commands and flags exist, recipes load, and the shell blocks run."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from melpa_cli.main import COMMANDS, load

from mlx_melpa.config.recipe import load_recipe

ROOT = Path(__file__).parents[1]
README, FIRST_STEPS = ROOT / "README.md", ROOT / "docs" / "first-steps.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SMALL = ("train.iterations=1", "train.tasks_per_step=1", "train.validation_episodes=1", "readout.metric=plain")
SHORT = " ".join(["melpa meta-train quickstart --out runs/quickstart/run", *(f"--set {change}" for change in SMALL)])
# Run in place of what is written. The quickstart takes minutes; its run, in short, is also that of the embedded base
# where the README prepares one from the hub, which needs a network.
STAND_INS = {
    "make quickstart": SHORT,
    "melpa quickstart": SHORT,
    "make test": "",  # this is it
    "melpa prepare mlx-community/Qwen3-0.6B-4bit": "",
}
GONE = "melpa bench recommend"  # in docs/results/recommendation.md, with the commit that had it


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    return [body for name, body in FENCED.findall(text(page)) if name == language]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and mkdocs make them."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", text(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCED.sub("", text(page))):
        if not target.startswith(("http:", "https:")):
            path, _, anchor = target.partition("#")
            found = page.parent / path if path else page
            assert found.exists(), f"{target} is not there"
            assert not anchor or anchor in anchors(found), f"{target}: {path or page.name} has no such heading"


def commands(page: Path) -> Iterator[tuple[str, ...]]:
    """The words of each melpa command in a page's code, without what follows in the shell."""
    joined = text(page).replace("\\\n", " ")
    prose = FENCED.sub("", joined)
    code = [body for name, body in FENCED.findall(joined) if name == "sh"]
    code += re.findall(r"^    (.*)$", prose, re.MULTILINE)
    code += [inline.replace("\n", " ") for inline in re.findall(r"`([^`\n]+(?:\n[^`\n]+)?)`", prose)]
    for part in re.split(r"\n| #|&&|\| |;", "\n".join(code)):
        if found := re.search(r"(?<![\w/.-])melpa (.*)", part):
            yield tuple(found[1].split())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_and_flag_exists(page: Path) -> None:
    for words in commands(page):
        if not re.fullmatch("[a-z]+[a-z-]*", words[0]) or " ".join(("melpa", *words)).startswith(GONE):
            continue
        assert words[0] in COMMANDS, words
        command = load(words[0])
        if hasattr(command, "commands") and len(words) > 1 and re.fullmatch("[a-z-]+", words[1]):
            assert words[1] in command.commands, words
            command = command.commands[words[1]]
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        for flag in (word.strip("[]`.,)") for word in words if word.startswith("--")):
            assert flag in known, f"melpa {' '.join(words)}: {flag} is unknown"


def options(command: Any) -> set[str]:
    """All options of a command and of its subcommands."""
    inner = getattr(command, "commands", {}).values()
    return {option for parameter in command.params for option in parameter.opts}.union(*map(options, inner))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_flag_that_stands_alone_is_one_of_some_command(page: Path) -> None:
    known = set[str]().union(*(options(load(name)) for name in COMMANDS))
    alone = re.findall(r"`(--[a-z-]+)", FENCED.sub("", text(page)))
    assert [flag for flag in alone if flag not in known] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_recipe_loads(page: Path, tmp_path: Path) -> None:
    for number, body in enumerate(block for block in blocks(page, "yaml") if "model:" in block):
        (tmp_path / f"{number}.yaml").write_text(body)
        load_recipe(tmp_path / f"{number}.yaml")


def test_the_public_names_are_there() -> None:
    (line,) = re.findall(r"`(from mlx_melpa.api import [^`]+)`", text(README))
    exec(line, {})


@pytest.mark.parametrize("page", [README, FIRST_STEPS], ids=lambda page: page.stem)
def test_every_shell_block_runs_in_an_empty_folder(page: Path, tmp_path: Path) -> None:
    work = tmp_path / "empty"
    work.mkdir()
    if page is README:  # the reader's own files: those of the first steps
        files = re.findall(r"cat > (\S+) <<'END'\n(.*?)^END$", text(FIRST_STEPS), re.MULTILINE | re.DOTALL)
        for name, lines in files:
            assert all(json.loads(line) for line in lines.splitlines())
            (work / name).write_text(lines)
    lines = "".join(blocks(page, "sh")).split("\n")
    script = "\n".join(STAND_INS.get(line.partition("  #")[0].rstrip(), line) for line in lines)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MELPA_HOME": str(tmp_path / "home"),
        "HF_HUB_OFFLINE": "1",
    }
    run = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(run, cwd=work, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (work / "my-adapter" / "adapters.safetensors").is_file()
