import pytest
import torch

from reshim.acquire import Scheme, measure, reference
from reshim.errors import BadScanError
from reshim.physics.maps import default_estimator
from reshim.physics.masks import evaluation_seed
from reshim.training.cache import Cache
from reshim.training.examples import Examples
from reshim.training.features import features
from reshim.training.pool import Pool
from reshim.training.sampling import Group
from reshim.training.train import statistics_of


def examples(toy, pool, *, fixed=False, **changes):
    records = (toy.record("a", 3), toy.record("b", 2))
    for record in records:
        pool.prepare(record, "mvue")
    return Examples.of(pool, [Group("all", records)], toy.settings(**changes), fixed=fixed)


def test_training_masks_are_new_each_epoch_and_belong_to_the_slice(toy):
    source = examples(toy, toy.pool(), schemes=(Scheme(acceleration=4, center_lines=4),))
    masks = {epoch: source.build((0, 1), epoch).measurement.mask for epoch in range(6)}
    assert len({mask[0].numpy().tobytes() for mask in masks.values()}) > 1
    assert any(not torch.equal(mask[0], mask[1]) for mask in masks.values())
    for epoch, mask in masks.items():
        assert torch.equal(source.build((1,), epoch).measurement.mask[0], mask[1])


def test_slices_as_scanned_share_the_mask_and_the_scheme_of_their_scan(toy):
    schemes = tuple(Scheme(acceleration=rate, center_lines=4 * rate) for rate in (2, 4))
    found = set()
    for seed in range(8):
        source = examples(toy, toy.pool(), schemes=schemes, seed=seed)
        masks = [source.as_scanned(index).mask for index in range(5)]
        assert all(torch.equal(mask, masks[0]) for mask in masks[:3])
        assert torch.equal(masks[3], masks[4])
        found.add((masks[0].sum().item(), masks[3].sum().item()))
    assert len(found) == 4, "either scan is under either scheme"
    fixed = examples(toy, toy.pool(), fixed_mask=True)
    assert torch.equal(fixed.as_scanned(0).mask, fixed.build((0,), 0).measurement.mask)


def test_statistics_are_of_scans_under_one_mask_each(toy):
    source = examples(toy, toy.pool(), schemes=(Scheme(acceleration=4, center_lines=4),))
    rows = torch.cat([features(source.as_scanned(index)) for index in range(5)])
    known = statistics_of(source)
    torch.testing.assert_close(known.mean, rows.mean(0))
    masks_of_slices = torch.cat([features(source.build((index,), 0).measurement) for index in range(5)])
    assert not torch.allclose(masks_of_slices.mean(0), rows.mean(0))


def test_validation_masks_are_those_of_evaluation(toy):
    source = examples(toy, toy.pool(), fixed=True)
    expected = measure(toy.read(toy.record("b", 2)), toy.SCHEME, evaluation_seed("b.h5")).mask
    for epoch in (0, 5):
        mask = source.build((3, 4), epoch).measurement.mask
        assert torch.equal(mask, expected.expand_as(mask))


def test_maps_of_the_pool_are_those_of_the_measurement_itself(toy):
    source = examples(toy, toy.pool())
    for epoch in (0, 1):
        measurement = source.build((0, 3), epoch).measurement
        for index in range(2):
            own = default_estimator(
                measure(toy.read(toy.record("ab"[index], 3), (0,)), toy.SCHEME, epoch)
            ).maps
            torch.testing.assert_close(measurement.maps[index], own[0], rtol=1e-5, atol=1e-6)


def test_references_are_those_of_the_scan_and_their_range_is_the_volumes(toy):
    source = examples(toy, toy.pool())
    example = source.build((4, 0), 0)
    for index, (name, number, n_slices) in enumerate([("b", 1, 2), ("a", 0, 3)]):
        whole = reference(toy.read(toy.record(name, n_slices)), "mvue")
        torch.testing.assert_close(example.reference.image[index], whole[number], rtol=1e-5, atol=1e-6)
        assert example.reference.data_range[index].item() == pytest.approx(whole.max().item(), rel=1e-5)


def test_a_pool_without_room_gives_the_same_examples(toy):
    roomy, cramped = toy.pool(), Pool(read=toy.read, max_bytes=0)
    one, other = (examples(toy, pool).build((0, 1, 4), 2) for pool in (roomy, cramped))
    torch.testing.assert_close(one.measurement.kspace, other.measurement.kspace)
    torch.testing.assert_close(one.measurement.maps, other.measurement.maps)
    torch.testing.assert_close(one.reference.image, other.reference.image)
    assert cramped.n_bytes == 0
    assert roomy.n_bytes > 0


