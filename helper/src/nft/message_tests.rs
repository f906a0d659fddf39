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
    assert_eq!(
        list.elements,
        expected.map(|(key, packets, bytes)| Element { key: Key::from_bytes(u64::to_ne_bytes(key)), packets, bytes })
    );
    assert_eq!(generation(&payload()), Some(0x1234));
}

#[test]
fn nothing_that_is_cut_or_changed_makes_it_panic() {
    let whole = payload();
    for cut in 0..whole.len() {
        if let Ok(list) = elements(&whole[..cut]) {
            assert!(list.elements.is_empty(), "cut at {cut}: {list:?}");
        }
        let _ = (table(&whole[..cut]), generation(&whole[..cut]));
    }
    for i in 0..whole.len() {
        for value in 0..=255 {
            let mut changed = whole.clone();
            changed[i] = value;
            let _ = (elements(&changed), table(&changed));
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

/// What a kernel (6.18) has answered, as it came out of the socket: a dump of three elements and of two rules, a table with
/// an owner and one without, two refusals, and the last values of three elements that were deleted.
const RECORDED: [(&str, &[u8]); 7] = [
    ("elements", include_bytes!("recorded/elements.bin")),
    ("rules", include_bytes!("recorded/rules.bin")),
    ("owned table", include_bytes!("recorded/owned_table.bin")),
    ("free table", include_bytes!("recorded/free_table.bin")),
    ("no set", include_bytes!("recorded/no_set.bin")),
    ("not mine", include_bytes!("recorded/not_mine.bin")),
    ("last values", include_bytes!("recorded/last_values.bin")),
];

/// Reads a stream of messages as `Nft` does, and says what it has understood.
fn understood(bytes: &[u8]) -> Result<Vec<String>, Error> {
    let mut lines = Vec::new();
    for message in netglance_dbus::netlink::messages(bytes) {
        let message = message?;
        let payload = message.payload;
        lines.push(match message.kind {
            3 => "end".to_owned(),
            2 => format!("{:?}", answer(payload, message.flags)?),
            kind if kind == Kind::NewTable.on_wire() => format!("owned: {}", table(payload)?.owner.is_some()),
            kind if kind == Kind::NewRule.on_wire() => rule(payload)?.chain,
            kind if kind == Kind::NewSetElem.on_wire() || kind == Kind::DelSetElem.on_wire() => {
                let list = elements(payload)?;
                let mut bytes: Vec<_> = list.elements.iter().map(|e| (e.packets, e.bytes)).collect();
                bytes.sort_unstable();
                format!("{}: {bytes:?}", list.set)
            }
            other => format!("{other}"),
        });
    }
    Ok(lines)
}

#[test]
fn what_a_kernel_has_said_is_understood() {
    let expected: [&[&str]; 7] = [
        // A dump ends with a list of nothing.
        &["tx_external: [(1, 128), (2, 456), (3, 984)]", "tx_external: []", "end"],
        &["tx_external", "tx_external", "end"],
        &["owned: true"],
        &["owned: false"],
        &["Answer { errno: 2, sentence: None }"],
        &["Answer { errno: 1, sentence: None }"],
        &[
            "tx_external: [(1, 128)]",
            "tx_external: [(2, 456)]",
            "tx_external: [(3, 984)]",
            "2575", // NFT_MSG_NEWGEN: the ruleset is another one now
            "Answer { errno: 0, sentence: None }",
        ],
    ];
    for ((name, bytes), expected) in RECORDED.into_iter().zip(expected) {
        assert_eq!(understood(bytes).unwrap(), expected, "{name}");
    }
}

#[test]
fn recorded_bytes_that_are_cut_are_an_error_or_the_whole_messages_before() {
    for (name, bytes) in RECORDED {
        let whole = understood(bytes).unwrap();
        for cut in 0..bytes.len() {
            if let Ok(lines) = understood(&bytes[..cut]) {
                assert_eq!(lines, whole[..lines.len()], "{name} cut at {cut}");
            }
        }
    }
}

#[test]
fn no_change_of_recorded_bytes_makes_it_panic_or_invent_elements() {
    for (name, bytes) in RECORDED {
        for at in 0..bytes.len() {
            for value in [0, 1, 2, 3, 4, 7, 8, 0x0a, 0x0c, 0x10, 0x20, 0x7f, 0x80, 0xfe, 0xff] {
                let mut changed = bytes.to_vec();
                changed[at] = value;
                if let Ok(lines) = understood(&changed) {
                    assert!(lines.len() <= bytes.len() / 16, "{name}, {at} is {value}: {lines:?}");
                }
            }
        }
    }
}
