//! Whom to believe about the client: proxies in front of us that are trusted, and nobody else.

use std::net::IpAddr;

use ipnet::IpNet;

/// The first address from the right that is not a trusted proxy's: the one that no untrusted party can have made up.
pub(in crate::proxy) fn first_untrusted(chain: &str, client: IpAddr, trusted: &[IpNet]) -> IpAddr {
    let mut last = client;
    for hop in chain.rsplit(',').map(str::trim) {
        let Ok(hop) = hop.parse::<IpAddr>() else { return last };
        last = hop.to_canonical();
        if !is_trusted(last, trusted) {
            return last;
        }
    }
    last
}

/// Whether `address` is a proxy that is believed what it says about others.
pub(in crate::proxy) fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|net| net.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn trusted() -> [IpNet; 1] {
        ["10.0.0.0/8".parse().unwrap()]
    }

    fn first(chain: &str) -> IpAddr {
        first_untrusted(chain, [10, 0, 0, 1].into(), &trusted())
    }

    #[test]
    fn the_first_address_that_is_not_a_trusted_proxys_counts() {
        for (chain, real) in [
            ("10.0.0.1", "10.0.0.1"),
            ("1.1.1.1, 10.0.0.1", "1.1.1.1"),
            ("6.6.6.6, 1.1.1.1, 10.9.9.9, 10.0.0.1", "1.1.1.1"),
            ("10.1.1.1, 10.2.2.2, 10.0.0.1", "10.1.1.1"),
            ("1.1.1.1, unknown, 10.2.2.2, 10.0.0.1", "10.2.2.2"),
            ("2001:db8::1, 10.0.0.1", "2001:db8::1"),
            ("::ffff:1.1.1.1,10.0.0.1", "1.1.1.1"),
            ("", "10.0.0.1"),
        ] {
            assert_eq!(first(chain), real.parse::<IpAddr>().unwrap(), "{chain}");
        }
    }

    proptest! {
        #[test]
        fn what_an_untrusted_hop_said_before_it_counts_for_nothing(made_up in "[ -~]{0,40}") {
            let chain = format!("{made_up}, 192.0.2.1, 10.0.0.1");
            prop_assert_eq!(first(&chain), IpAddr::from([192, 0, 2, 1]));
        }
    }
}
