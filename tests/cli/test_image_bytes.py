"""Images of a data set as the bytes that they were."""

from dataclasses import replace

import pytest
import torch

from lowbit.cli.image_bytes import bytes_of, pixels_of
from lowbit.data import load
from lowbit.errors import InvalidInput


@pytest.mark.parametrize("normalize", [False, True])
def test_bytes_are_those_the_floats_were_made_of(normalize):
    data = load("digits").normalized() if normalize else load("digits")
    found = bytes_of(data, data.test_x)
    assert found.max() == 16
    assert torch.equal(pixels_of(data)(found), data.test_x)


def test_data_that_were_no_pixels_are_refused():
    data = load("rings")
    with pytest.raises(InvalidInput, match="'rings' has no uint8 pixels; leave out --pixels"):
        bytes_of(data, data.test_x)


def test_images_that_were_changed_are_refused():
    data = load("digits")
    changed = replace(data, test_x=data.test_x + 0.01)
    with pytest.raises(InvalidInput, match="images are not"):
        bytes_of(changed, changed.test_x)
