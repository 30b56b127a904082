"""The site's home page is the README: links into docs/ become relative to it, and links to other files become text."""

import re
from pathlib import Path
from typing import Any


def on_files(files: Any, config: Any) -> Any:
    """Adds index.md, as a hook of mkdocs."""
    from mkdocs.structure.files import File

    readme = (Path(config.config_file_path).parent / "README.md").read_text(encoding="utf-8")
    home = re.sub(r"\[([^]]*)\]\((?!docs/|https?:)[^)]*\)", r"\1", readme).replace("](docs/", "](")
    files.append(File.generated(config, "index.md", content=home))
    return files
