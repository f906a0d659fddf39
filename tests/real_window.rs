//! The real program in a real window under Xvfb.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

mod support;

use std::process::{Child, Command, Stdio};

use support::{AGENT, LAN4, OTHER, PUBLIC4, SERVER, SHELL, World, at, eventually};

/// Ends the X server also when the test fails.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().expect("end Xvfb");
        self.0.wait().expect("end Xvfb");
    }
}

/// The real program in a real window, watching StB's real traffic without having been told to. The picture is kept.
#[test]
fn a_real_window_shows_stb_by_itself() {
    let missing = |program: &str| format!("{program} does not start: run tests/all, which installs it");
    let display = format!(":{}", 200 + std::process::id() % 700);
    let server =
        Command::new("Xvfb").args([&display, "-screen", "0", "1000x700x24", "-nolisten", "tcp", "-noreset"]).spawn();
    let _server = Server(server.unwrap_or_else(|_| panic!("{}", missing("Xvfb"))));
    let ask = |program: &str, args: &[&str]| {
        let out = Command::new(program).args(args).env("DISPLAY", &display).stderr(Stdio::null()).output();
        String::from_utf8_lossy(&out.unwrap_or_else(|_| panic!("{}", missing(program))).stdout).trim().to_owned()
    };
    eventually("the X server", || (!ask("xdpyinfo", &[]).is_empty()).then_some(()));

    let world = World::new();
    let stream = |unit: &str, down: &str, up: &str, rate: &str| {
        world.traffic(unit, &["move", down, up, rate, &at(PUBLIC4), &at(LAN4)])
    };
    let _traffic = [
        stream(AGENT, "90000000", "90000000", "60000"),
        stream(SERVER, "90000000", "1500000", "200000"),
        stream(SHELL, "90000000", "0", "500000"),
        stream(SHELL, "12000000", "600000", "1500000"),
        stream(OTHER, "900000000", "90000000", "9000000"),
    ];
    let _window = world.netglance_on(&display);
    let window = eventually("the window", || {
        ask("xdotool", &["search", "--onlyvisible", "--name", "^netglance$"]).lines().next().map(str::to_owned)
    });
    ask("xdotool", &["mousemove", "990", "690"]);
    let picture = format!("{}/window.png", env!("CARGO_TARGET_TMPDIR"));
    // The download's area fills a good part of the minute, and both lines are there.
    eventually("a chart of the traffic", || {
        ask("import", &["-window", &window, &picture]);
        let histogram = ask("convert", &[&picture, "-format", "%c", "histogram:info:"]);
        let pixels = |colour: &str| {
            let line = histogram.lines().find(|line| line.contains(colour))?;
            line.split(':').next()?.trim().parse::<u32>().ok()
        };
        (pixels("#2B485B")? > 10_000 && pixels("#56B4E9")? > 200 && pixels("#F0A528")? > 200).then_some(())
    });
    println!("the window's picture: {picture}");
}
