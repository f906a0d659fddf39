//! The usual recipe for a transparent proxy of a host's own traffic, as nft's rules; the routing policy is the caller's.

/// What goes to the given port of two addresses is marked, and what comes back over loopback goes to a proxy at port 3129.
pub fn rules(port: u16) -> String {
    format!(
        "table inet proxy {{
            chain output {{ type route hook output priority mangle
                ip daddr 203.0.114.9 tcp dport {port} meta mark set 0x1
                ip6 daddr 2a0e:b107::9 tcp dport {port} meta mark set 0x1
            }}
            chain prerouting {{ type filter hook prerouting priority mangle
                iif lo meta mark 0x1 meta l4proto tcp meta nfproto ipv4 tproxy ip to 127.0.0.1:3129
                iif lo meta mark 0x1 meta l4proto tcp meta nfproto ipv6 tproxy ip6 to [::1]:3129
            }}
        }}"
    )
}