def test_a_prepared_scan_is_read_once(toy):
    read = []

    def counted(of, slices=None):
        read.append(of.scan_id)
        return toy.read(of, slices)

    pool = Pool(read=counted)
    for _ in range(2):
        source = examples(toy, pool)
        for epoch in range(2):
            source.build((0, 3), epoch)
    assert read == ["a", "b"]


def test_a_limit_spreads_the_slices_evenly(toy):
    pool = toy.pool()
    record = toy.record("a", 9)
    pool.prepare(record, "mvue")
    source = Examples.of(pool, [Group("all", (record,))], toy.settings(), limit=3)
    assert [number for _, number in source.entries] == [0, 4, 8]


def test_a_clean_reference_that_is_not_there_is_named(toy):
    pool = Pool(read=toy.read, read_reference=lambda *_: None)
    with pytest.raises(BadScanError, match="clean"):
        pool.prepare(toy.record("a"), "clean")


def test_of_several_schemes_each_batch_draws_one(toy):
    schemes = tuple(Scheme(acceleration=rate, center_lines=4 * rate) for rate in (2, 4))
    source = examples(toy, toy.pool(), schemes=schemes)
    lines = {source.build((0, 1), epoch).measurement.calibration.shape[1] for epoch in range(12)}
    assert lines == {8, 16}


def equal(one, other):
    return (
        torch.equal(one.measurement.kspace, other.measurement.kspace)
        and torch.equal(one.measurement.maps, other.measurement.maps)
        and torch.equal(one.reference.image, other.reference.image)
        and torch.equal(one.reference.data_range, other.reference.data_range)
    )


BATCHES = [(0, 1, 4), (2, 3), (4, 2), (0, 3, 1)]


def test_batches_from_disk_are_those_from_memory_to_the_bit(toy, tmp_path, monkeypatch):
    roomy = examples(toy, toy.pool())
    cramped = examples(toy, Pool(read=toy.read, max_bytes=0, cache=Cache(tmp_path, 2**30)))
    for epoch in range(2):
        for batch in BATCHES:
            assert equal(roomy.build(batch, epoch), cramped.build(batch, epoch))
    # A run that goes on, in a new process, finds what the first one made.
    made = []
    monkeypatch.setattr("reshim.training.pool.reference", lambda *_: made.append("reference"))
    monkeypatch.setattr("reshim.training.pool.measure", lambda *_: made.append("maps"))
    again = examples(toy, Pool(read=toy.read, max_bytes=0, cache=Cache(tmp_path, 2**30)))
    for batch in BATCHES:
        assert equal(roomy.build(batch, 1), again.build(batch, 1))
    assert made == []


def test_a_cache_keeps_to_its_bound_and_names_what_made_it(toy, tmp_path):
    cache = Cache(tmp_path / "prepared", 20_000)
    examples(toy, Pool(read=toy.read, max_bytes=0, cache=cache)).build((0, 1), 0)
    files = list((tmp_path / "prepared").glob("*/*"))
    assert 0 < sum(path.stat().st_size for path in files) == cache.n_bytes <= 20_000
    assert Cache(tmp_path / "prepared", 20_000).n_bytes == cache.n_bytes
    # Of another pool's making none is taken.
    other = Pool(read=toy.read, max_bytes=0, cache=cache, remove_oversampling=False)
    record = toy.record("a", 3)
    assert other._cached(*other._of_maps(record, 0, 10)) is None
    cache.remove()
    assert not (tmp_path / "prepared").exists()


def test_a_damaged_file_is_made_again(toy, tmp_path):
    roomy = examples(toy, toy.pool()).build((0, 1), 0)
    pool = Pool(read=toy.read, max_bytes=0, cache=Cache(tmp_path, 2**30))
    source = examples(toy, pool)
    source.build((0, 1), 0)
    for path in tmp_path.glob("*/*.npy"):
        path.write_bytes(path.read_bytes()[:100])
    assert equal(roomy, source.build((0, 1), 0))


def test_a_full_disk_ends_the_keeping_and_not_the_run(toy, tmp_path, caplog, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("reshim.training.cache.np.save", full)
    pool = Pool(read=toy.read, max_bytes=0, cache=Cache(tmp_path, 2**30))
    assert equal(examples(toy, pool).build((0, 1), 0), examples(toy, toy.pool()).build((0, 1), 0))
    assert len([line for line in caplog.messages if "takes no more" in line]) == 1
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_pool_says_what_is_beyond_it(toy):
    roomy, cramped = toy.pool(), Pool(read=toy.read, max_bytes=2**16)
    for pool in (roomy, cramped):
        examples(toy, pool)
    assert roomy.shortage(True) is None
    assert "--cache-gib" in cramped.shortage(True)
    # What is said of the maps is what they take.
    examples(toy, roomy).build((0, 1, 2, 3, 4), 0)
    assert roomy.n_bytes == roomy.n_prepared + roomy.n_slices_bytes
