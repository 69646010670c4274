import pytest
from torch import nn

from lowbit.models import FCDNN, CifarResNet, MobileNetV2, ResNet18, resnet8, resnet20


def count(model: nn.Module, statistics: bool = False) -> int:
    total = sum(parameter.numel() for parameter in model.parameters())
    if statistics:
        total += sum(b.numel() for name, b in model.named_buffers() if "num_batches" not in name)
    return total


CIFAR = {
    "basic": {
        (59, 1): 1_043_779,
        (40, 2): 1_087_090,
        (31, 3): 1_018_019,
        (24, 5): 1_047_874,
        (20, 7): 1_031_950,
        (18, 9): 1_082_332,
    },
    "pre-act": {
        (59, 1): 1_043_071,
        (40, 2): 1_086_610,
        (31, 3): 1_017_647,
        (24, 5): 1_047_586,
        (20, 7): 1_031_710,
        (18, 9): 1_082_116,
    },
    "depthwise": {
        (38, 3): 1_086_392,
        (32, 4): 1_055_274,
        (26, 6): 1_077_788,
        (22, 8): 1_051_896,
        (18, 12): 1_086_004,
    },
}


@pytest.mark.parametrize(
    ("block", "width", "blocks", "expected"),
    [(block, *size, expected) for block, rows in CIFAR.items() for size, expected in rows.items()],
)
def test_cifar_resnet(block: str, width: int, blocks: int, expected: int) -> None:
    assert count(CifarResNet(width, blocks, block)) == expected


# Boo et al., Table 5, prints these in millions, running statistics included.
@pytest.mark.parametrize(
    ("width", "blocks", "printed"),
    [(38, 3, 1.1077), (32, 4, 1.0790), (26, 6, 1.1065), (22, 8, 1.0842), (18, 12, 1.1256)],
)
def test_depthwise_as_the_paper_counts(width: int, blocks: int, printed: float) -> None:
    assert count(CifarResNet(width, blocks, "depthwise"), statistics=True) / 1e6 == pytest.approx(printed, abs=6e-5)


@pytest.mark.parametrize(
    ("width", "depth", "expected"),
    [
        (200, 4, 81_402),
        (128, 6, 66_690),
        (128, 3, 17_154),
        (128, 4, 33_666),
        (256, 3, 67_074),
        (128, 8, 99_714),
    ],
)
@pytest.mark.parametrize("residual", [False, True])
def test_fcdnn(width: int, depth: int, expected: int, residual: bool) -> None:
    assert count(FCDNN(width, depth, residual=residual)) == expected


@pytest.mark.parametrize(
    ("width", "expected"),
    [(1.0, 2_236_682), (0.75, 1_368_234), (0.5, 700_490), (0.35, 408_938), (0.25, 250_922)],
)
def test_mobilenet_v2(width: float, expected: int) -> None:
    assert count(MobileNetV2(width)) == expected


def test_mobilenet_v2_for_imagenet() -> None:
    assert count(MobileNetV2(classes=1000, stem_stride=2)) == 3_504_872


@pytest.mark.parametrize(("classes", "expected"), [(10, 11_173_962), (100, 11_220_132)])
def test_resnet18(classes: int, expected: int) -> None:
    assert count(ResNet18(classes=classes)) == expected


def test_small_resnets() -> None:
    assert count(resnet8()) == 77_754
    assert count(resnet8(in_channels=3)) == 78_042
    # He et al. print 0.27 million for option A.
    assert count(CifarResNet(16, 3, shortcut="zero-pad")) == 269_722
    assert count(resnet20()) == 272_474
