//! Sets of IP addresses.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The first and the last address of each network, in order and without overlap.
#[derive(Debug)]
pub(super) struct Networks {
    four: Box<[(u32, u32)]>,
    six: Box<[(u128, u128)]>,
}

impl Networks {
    pub(super) fn new(networks: &[IpNet]) -> Networks {
        let (mut four, mut six) = (Vec::new(), Vec::new());
        for network in networks {
            match network {
                IpNet::V4(network) => four.push((network.network().to_bits(), network.broadcast().to_bits())),
                IpNet::V6(network) => six.push((network.network().to_bits(), network.broadcast().to_bits())),
            }
        }
        Networks { four: merged(four), six: merged(six) }
    }

    /// Whether `text` is an address within.
    pub(super) fn contain(&self, text: &str) -> bool {
        match text.parse().map(|address: IpAddr| address.to_canonical()) {
            Ok(IpAddr::V4(address)) => contains(&self.four, address.to_bits()),
            Ok(IpAddr::V6(address)) => contains(&self.six, address.to_bits()),
            Err(_) => false,
        }
    }
}

/// The network in `text`, `192.0.2.0/24` or a single address; what is IPv4 within IPv6 becomes IPv4.
pub(super) fn parse(text: &str) -> Option<IpNet> {
    let network = match text.parse() {
        Ok(network) => network,
        Err(_) => IpNet::from(text.parse::<IpAddr>().ok()?),
    };
    Some(match network {
        IpNet::V6(six) => mapped(six).map_or(network, IpNet::V4),
        IpNet::V4(_) => network,
    })
}

fn mapped(network: Ipv6Net) -> Option<Ipv4Net> {
    let length = network.prefix_len().checked_sub(96)?;
    Ipv4Net::new(Ipv6Addr::to_ipv4_mapped(&network.network())?, length).ok()
}

fn merged<T: Copy + Ord>(mut ranges: Vec<(T, T)>) -> Box<[(T, T)]> {
    ranges.sort_unstable();
    let mut merged: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.0 <= last.1 => last.1 = last.1.max(range.1),
            _ => merged.push(range),
        }
    }
    merged.into_boxed_slice()
}

fn contains<T: Copy + Ord>(ranges: &[(T, T)], address: T) -> bool {
    let after = ranges.partition_point(|range| range.0 <= address);
    after > 0 && address <= ranges[after - 1].1
}
