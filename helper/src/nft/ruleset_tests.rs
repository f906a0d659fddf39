use super::*;

#[test]
fn the_deepest_level_comes_first_and_growing_goes_on_in_front() {
    let levels = |batch: &Batch| batch.requests.iter().filter(|r| r.what().starts_with("socket cgroupv2")).count();
    let with = |levels| create(TABLE, levels, Internal::default());
    assert_eq!(levels(&with(0)), 4);
    assert_eq!(levels(&with(8)), 32);
    assert_eq!(levels(&with(255)), 4 * 255);
    assert_eq!(levels(&grow(TABLE, 8, 10)), 8);
    assert_eq!(grow(TABLE, 10, 8).requests, []);
    assert_eq!(grow(TABLE, 255, 255).requests, []);
}

#[test]
fn ranges_have_an_end_but_at_the_last_address() {
    let keys = |first: u8, end: Option<u8>| -> Vec<_> {
        interval(vec![first], end.map(|e| vec![e])).map(|k| (k.bytes, k.interval_end)).collect()
    };
    assert_eq!(keys(1, Some(3)), [(vec![1], false), (vec![3], true)]);
    assert_eq!(keys(1, None), [(vec![1], false)]);
}

#[test]
fn many_elements_are_spread_over_messages() {
    let v6: Vec<_> = (0..5000u128).map(|i| (i << 64, (i << 64) + 1)).collect();
    let batch = replace_internal(TABLE, Internal { v4: &[], v6: &v6 });
    assert_eq!(batch.requests.len(), 2 + 10);
    assert!(batch.encode(1).is_some());
}
