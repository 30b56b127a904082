"""Meta-training beside PEFT on torch: both do the same work, and a difference is an error."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from mlx_melpa.benchmarks.speed.meta_iteration import agreement, measure
from mlx_melpa.benchmarks.speed.settings import Settings
from mlx_melpa.errors import MelpaError


@pytest.mark.slow
def test_the_short_form(shared: Path) -> None:
    for module in ("torch", "transformers", "peft", "torchopt"):
        pytest.importorskip(module, reason="pip install 'mlx-melpa[bench]'")
    told = Settings(str(shared / "models" / "stories260k"), ("peft",), repeats=1, short=True)
    found = measure(told, lambda *_: None)
    assert set(found) == {"fomaml", "maml"}
    for cell in found.values():
        assert cell["ratio"] == pytest.approx(cell["ours"] / cell["peer"])
        assert cell["loss_difference"] < 1e-4
        assert 0 < cell["gradient_difference"] < 1e-4


def test_no_peer_no_work() -> None:
    assert measure(Settings(peers=("mlx-lm",)), lambda *_: None) == {}


def test_other_work_is_refused(tmp_path: Path) -> None:
    weights = {"0.q.lora_a": np.ones((2, 3), np.float32), "0.q.lora_b": np.ones((3, 2), np.float32)}
    save_file(weights, tmp_path / "gradient.safetensors")
    save_file(weights, tmp_path / "gradient_peft.safetensors")
    assert agreement(tmp_path, 2.0, 2.0005)["loss_difference"] == pytest.approx(5e-4)
    with pytest.raises(MelpaError, match=r"query losses 2\.0+ and 2\.01"):
        agreement(tmp_path, 2.0, 2.01)
    save_file({**weights, "0.q.lora_b": np.full((3, 2), 1.01, np.float32)}, tmp_path / "gradient_peft.safetensors")
    with pytest.raises(MelpaError, match="meta-gradients"):
        agreement(tmp_path, 2.0, 2.0)
    save_file({"0.q.lora_a": weights["0.q.lora_a"]}, tmp_path / "gradient_peft.safetensors")
    with pytest.raises(MelpaError, match="different sites"):
        agreement(tmp_path, 2.0, 2.0)
