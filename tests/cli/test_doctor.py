"""`melpa doctor`: what it reports, and each cure."""

import json
import sys
from pathlib import Path

import pytest
from melpa_cli.main import app
from typer.testing import CliRunner

from mlx_melpa.backends.mlx import blas, doctor

FINE = {"python": "3.11", "mlx": "1"}


def test_the_report_as_json(tmp_path, monkeypatch):
    monkeypatch.setenv("MELPA_HOME", str(tmp_path / "new" / "store"))
    done = CliRunner().invoke(app, ["doctor", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["store"] == str(tmp_path / "new" / "store")
    assert found["store_writable"] is True
    assert not (tmp_path / "new").exists()
    assert set(found["versions"]) == {"python", "mlx-melpa", "mlx", "mlx-lm", "transformers"}
    assert found["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert 0 < found["memory_available"] <= found["memory_total"]
    assert found["gflops"] > 1
    assert found["blas"] == blas.name()


def test_the_report_for_people(tmp_path, monkeypatch):
    monkeypatch.setenv("MELPA_HOME", str(tmp_path))
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 0, done.output
    assert "GFLOP/s (fp32)" in done.stdout
    assert f"{tmp_path} (writable)" in done.stdout
    assert ("BLAS" in done.stdout) == (sys.platform != "darwin")


@pytest.mark.parametrize(
    ("loaded", "cure"),
    [
        ("reference (slow)", "matrix products run at 8 GFLOP/s; run: pip install mkl"),
        ("libmkl_rt.so.3", "matrix products run at 8 GFLOP/s; stop what else uses the processor"),
    ],
)
def test_a_slow_product_has_a_cure_on_linux(loaded, cure, tmp_path, monkeypatch):
    monkeypatch.setattr(blas, "wanted", lambda: True)
    (found,) = doctor.cures(8.0, 2, loaded, tmp_path, FINE)
    assert found.startswith(cure)
    assert doctor.cures(50.0, 2, loaded, tmp_path, FINE) == ()
    assert doctor.cures(100.0, 64, loaded, tmp_path, FINE) == ()


def test_nothing_is_said_of_a_blas_where_none_is_wanted(tmp_path, monkeypatch):
    monkeypatch.setattr(blas, "wanted", lambda: False)
    assert doctor.cures(8.0, 2, "Accelerate", tmp_path, FINE) == ()


def test_a_missing_package_and_a_store_that_is_a_file_have_cures(tmp_path):
    (tmp_path / "file").write_text("")
    found = doctor.cures(999.0, 2, "", tmp_path / "file" / "store", {"mlx-lm": None})
    assert found == (
        "mlx-lm is missing; run: pip install mlx-lm",
        f"the store {tmp_path / 'file' / 'store'} can't be written; set MELPA_HOME to a folder that can",
    )
    assert doctor.writable(Path(tmp_path / "a" / "b"))
