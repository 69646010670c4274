"""Every procedure of a schedule with a network it works on, for the tests that hold for all of them."""

LSQ = {"weight": "lsq:2", "activation": "lsq:2"}

CASES = {
    "distill": (LSQ, {}),
    "two-stage": (LSQ, {}),
    "progressive": ({**LSQ, "add": "lsq:3"}, {"bits": [8, 4, 2]}),
}
"""name: (methods, settings)."""
