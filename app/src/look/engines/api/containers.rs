//! What an engine says of its containers. Pure.

use std::{collections::HashMap, net::IpAddr};

use serde::Deserialize;

use crate::look::engines::{Engine, Holder};

/// `GET /containers/json`, as far as it matters here.
#[derive(Deserialize)]
struct Container {
    #[serde(rename = "Names", default)]
    names: Option<Vec<String>>,
    #[serde(rename = "Labels", default)]
    labels: Option<Labels>,
    #[serde(rename = "NetworkSettings", default)]
    settings: Option<Settings>,
}

#[derive(Deserialize)]
struct Labels {
    #[serde(rename = "com.docker.compose.project")]
    docker: Option<String>,
    /// podman-compose sets both.
    #[serde(rename = "io.podman.compose.project")]
    podman: Option<String>,
}

#[derive(Deserialize)]
struct Settings {
    #[serde(rename = "Networks", default)]
    networks: Option<HashMap<String, Option<Network>>>,
}

#[derive(Deserialize)]
struct Network {
    #[serde(rename = "IPAddress", default)]
    ipv4: Option<String>,
    #[serde(rename = "GlobalIPv6Address", default)]
    ipv6: Option<String>,
}

/// Those with an address of their own.
pub fn holders(json: &[u8], engine: Engine) -> serde_json::Result<Vec<Holder>> {
    let containers: Vec<Container> = serde_json::from_slice(json)?;
    Ok(containers.into_iter().filter_map(|container| holder(container, engine)).collect())
}

fn holder(container: Container, engine: Engine) -> Option<Holder> {
    let names = container.names.unwrap_or_default();
    let names = || names.iter().map(|name| name.strip_prefix('/').unwrap_or(name));
    // A link of another container's is called OTHER/ALIAS.
    let name = names().find(|name| !name.contains('/')).or_else(|| names().next())?;
    let networks = container.settings.and_then(|settings| settings.networks).unwrap_or_default();
    // Either is empty where there is none.
    let address = |text: Option<String>| text?.parse::<IpAddr>().ok();
    let addresses = networks.into_values().flatten().flat_map(|network| [address(network.ipv4), address(network.ipv6)]);
    let project = container.labels.and_then(|labels| labels.docker.or(labels.podman));
    Holder::new(engine, name, project.as_deref(), addresses.flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Podman 4.3.1's answer, one container with docker-compose's label.
    const PODMAN: &str = include_str!("containers/podman.json");
    /// Written by hand after the example of docker's API, not recorded; with what a network with IPv6, a compose project, a link and the host's network are there.
    const DOCKER: &str = include_str!("containers/docker.json");

    #[test]
    fn containers_have_the_addresses_of_all_their_networks() {
        let check = |json: &str, engine: Engine, expected: &[(&str, Option<&str>, &[&str])]| {
            let mut found = holders(json.as_bytes(), engine).unwrap();
            found.sort_unstable();
            let expected: Vec<_> = expected
                .iter()
                .map(|(name, project, addresses)| Holder {
                    engine,
                    name: (*name).to_owned(),
                    project: project.map(str::to_owned),
                    addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
                })
                .collect();
            assert_eq!(found, expected);
        };
        check(PODMAN, Engine::Podman, &[("one", Some("shop"), &["10.88.0.2"]), ("two", None, &["10.88.0.3"])]);
        check(
            DOCKER,
            Engine::Docker,
            &[
                ("boring_feynman", None, &["172.17.0.2"]),
                ("shop-db-1", Some("shop"), &["172.18.0.3", "172.19.0.2", "fd00:1::3"]),
            ],
        );
        check("[]", Engine::Docker, &[]);
        check(
            r#"[{},{"Names":null,"NetworkSettings":null},{"Names":["/a"],"NetworkSettings":{"Networks":{"b":null}}}]"#,
            Engine::Docker,
            &[],
        );
        let odd = r#"[{"Names":["a/../b\u001b"],"NetworkSettings":{"Networks":{"b":{"IPAddress":"10.0.0.1","GlobalIPv6Address":"fe80::1"}}}},
            {"Names":["/10.0.0.9"],"NetworkSettings":{"Networks":{"b":{"IPAddress":"10.0.0.9"}}}}]"#;
        check(odd, Engine::Docker, &[("10.0.0.9_", None, &["10.0.0.9"]), ("a_.._b\u{FFFD}", None, &["10.0.0.1"])]);
    }

    #[test]
    fn what_is_something_else_is_an_error() {
        for other in ["", "{}", "[1]", "[{\"Names\":7}]", "[{\"Names\":[\"/a\"]", "null", "<html>"] {
            assert!(holders(other.as_bytes(), Engine::Docker).is_err(), "{other}");
        }
    }
}
