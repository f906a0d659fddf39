//! `netglance doctor`.

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use clap::Args;

use super::{
    Error, TargetArgs, target,
    watch::{print, print_as_it_is, print_json},
};
use crate::{
    advise::doctor::{diagnose, gather, report},
    base::settings::SettingsFile,
    look::{
        apps::Apps,
        monitor::{self, Monitor},
        sampler::Source,
        target::Target,
    },
};

#[derive(Debug, Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// One JSON object
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// Markdown, for an issue
    #[arg(long)]
    markdown: bool,
}

/// Looks at the host, judges it and prints the report.
pub async fn doctor(args: &DoctorArgs) -> Result<ExitCode, Error> {
    let mut monitor = Monitor::open(Some(Source::Estimate)).await;
    let target = wanted(&args.target, &mut monitor).await?;
    let facts = gather(monitor, target, &typed(&args.target)).await;
    let report = diagnose(&facts);
    if args.json {
        let json = serde_json::to_string_pretty(&report).map_err(io::Error::from).map_err(Error::io("write JSON"))?;
        print_json(&json)?;
    } else if args.markdown {
        print(report::markdown(&report).trim_end())?;
    } else {
        // Its own colours are the only control characters in it.
        print_as_it_is(report::text(&report, io::stdout().is_terminal()).trim_end())?;
    }
    Ok(if report.has_problem() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The target that the arguments name. Without any, the built-in app if it is installed or running here, otherwise all applications.
async fn wanted(args: &TargetArgs, monitor: &mut Result<Monitor, monitor::Error>) -> Result<Target, Error> {
    let defined = match monitor {
        Ok(monitor) => monitor.defined().clone(),
        Err(_) => Apps::new(&SettingsFile::open().settings),
    };
    if args.is_empty()
        && let Some(preset) = defined.preset(gather::is_installed)
    {
        return Ok(preset.target.clone());
    }
    let TargetArgs { app, unit, cgroup } = args;
    match (monitor, app) {
        (Ok(monitor), _) => target(args, monitor).await,
        // There is nothing to look a name up in.
        (Err(_), Some(app)) => Ok(Target::app(app, app)),
        (Err(_), None) if args.is_empty() => Ok(Target::everything("/")),
        (Err(_), None) => {
            Target::selection(unit, cgroup, "").map_err(|source| Error::Pattern { pattern: unit.join(" "), source })
        }
    }
}

/// The same arguments for `netglance watch`.
fn typed(args: &TargetArgs) -> String {
    let option = |name: &str, values: &[String]| {
        let values: Vec<_> = values.iter().map(|value| gather::quoted(value)).collect();
        if values.is_empty() { None } else { Some(format!("--{name} {}", values.join(" "))) }
    };
    let app: Vec<_> = args.app.iter().cloned().collect();
    let options = [option("app", &app), option("unit", &args.unit), option("cgroup", &args.cgroup)];
    options.into_iter().flatten().collect::<Vec<_>>().join(" ")
}
