"""Who runs a float network, and that the row says why where it is not onnxruntime."""

import numpy as np
import pytest
import torch
from torch import nn

from lowbit.report import timing
from lowbit.report.timing import NO_ORT, ORT, TORCH, float_entrant, timed

IMAGES = np.ones((4, 3), dtype=np.float32)


def test_onnxruntime_where_it_is_installed(tmp_path):
    pytest.importorskip("onnxruntime")
    entered = float_entrant(nn.Linear(3, 2).eval(), IMAGES, tmp_path, 32)
    assert (entered.by, entered.reason) == (ORT, None)
    (numbers,) = timed([entered], seconds=0.01)
    assert numbers["us_1"] > 0 and numbers["over_float"] == pytest.approx(1)


def test_without_onnxruntime_the_row_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(timing, "onnxruntime_installed", lambda: False)
    entered = float_entrant(nn.Linear(3, 2).eval(), IMAGES, tmp_path, 32)
    assert (entered.by, entered.reason) == (TORCH, NO_ORT)
    assert timed([entered], seconds=0.01)[0]["us_64"] > 0


def test_a_network_without_an_onnx_form_says_so(tmp_path, monkeypatch):
    def refuse(*_):
        raise torch.onnx.OnnxExporterError("no operator for this\nand more lines")

    monkeypatch.setattr(timing, "onnxruntime_installed", lambda: True)
    monkeypatch.setattr(timing, "export_torch", refuse)
    entered = float_entrant(nn.Linear(3, 2).eval(), IMAGES, tmp_path, 32)
    assert entered.by == TORCH and entered.reason == "has no ONNX form for onnxruntime (no operator for this)"
