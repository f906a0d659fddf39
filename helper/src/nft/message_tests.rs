use super::*;

/// A `NEWSETELEM` payload as the kernel writes it, with two elements.
fn payload() -> Vec<u8> {
    let mut a = Attributes::default();
    a.string(1, "netglance").string(2, "tx_external").nest(3, |a| {
        for (id, bytes, packets) in [(7u64, 1000u64, 3u64), (u64::MAX, u64::MAX, 1)] {
            a.nest(1, |a| {
                a.nest(1, |a| {
                    a.bytes(1, &id.to_ne_bytes());
                });
                a.nest(7, |a| {
                    a.string(1, "counter").nest(2, |a| {
                        a.bytes(1, &bytes.to_be_bytes()).bytes(2, &packets.to_be_bytes());
                    });
                });
            });
        }
    });
    [&[FAMILY, 0, 0x12, 0x34], a.bytes.as_slice()].concat()
}

#[test]
fn elements_are_read() {
    let list = elements(&payload()).unwrap();
    assert_eq!(list.set, "tx_external");
    let expected = [(7, 3, 1000), (u64::MAX, 1, u64::MAX)];
    assert_eq!(list.elements, expected.map(|(cgroup_id, packets, bytes)| Element { cgroup_id, packets, bytes }));
    assert_eq!(generation(&payload()), Some(0x1234));
}

#[test]
fn nothing_that_is_cut_or_changed_makes_it_panic() {
    let whole = payload();
    for cut in 0..whole.len() {
        if let Ok(list) = elements(&whole[..cut]) {
            assert!(list.elements.is_empty(), "cut at {cut}: {list:?}");
        }
        let _ = (table_owner(&whole[..cut]), generation(&whole[..cut]));
    }
    for i in 0..whole.len() {
        for value in 0..=255 {
            let mut changed = whole.clone();
            changed[i] = value;
            let _ = (elements(&changed), table_owner(&changed));
            for flags in [0, NLM_F_ACK_TLVS, NLM_F_ACK_TLVS | NLM_F_CAPPED] {
                let _ = answer(&changed, flags);
            }
        }
    }
}

#[test]
fn an_element_without_a_counter_is_an_error_with_its_bytes() {
    let mut a = Attributes::default();
    a.nest(3, |a| {
        a.nest(1, |a| {
            a.nest(1, |a| {
                a.bytes(1, &7u64.to_ne_bytes());
            });
        });
    });
    let error = elements(&[&[1, 0, 0, 0], a.bytes.as_slice()].concat()).unwrap_err();
    assert!(error.to_string().contains("without cgroup or counter"), "{error}");
}

#[test]
fn a_refusal_says_what_the_kernel_said() {
    let mut text = Attributes::default();
    text.string(NLMSGERR_ATTR_MSG, "no such chain");
    let capped = [(-2i32).to_ne_bytes().as_slice(), &[0; NLMSG_HEADER], &text.bytes].concat();
    let expected = Answer { errno: 2, sentence: Some("no such chain".into()) };
    assert_eq!(answer(&capped, NLM_F_ACK_TLVS | NLM_F_CAPPED).unwrap(), expected);
    let request = Request::new(Kind::GetTable, 0, "x", |a| {
        a.string(1, "netglance");
    });
    let echoed = [(-2i32).to_ne_bytes().as_slice(), &request.encode(1).unwrap(), &text.bytes].concat();
    assert_eq!(answer(&echoed, NLM_F_ACK_TLVS).unwrap(), expected);
    assert_eq!(answer(&i32::MIN.to_ne_bytes(), 0).unwrap().errno, i32::MAX);
    assert!(answer(&[1, 2], 0).is_err());
}

#[test]
fn what_is_too_long_is_not_sent() {
    let long = |length| {
        Request::new(Kind::NewSet, 0, "x", |a| {
            a.nest(1, |a| {
                a.bytes(1, &vec![0; length]);
            });
        })
    };
    assert!(long(65_524).encode(1).is_some());
    assert!(long(65_528).encode(1).is_none());
    assert!(Batch { requests: vec![long(65_532)] }.encode(1).is_none());
}
