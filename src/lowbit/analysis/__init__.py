"""Measurements of a prepared network, one a file, each a table: where accuracy was lost, and what would bring it back.

switches.py, samples.py   quantizers on and off; the data that is measured on
sqnr.py                   signal over quantization noise, measured and predicted
kappa.py                  decibels that one more bit is worth to a tensor
usage.py                  what a tensor makes of its levels
"""
