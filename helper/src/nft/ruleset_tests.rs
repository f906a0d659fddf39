use super::*;

#[test]
fn every_level_has_a_rule_in_each_chain_and_every_further_block_one_that_leads_to_it() {
    let count = |batch: &Batch, what| batch.requests.iter().filter(|r| r.what().starts_with(what)).count();
    for (from, to, levels, leading) in [
        (0, 1, 1, 0),
        (0, 8, 8, 0),
        (0, 9, 9, 1),
        (8, 9, 1, 1),
        (9, 17, 8, 1),
        (0, 255, 255, 5),
        (9, 9, 0, 0),
        (9, 8, 0, 0),
    ] {
        let batch = grow(TABLE, from, to);
        assert_eq!(count(&batch, "socket cgroupv2"), 4 * (levels + leading), "{from} to {to}");
        assert_eq!(count(&batch, "a chain"), 4 * (leading + usize::from(from == 0)), "{from} to {to}");
    }
    for levels in 0..=255 {
        assert_eq!(levels_of(count(&grow(TABLE, 0, levels), "socket cgroupv2") / 4), levels);
    }
    assert_eq!(count(&create(TABLE, 0, SET_SIZE, Internal::default()), "socket cgroupv2"), 4);
    assert!(create(TABLE, 255, SET_SIZE, Internal::default()).encode(1).is_some());
    for level in 1..=255 {
        assert!(is_level(Counter::RxInternal, &block(Counter::RxInternal, level)));
    }
    assert!(!is_level(Counter::RxInternal, "rx_external") && !is_level(Counter::RxInternal, "rx_internals"));
}

#[test]
fn addresses_are_near_by_their_first_byte() {
    let first = |ranges: &[(u32, u32)]| -> Vec<u8> {
        near(ranges.iter().copied()).into_iter().map(|key| key.bytes[0]).collect()
    };
    assert_eq!(first(&[(10, 10), (9, 11), (255, 255)]), [9, 10, 11, 255]);
    assert_eq!(first(&[(0, 255)]).len(), 256);
    assert!(first(&[]).is_empty());
}

#[test]
fn ranges_have_an_end_but_at_the_last_address() {
    let keys = |first: u8, end: Option<u8>| -> Vec<_> {
        interval([first], end.map(|e| [e])).map(|k| (k.bytes, k.interval_end)).collect()
    };
    assert_eq!(keys(1, Some(3)), [([1], false), ([3], true)]);
    assert_eq!(keys(1, None), [([1], false)]);
}

#[test]
fn many_elements_are_spread_over_messages() {
    let v6: Vec<_> = (0..5000u128).map(|i| (i << 64, (i << 64) + 1)).collect();
    let batch = replace_internal(TABLE, Internal { v4: &[], v6: &v6 });
    assert_eq!(batch.requests.len(), 4 + 10 + 1);
    assert!(batch.encode(1).is_some());
}
