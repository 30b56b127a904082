"""What torch's engine offers beside gradients."""

import pytest

torch = pytest.importorskip("torch", reason="pip install 'mlx-melpa[torch]'")

from mlx_melpa.backends.torch import ops  # noqa: E402


def test_what_torch_says_when_memory_runs_out_is_known() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50)
    assert ops.out_of_memory(caught.value)
    assert not ops.out_of_memory(RuntimeError("shapes don't match"))
