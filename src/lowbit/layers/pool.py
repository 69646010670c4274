"""Average pooling with one written-down order of additions.

Eval on a float stream: sequential float32 sums in row-major order, then one division. Eval behind a quantizer of its
own: exact integer sums of units, one multiplication by the scale, one division. Training is torch's.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lowbit.infer import window
from lowbit.quantizers.base import Quantizer
from lowbit.quantizers.ste import Replace


def pair(value: Any) -> tuple[int, int]:
    """torch's int-or-pair arguments as a pair."""
    return (int(value[0]), int(value[-1])) if isinstance(value, (tuple, list)) else (int(value), int(value))


class _Pool(nn.Module):
    """What both pools share: an optional quantizer in front, exact eval, training gradient."""

    input_quantizer: Quantizer | None

    def pool(self, x: Tensor) -> Tensor:
        """torch's operation."""
        raise NotImplementedError

    def exactly(self, x: Tensor, scale: Tensor | None) -> Tensor:
        """The same by the eval arithmetic; x holds units if there is a scale."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Pool x [batch, channels, h, w]."""
        q = self.input_quantizer
        if self.training or (q is not None and not q.enabled):
            return self.pool(x if q is None else q(x))
        with torch.no_grad():
            if q is None:
                y = self.exactly(x, None)
            else:
                q.require()
                scales = q.scales(x)
                y = self.exactly(q.units(x, scales)[0], scales[0])
        if torch.is_grad_enabled() and x.requires_grad:
            return Replace.apply(self.pool(x if q is None else q(x)), y)
        return y


class Mean(_Pool):
    """Mean over height and width: AdaptiveAvgPool2d(1) (`keep`) or `x.mean((2, 3))`."""

    def __init__(self, keep: bool = True, input_quantizer: Quantizer | None = None) -> None:
        super().__init__()
        self.keep, self.input_quantizer = keep, input_quantizer

    def pool(self, x: Tensor) -> Tensor:
        """torch's mean."""
        return x.mean((2, 3), keepdim=self.keep)

    def exactly(self, x: Tensor, scale: Tensor | None) -> Tensor:
        """Row-major sum, then one division."""
        flat, count = x.flatten(2), x.shape[2] * x.shape[3]
        total = flat[..., 0]
        for i in range(1, count):
            total = total + flat[..., i]
        y = (total if scale is None else total * scale) / count
        return y[..., None, None] if self.keep else y

    def extra_repr(self) -> str:
        """Shown by print(model)."""
        return f"keep={self.keep}"


class AdaptiveAvgPool2d(_Pool):
    """Average pooling to a fixed output size, exact where that divides the input size (elsewhere torch's own)."""

    def __init__(self, output_size: Any, input_quantizer: Quantizer | None = None) -> None:
        super().__init__()
        self.output_size, self.input_quantizer = output_size, input_quantizer

    def kernel(self, height: int, width: int) -> tuple[int, int] | None:
        """Window that does the same, or None if the windows would differ in size."""
        out = pair(self.output_size) if isinstance(self.output_size, int) else tuple(self.output_size)
        rows, columns = (size if o is None else o for o, size in zip(out, (height, width), strict=True))
        return (height // rows, width // columns) if height % rows == width % columns == 0 else None

    def pool(self, x: Tensor) -> Tensor:
        """torch's pooling."""
        return F.adaptive_avg_pool2d(x, self.output_size)

    def exactly(self, x: Tensor, scale: Tensor | None) -> Tensor:
        """As AvgPool2d with the window that divides the input."""
        kernel = self.kernel(x.shape[2], x.shape[3])
        if kernel is None:
            return self.pool(x if scale is None else x * scale)
        return AvgPool2d(kernel).exactly(x, scale)

    def extra_repr(self) -> str:
        """Shown by print(model)."""
        return f"output_size={self.output_size}"


class AvgPool2d(_Pool):
    """Average pooling with torch's arguments."""

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
        input_quantizer: Quantizer | None = None,
    ) -> None:
        super().__init__()
        self.kernel = pair(kernel_size)
        self.stride = self.kernel if stride is None or stride == () else pair(stride)
        self.padding, self.ceil = pair(padding), ceil_mode
        self.count_pad, self.divisor = count_include_pad, divisor_override
        self.input_quantizer = input_quantizer

    def pool(self, x: Tensor) -> Tensor:
        """torch's pooling."""
        return F.avg_pool2d(x, self.kernel, self.stride, self.padding, self.ceil, self.count_pad, self.divisor)

    def exactly(self, x: Tensor, scale: Tensor | None) -> Tensor:
        """Tap by tap in row-major order; taps outside the input add 0.0, which changes no sum."""
        size = x.shape[2:]
        oh, ow = (window(size[i], self.kernel[i], self.stride[i], self.padding[i], 1, self.ceil) for i in (0, 1))
        extra = [max(0, (n - 1) * s + k - size[i] - p) for i, (n, s, k, p) in
                 enumerate(zip((oh, ow), self.stride, self.kernel, self.padding, strict=True))]  # fmt: skip
        padded = F.pad(x, (self.padding[1], extra[1], self.padding[0], extra[0]))
        total = None
        for i in range(self.kernel[0]):
            for j in range(self.kernel[1]):
                rows = slice(i, i + (oh - 1) * self.stride[0] + 1, self.stride[0])
                columns = slice(j, j + (ow - 1) * self.stride[1] + 1, self.stride[1])
                tap = padded[:, :, rows, columns]
                total = tap if total is None else total + tap
        assert total is not None
        if scale is not None:
            total = total * scale
        return total / (self.divisor or self._counts(size, (oh, ow)).to(total))

    def _counts(self, size: Any, out: tuple[int, int]) -> Tensor:
        """Divisor of every window, [oh, ow]: real taps, with `count_pad` also the declared padding."""
        sides = []
        for i in (0, 1):
            start = torch.arange(out[i]) * self.stride[i] - self.padding[i]
            stop = start + self.kernel[i]
            sides.append(
                stop.clamp_max(size[i] + self.padding[i]) - start if self.count_pad
                else stop.clamp_max(size[i]) - start.clamp_min(0)
            )  # fmt: skip
        return sides[0][:, None] * sides[1]

    def extra_repr(self) -> str:
        """Shown by print(model)."""
        return f"kernel={self.kernel}, stride={self.stride}, padding={self.padding}"
