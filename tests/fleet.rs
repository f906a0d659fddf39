//! What a fleet is given: the rules for Prometheus, the dashboard for Grafana and the configuration in README, judged by Prometheus'
//! own promtool. Grafana itself is not here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

#[path = "support/packages.rs"]
mod packages;

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

use packages::{repository, tool};
use serde_json::{Value, json};

/// The metrics that there are, with the help of each.
const METRICS: &str = include_str!("../app/src/metrics/snapshots/netglance__metrics__text__tests__text.snap");

fn file(name: &str) -> PathBuf {
    repository().join("app/fleet").join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(file(name)).unwrap()
}

fn promtool(arguments: &[&str]) -> String {
    tool(Command::new("promtool").args(arguments))
}

/// The names in a text for Prometheus.
fn metrics(text: &str) -> BTreeSet<&str> {
    text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect()
}

/// What follows this word in each line of the rules that begins with it.
fn rules<'a>(rules: &'a str, word: &str) -> BTreeSet<&'a str> {
    rules.lines().filter_map(|line| line.trim_start().strip_prefix(word)).collect()
}

/// The words of an expression that name a metric of netglance's.
fn names(expression: &str) -> BTreeSet<&str> {
    expression
        .split(|letter: char| !(letter.is_ascii_alphanumeric() || "_:".contains(letter)))
        .filter(|word| word.contains("netglance_"))
        .collect()
}

fn dashboard() -> Value {
    serde_json::from_str(&read("dashboard.json")).unwrap()
}

/// Each panel's title and queries, with Grafana's variables filled in.
fn queries() -> Vec<(String, String)> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let queries = panels.iter().flat_map(|panel| {
        let title = panel["title"].as_str().unwrap();
        panel["targets"].as_array().unwrap().iter().map(move |target| (title, target["expr"].as_str().unwrap()))
    });
    let variables = [
        ("$__rate_interval", "1m"),
        ("$__range", "1h"),
        ("$instance", ".*"),
        ("$user", "ann|bob"),
        ("$app", ".*"),
        ("$source", "exact"),
    ];
    let filled = queries.map(|(title, query)| {
        let query = variables.iter().fold(query.to_owned(), |query, (name, value)| query.replace(name, value));
        assert!(!query.contains('$'), "{title}: an unknown variable in {query}");
        (title.to_owned(), query)
    });
    filled.collect()
}

#[test]
fn promtool_has_nothing_to_say_about_the_rules() {
    promtool(&["check", "rules", "--lint=all", "--lint-fatal", file("netglance.rules.yml").to_str().unwrap()]);
    promtool(&["test", "rules", file("netglance.rules.test.yml").to_str().unwrap()]);
}

#[test]
fn every_rule_has_a_test() {
    let (text, test) = (read("netglance.rules.yml"), read("netglance.rules.test.yml"));
    let records = rules(&text, "- record: ");
    let alerts = rules(&text, "- alert: ");
    assert!(!records.is_empty() && !alerts.is_empty());
    let untested: Vec<_> = records.difference(&names(&test)).copied().collect();
    assert!(untested.is_empty(), "no test evaluates {untested:?}");
    let untested: Vec<_> = alerts.difference(&rules(&test, "- alertname: ")).copied().collect();
    assert!(untested.is_empty(), "no test expects {untested:?}");
}

#[test]
fn rules_and_dashboard_name_what_there_is() {
    let text = read("netglance.rules.yml");
    let known: BTreeSet<_> = metrics(METRICS).into_iter().chain(rules(&text, "- record: ")).collect();
    let home = tempfile::tempdir().unwrap();
    let printed =
        tool(Command::new(env!("CARGO_BIN_EXE_netglance")).arg("metrics").env("XDG_CONFIG_HOME", home.path()));
    let unknown: Vec<_> = metrics(&printed).into_iter().filter(|name| !known.contains(name)).collect();
    assert!(unknown.is_empty(), "netglance metrics prints {unknown:?}, of which its own test does not know");

    let code = text.lines().filter(|line| !line.trim_start().starts_with('#') && !line.contains("- name: "));
    let named = code.flat_map(|line| names(line.split("summary: ").next().unwrap_or(line)));
    let unknown: BTreeSet<_> = named.filter(|name| !known.contains(name)).collect();
    assert!(unknown.is_empty(), "the rules name {unknown:?}");

    let dashboard = dashboard();
    let variables = dashboard["templating"]["list"].as_array().unwrap().iter();
    let definitions =
        variables.filter_map(|variable| Some((String::new(), variable["definition"].as_str()?.to_owned())));
    for (title, query) in definitions.chain(queries()) {
        let unknown: Vec<_> = names(&query).into_iter().filter(|name| !known.contains(name)).collect();
        assert!(unknown.is_empty(), "{title}: {query} names {unknown:?}");
    }
}

