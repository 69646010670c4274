"""Measurements of a prepared network, one a file, each a table: where accuracy was lost, and what would bring it back.

switches.py, samples.py   quantizers on and off; the data that is measured on
sqnr.py                   signal over quantization noise, measured and predicted
kappa.py                  decibels that one more bit is worth to a tensor
usage.py                  what a tensor makes of its levels
split.py                  weights, activations, both: accuracy, loss, agreement, SQNR
noise.py                  distortion and noise, and what layers make of them
lipschitz.py              what layers can amplify
sensitivity.py            one tensor at one width
bits.py, allocation.py    bits for every layer within a budget
surface.py                the loss around the weights
temperature.py            error of mixtures against the temperature of their softmax
softness.py               sigmoid quantizers while they are soft and once they are hard
gradients.py              what updates lose under quantized gradients
regions.py                the classes over two inputs, and their noise
trials.py                 remedies without training, tried
findings.py, advice.py    all of it, and the rules that recommend
diagnosis.py, cache.py    everything in order, kept on disk
"""

from lowbit.analysis.allocation import allocate
from lowbit.analysis.diagnosis import Diagnosis, diagnose
from lowbit.analysis.findings import Context

__all__ = ["Context", "Diagnosis", "allocate", "diagnose"]
