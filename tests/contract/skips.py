"""Clauses that a method does not keep, each with the reason."""

SKIPS: dict[tuple[str, str], str] = {
    ("pact-sawb", "check_not_calibrated_raises"): "messages name the method that it builds",
    ("pact-sawb", "check_idempotence"): "as sawb: an estimate of x",
    ("sawb", "check_idempotence"): "the closed form and the minimiser are estimates of x",
    ("binaryconnect", "check_zeros_stay_zero"): "without a scale, sgn(0) = +1",
    ("binaryconnect-stochastic", "check_zeros_stay_zero"): "without a scale, zero is +1 or -1",
    ("dorefa", "check_idempotence"): "tanh is applied again",
    ("xnor", "check_zeros_stay_zero"): "activations have no scale, sgn(0) = +1",
    ("xnor++", "check_zeros_stay_zero"): "without a scale, sgn(0) = +1",
    ("xnor++", "check_surrogate_gradient"): "Gamma acts on the layer's output: tests/quantizers/test_planes.py",
    ("abc", "check_idempotence"): "bases and fit are estimates of x",
    ("abc", "check_zeros_stay_zero"): "activations: levels are sums of trained scales, 0 need not be one",
    ("abc", "check_gradient_passes_through_zeros"): "its gradient is g * sum alpha, and alpha is 0",
    ("lq", "check_channel_equals_tensor_on_each_slice"): "QEM starts at a basis that depends on the number of filters",
    ("sigmoid", "check_idempotence"): "biases lie between k-means centers, not between levels",
    ("sigmoid", "check_gradient_passes_through_zeros"): "its gradient is proportional to the scale, which is 0",
    ("sign", "check_zeros_stay_zero"): "without a scale, sgn(0) = +1",
}
