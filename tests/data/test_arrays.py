import numpy as np

from digitjax.data.arrays import ALL, Part


def test_every_part_has_its_own_blocks():
    for n in (0, 5, 4_096, 55_000, 240_000):
        whole = ALL.blocks(n)
        assert [start for _, start, _ in whole[1:]] == [stop for _, _, stop in whole[:-1]]
        assert (whole[0][1], whole[-1][2]) == (0, n)
        for count in (2, 3, 50):
            assert [block for i in range(count) for block in Part(i, count).blocks(n)] == whole


def test_a_part_knows_its_images():
    assert np.array_equal(ALL.indices(10_000), np.arange(10_000))
    assert np.concatenate([Part(i, 3).indices(50_000) for i in range(3)]).tolist() == list(range(50_000))
    assert Part(1, 2).indices(100).tolist() == list(range(100))  # of one block, the last part takes all
