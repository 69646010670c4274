"""Settings that every test shares."""

import os
import signal

# A shell that starts a job in the background has it ignore Ctrl-C; tests of interrupts, here and in processes that they
# start, need the usual behaviour.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Two workers share two cores: more threads only fight, and results must not depend on their number.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import torch  # noqa: E402

torch.set_num_threads(1)

from lowbit.runtime import _kernels  # noqa: E402

# Steps of small networks are not worth a second thread, but have to be right with one.
_kernels.split_from(0)
