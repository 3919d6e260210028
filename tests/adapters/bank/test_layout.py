"""A row and the tensors in it."""

import torch

from vxlab.adapters.bank import RowLayout

SHAPES = {"query.A": (2, 3), "query.scale": (), "classifier.bias": (4,)}


def test_what_is_packed_is_unpacked():
    layout = RowLayout.of_shapes(SHAPES, torch.float32)
    tensors = {name: torch.randn(shape) for name, shape in SHAPES.items()}
    row = layout.pack(dict(reversed(tensors.items())), "these")
    assert (layout.width, layout.row_bytes, row.shape) == (11, 44, (11,))
    assert all(torch.equal(each, tensors[name]) for name, each in layout.unpack(row).items())


def test_many_rows_are_unpacked_as_views():
    layout = RowLayout.of_shapes(SHAPES, torch.bfloat16)
    rows = torch.randn(5, 11).bfloat16()
    found = layout.unpack(rows)
    assert {name: tuple(each.shape) for name, each in found.items()} == {
        "query.A": (5, 2, 3),
        "query.scale": (5,),
        "classifier.bias": (5, 4),
    }
    assert torch.equal(found["query.A"][3].flatten(), rows[3, :6])
    assert all(each.untyped_storage().data_ptr() == rows.untyped_storage().data_ptr() for each in found.values())


def test_names_and_offsets_follow_the_order_of_the_tensors():
    places = RowLayout.of_shapes(SHAPES, torch.float32).places
    assert [place.name for place in places] == list(SHAPES)
    assert [place.offset for place in places] == [0, 6, 7]
    assert RowLayout.of_shapes({}, torch.float32).width == 0
