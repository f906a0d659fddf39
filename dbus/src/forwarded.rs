//! How much each container or virtual machine has moved, by its address. Pure: reads no clock and does no I/O.

use std::net::IpAddr;

use crate::remote::{address_from_wire, address_on_wire};

/// What passed through this host from or to one address behind a bridge or a veth interface of it: IP packets with their headers,
/// since counting began in this epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// The container's or virtual machine's own address: behind network address translation.
    pub address: IpAddr,
    /// Bytes that it has received from external addresses.
    pub rx_bytes: u64,
    /// Bytes that it has sent to external addresses.
    pub tx_bytes: u64,
    /// Bytes that it has received from internal addresses.
    pub internal_rx_bytes: u64,
    /// Bytes that it has sent to internal addresses.
    pub internal_tx_bytes: u64,
}

/// All rows of one look. An address without a row has had nothing forwarded since counting began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardedSample {
    /// The epoch of [`crate::sample::Sample`].
    pub epoch: u64,
    /// `CLOCK_BOOTTIME` of the look.
    pub boottime_ns: u64,
    /// One row an address, in the order of addresses.
    pub rows: Vec<Forwarded>,
}

/// A row on the bus: address in network byte order (4 or 16 bytes), external bytes received and sent, internal ones received and sent.
pub type WireForwarded = (Vec<u8>, u64, u64, u64, u64);

/// [`ForwardedSample`] on the bus: epoch, `CLOCK_BOOTTIME` in nanoseconds, rows.
pub type WireForwardedSample = (u64, u64, Vec<WireForwarded>);

impl From<Forwarded> for WireForwarded {
    fn from(row: Forwarded) -> Self {
        let address = address_on_wire(row.address);
        (address, row.rx_bytes, row.tx_bytes, row.internal_rx_bytes, row.internal_tx_bytes)
    }
}

impl From<ForwardedSample> for WireForwardedSample {
    fn from(sample: ForwardedSample) -> Self {
        (sample.epoch, sample.boottime_ns, sample.rows.into_iter().map(WireForwarded::from).collect())
    }
}

impl From<WireForwardedSample> for ForwardedSample {
    /// A row without an address is left out.
    fn from((epoch, boottime_ns, rows): WireForwardedSample) -> Self {
        let row = |(address, rx_bytes, tx_bytes, internal_rx_bytes, internal_tx_bytes): WireForwarded| {
            let address = address_from_wire(&address)?;
            Some(Forwarded { address, rx_bytes, tx_bytes, internal_rx_bytes, internal_tx_bytes })
        };
        Self { epoch, boottime_ns, rows: rows.into_iter().filter_map(row).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_over_the_bus_comes_back() {
        let row = |address: &str| Forwarded {
            address: address.parse().unwrap(),
            rx_bytes: 1,
            tx_bytes: 2,
            internal_rx_bytes: 3,
            internal_tx_bytes: 4,
        };
        let sample = ForwardedSample { epoch: 5, boottime_ns: 6, rows: vec![row("172.17.0.2"), row("fd00::2")] };
        let mut wire = WireForwardedSample::from(sample.clone());
        assert_eq!(wire.2[0], (vec![172, 17, 0, 2], 1, 2, 3, 4));
        wire.2.push((vec![1, 2, 3], 0, 0, 0, 0));
        assert_eq!(ForwardedSample::from(wire), sample);
    }
}