#[test]
fn prometheus_answers_every_query_of_the_dashboard() {
    let counter = |name: &str, instance: &str, step: u64| {
        json!({
            "series": format!(
                "{name}{{job=\"netglance\",instance=\"{instance}\",user=\"ann\",app=\"StB\",unit=\"a.service\",source=\"exact\"}}"
            ),
            "values": format!("0+{step}x240"),
        })
    };
    let other = |series: &str, values: &str| {
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        json!({ "series": format!("{name}{{job=\"netglance\",instance=\"a\",{labels}"), "values": values })
    };
    let counted = metrics(METRICS).into_iter().filter(|name| name.ends_with("_bytes_total"));
    let mut series: Vec<_> = counted.flat_map(|name| [counter(name, "a", 15), counter(name, "b", 30)]).collect();
    series.extend([
        other("netglance_source{source=\"exact\"}", "1x240"),
        other("netglance_source{source=\"estimate\"}", "0x240"),
        other("netglance_epoch_start_time_seconds{source=\"exact\"}", "1795798352.5x240"),
        other("netglance_gaps_total{reason=\"failed\"}", "0+1x240"),
        other("netglance_unmeasured_udp_sockets{}", "5x240"),
        other("netglance_helper_warning{}", "0x240"),
        other("netglance_units_over_limit{}", "0x240"),
        other("netglance_budget_limit_bytes{app=\"StB\",per=\"day\",user=\"ann\"}", "1000000x240"),
        other("netglance_budget_used_bytes{app=\"StB\",per=\"day\",user=\"ann\"}", "0+15x240"),
        other("netglance_build_info{version=\"0.1.0\"}", "1x240"),
    ]);
    let expressions: Vec<_> = queries()
        .into_iter()
        .map(|(title, query)| {
            // That there is an answer; what each rule says is tested with the rules.
            let expression = format!("count({query}) > bool 0");
            assert!(query.contains("netglance_"), "{title}: {query}");
            json!({ "expr": expression, "eval_time": "1h", "exp_samples": [{ "labels": "{}", "value": 1 }] })
        })
        .collect();
    assert!(!expressions.is_empty());
    let test = json!({
        "rule_files": [file("netglance.rules.yml")],
        "evaluation_interval": "1m",
        "tests": [{ "interval": "15s", "input_series": series, "promql_expr_test": expressions }],
    });
    let directory = tempfile::tempdir().unwrap();
    // JSON is YAML, too.
    let path = directory.path().join("dashboard.test.yml");
    fs::write(&path, test.to_string()).unwrap();
    promtool(&["test", "rules", path.to_str().unwrap()]);
}

#[test]
fn the_dashboard_fits_any_grafana() {
    let dashboard = dashboard();
    assert_eq!(dashboard["uid"], "netglance-fleet");
    assert!(dashboard.get("id").is_none(), "an id is of one Grafana only");
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(!panel["description"].as_str().unwrap().is_empty(), "{title} is not described");
        let targets = panel["targets"].as_array().unwrap().iter();
        for source in targets.chain([panel]).map(|of| &of["datasource"]["uid"]) {
            assert_eq!(source, "${datasource}", "{title}");
        }
        let units = panel["fieldConfig"].to_string();
        for binary in ["\"bytes\"", "\"binBps\"", "\"kbytes\"", "\"mbytes\""] {
            assert!(!units.contains(binary), "{title}: netglance shows decimal units");
        }
    }
}

#[test]
fn prometheus_takes_the_configuration_in_readme() {
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    let mut blocks = readme.split("```yaml\n").skip(1);
    let block = blocks.next().expect("README has a block of YAML").split("```").next().unwrap();
    assert!(blocks.next().is_none(), "README has one block of YAML: Prometheus' configuration");
    assert_eq!(block.lines().count(), 10, "ten lines are promised");
    let installed = "/usr/share/netglance-metrics/netglance.rules.yml";
    assert!(block.contains(installed));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("prometheus.yml");
    fs::write(&path, block.replace(installed, file("netglance.rules.yml").to_str().unwrap())).unwrap();
    promtool(&["check", "config", path.to_str().unwrap()]);
}
