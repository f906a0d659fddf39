//! What neighbours put into the kernel, as they do it on a host of their own.

/// One of them.
pub struct Neighbour {
    /// Its name.
    pub name: &'static str,
    /// What it loads with nft.
    pub nft: &'static str,
    /// What it loads with iptables, where that is iptables-nft.
    pub v4: &'static str,
    /// The same for ip6tables.
    pub v6: &'static str,
    /// Rules and routes, for `ip`.
    pub routes: &'static [&'static str],
    /// Whether it needs a part of the kernel that not every one has.
    pub optional: bool,
}

const NONE: Neighbour = Neighbour { name: "", nft: "", v4: "", v6: "", routes: &[], optional: false };

/// All.
pub const NEIGHBOURS: &[Neighbour] = &[
    Neighbour {
        name: "docker (iptables-nft)",
        v4: "*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-USER -j RETURN
COMMIT
",
        ..NONE
    },
    Neighbour {
        name: "podman (netavark)",
        nft: "table inet netavark {
    chain INPUT {
        type filter hook input priority filter; policy accept
        ip saddr 10.88.0.0/16 meta l4proto { tcp, udp } th dport 53 accept
    }
    chain FORWARD {
        type filter hook forward priority filter; policy accept
        ct state invalid drop
        ip daddr 10.88.0.0/16 ct state { established, related } accept
        ip saddr 10.88.0.0/16 accept
    }
    chain POSTROUTING {
        type nat hook postrouting priority srcnat; policy accept
        meta mark & 0x00002000 == 0x00002000 masquerade
        ip saddr 10.88.0.0/16 ip daddr != 224.0.0.0/4 masquerade
    }
    chain PREROUTING {
        type nat hook prerouting priority dstnat; policy accept
        fib daddr type local jump HOSTPORT
    }
    chain OUTPUT {
        type nat hook output priority -100; policy accept
        fib daddr type local jump HOSTPORT
    }
    chain HOSTPORT {
        tcp dport 8080 meta mark set meta mark | 0x2000
        tcp dport 8080 dnat ip to 10.88.0.2:80
    }
}
",
        ..NONE
    },
    Neighbour {
        name: "libvirt",
        nft: "table ip libvirt_network {
    chain forward {
        type filter hook forward priority filter; policy accept
        iifname \"virbr0\" ip saddr 192.168.122.0/24 counter accept
        oifname \"virbr0\" ip daddr 192.168.122.0/24 ct state { established, related } counter accept
        iifname \"virbr0\" counter reject
    }
    chain guest_nat {
        type nat hook postrouting priority srcnat; policy accept
        ip saddr 192.168.122.0/24 ip daddr 224.0.0.0/24 counter return
        meta l4proto tcp ip saddr 192.168.122.0/24 ip daddr != 192.168.122.0/24 counter masquerade to :1024-65535
        ip saddr 192.168.122.0/24 ip daddr != 192.168.122.0/24 counter masquerade
    }
}
",
        ..NONE
    },
    Neighbour {
        name: "fail2ban",
        nft: "table inet f2b-table {
    set addr-set-sshd { type ipv4_addr; elements = { 198.51.100.7, 203.0.113.9 }; }
    set addr6-set-sshd { type ipv6_addr; elements = { 2001:db8::7 }; }
    chain f2b-chain {
        type filter hook input priority filter - 1; policy accept
        tcp dport 22 ip saddr @addr-set-sshd reject
        tcp dport 22 ip6 saddr @addr6-set-sshd reject
    }
}
",
        ..NONE
    },
    Neighbour {
        name: "Tailscale (iptables-nft, marks, rules)",
        v4: "*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:ts-input - [0:0]
:ts-forward - [0:0]
-A INPUT -j ts-input
-A FORWARD -j ts-forward
-A ts-input -s 100.74.95.80/32 -i lo -j ACCEPT
-A ts-input -s 100.115.92.0/23 ! -i tailscale0 -j RETURN
-A ts-input -s 100.64.0.0/10 ! -i tailscale0 -j DROP
-A ts-input -i tailscale0 -j ACCEPT
-A ts-input -p udp -m udp --dport 41641 -j ACCEPT
-A ts-forward -i tailscale0 -j MARK --set-xmark 0x40000/0xff0000
-A ts-forward -m mark --mark 0x40000/0xff0000 -j ACCEPT
-A ts-forward -s 100.64.0.0/10 -o tailscale0 -j DROP
-A ts-forward -o tailscale0 -j ACCEPT
COMMIT
*nat
:POSTROUTING ACCEPT [0:0]
:ts-postrouting - [0:0]
-A POSTROUTING -j ts-postrouting
-A ts-postrouting -m mark --mark 0x40000/0xff0000 -j MASQUERADE
COMMIT
",
        routes: &[
            "rule add pref 5210 fwmark 0x80000/0xff0000 lookup main",
            "rule add pref 5250 fwmark 0x80000/0xff0000 unreachable",
            "rule add pref 5270 lookup 52",
            "route add 100.64.0.0/10 dev up0 table 52",
        ],
        ..NONE
    },
    Neighbour {
        name: "WireGuard (wg-quick: marks, a default route of its own)",
        nft: "table ip wg-quick-wg0 {
    chain preraw {
        type filter hook prerouting priority raw; policy accept
        iifname != \"wg0\" ip daddr 10.66.66.2 fib saddr type != local drop
    }
    chain premangle {
        type filter hook prerouting priority mangle; policy accept
        meta l4proto udp meta mark set ct mark
    }
    chain postmangle {
        type filter hook postrouting priority mangle; policy accept
        meta l4proto udp meta mark 0x0000ca6c ct mark set meta mark
    }
}
",
        routes: &[
            "route add default via 192.168.77.1 dev up0 table 51820",
            "rule add not fwmark 51820 table 51820",
            "rule add table main suppress_prefixlength 0",
        ],
        ..NONE
    },
    Neighbour {
        name: "firewalld's rules",
        nft: "table inet firewalld {
    chain filter_INPUT {
        type filter hook input priority filter + 10; policy accept
        ct state { established, related } accept
        ct status dnat accept
        iifname \"lo\" accept
        ct state invalid drop
        icmpv6 type { nd-neighbor-advert, nd-neighbor-solicit } accept
        tcp dport 22 accept
        reject with icmpx type admin-prohibited
    }
    chain filter_OUTPUT {
        type filter hook output priority filter + 10; policy accept
        ct state { established, related } accept
        oifname \"lo\" accept
        ip6 daddr { ::/96, ::ffff:0.0.0.0/96, 2002:a00::/24 } reject with icmpv6 type addr-unreachable
    }
}
",
        ..NONE
    },
    Neighbour {
        name: "ufw's rules (iptables-nft)",
        v4: "*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:ufw-before-input - [0:0]
:ufw-before-output - [0:0]
-A INPUT -j ufw-before-input
-A OUTPUT -j ufw-before-output
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-input -m conntrack --ctstate INVALID -j DROP
-A ufw-before-input -p icmp -m icmp --icmp-type 8 -j ACCEPT
-A ufw-before-output -o lo -j ACCEPT
-A ufw-before-output -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
",
        v6: "*filter
:INPUT DROP [0:0]
:ufw6-before-input - [0:0]
-A INPUT -j ufw6-before-input
-A ufw6-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw6-before-input -p icmpv6 -j ACCEPT
COMMIT
",
        ..NONE
    },
    Neighbour {
        name: "notrack",
        nft: "table inet raw {
    chain prerouting { type filter hook prerouting priority raw; policy accept; notrack; }
    chain output { type filter hook output priority raw; policy accept; notrack; }
}
",
        ..NONE
    },
    Neighbour {
        name: "flowtables",
        nft: "table inet fast {
    flowtable f {
        hook ingress priority filter
        devices = { up0 }
    }
    chain forward {
        type filter hook forward priority filter; policy accept
        meta l4proto { tcp, udp } flow add @f
    }
}
",
        optional: true,
        ..NONE
    },
];
