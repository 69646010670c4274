import subprocess
import sys

import pytest

from lowbit.data import import_torchvision, torchvision_import
from lowbit.errors import MissingExtra


def test_models_and_transforms_import() -> None:
    assert import_torchvision("models").resnet18 is not None
    assert import_torchvision("transforms").Compose is not None
    assert import_torchvision() is import_torchvision()


def test_works_in_a_fresh_process_in_either_order() -> None:
    code = (
        "from lowbit.data import import_torchvision\n"
        "import_torchvision('datasets')\n"
        "import torchvision, torch\n"
        "assert hasattr(torch.ops.torchvision, 'nms')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_without_torchvision_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.setattr(torchvision_import.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'lowbit\[train\]'"):
        import_torchvision()
