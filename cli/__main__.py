"""`python -m melpa_cli`: the command without its script."""

from .main import app

app()
