"""What is fused computes the same, compiled or not."""

import logging
import subprocess
import sys

import pytest
import torch

from hetagent.learn.tune.fusing import compiler, fused, fusing

SCRIPT = """
import torch
from hetagent.learn.tune.fusing import fusing
from hetagent.learn.tune.kernels import turned

torch.manual_seed(1)
cosine, sine = torch.randn(4, 3), torch.randn(4, 3)
for rows in (2, 5):
    x = torch.randn(rows, 4, 6)
    with fusing(True):
        found = turned(x, cosine, sine)
    torch.testing.assert_close(found, turned(x, cosine, sine))
print(torch._dynamo.utils.counters["stats"]["unique_graphs"])
"""


@pytest.mark.skipif(compiler() is None, reason="there is no C++ compiler")
def test_compiled_it_is_the_same():
    # Of its own process: compiling imports what changes how packages are imported.
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) >= 1
    assert "Training is slower" not in run.stderr


def test_what_cannot_be_compiled_runs_as_it_is(monkeypatch, caplog):
    def broken(function, **_):
        def run(*_):
            raise RuntimeError("no compiler")

        return run

    monkeypatch.setattr(torch, "compile", broken)
    double = fused(lambda x: x * 2)
    with fusing(True), caplog.at_level(logging.WARNING):
        assert double(3) == 6
        assert double(4) == 8
    assert [one.message for one in caplog.records] == [
        "Training is slower: PyTorch cannot compile here (no compiler)."
    ]


def test_an_error_of_the_function_itself_is_raised():
    @fused
    def wrong(x):
        raise ValueError(x)

    with pytest.raises(ValueError, match="3"):
        wrong(3)
    with fusing(False), pytest.raises(ValueError, match="4"):
        wrong(4)
