"""Every procedure of a schedule with a network it works on, for the tests that hold for all of them."""

LSQ = {"weight": "lsq:2", "activation": "lsq:2"}

CASES = {
    "distill": (LSQ, {}),
    "two-stage": (LSQ, {}),
    "progressive": ({**LSQ, "add": "lsq:3"}, {"bits": [8, 4, 2]}),
    "loss-aware": ({"weight": "laq:3", "activation": "lsq:3"}, {}),
    "inq": ({"weight": "inq:4", "activation": "lsq:3"}, {}),
    "admm": ({"weight": "admm:2", "activation": "lsq:3"}, {"tune": 0.25}),
    "hwang-sung": ({"weight": "l2:2", "activation": "lsq:3"}, {"images": 48}),
    "shin": ({"weight": "l2:2", "activation": "lsq:2"}, {"gradual": [4, 2]}),
    "bit-learning": (
        {"weight": "bitpruning:8", "activation": "dqdnn:6"},
        {"gamma": 0.1, "size": 300, "freeze_at": 0.5},
    ),
}
"""name: (methods, settings)."""
