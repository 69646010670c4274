"""Clauses that a method does not keep, each with the reason."""

SKIPS: dict[tuple[str, str], str] = {
    ("sawb", "check_idempotence"): "the closed form and the minimiser are estimates of x: METHODS section 1",
    ("sign", "check_zeros_stay_zero"): "without a scale, sgn(0) = +1",
}
