//! Real podman, as root has it, in a given network namespace: a bridge, masquerade, published ports, and its API on a socket.
//!
//! It has a mount namespace of its own with an empty /run and cgroup v2 alone, so nothing of it is left behind. Its containers see this
//! computer's files (a layer of their own takes what they write), so they can run whatever runs here. They have no cgroup of their own:
//! their network alone matters here, and crun would want CAP_SYS_RESOURCE.
#![allow(dead_code, reason = "each test file includes this module and uses its own part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test support: a failure is the test's")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Longer than anything here takes on a slow machine; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Its own view of the file system, which lasts as long as the shell in it.
const WORLD: &str = "mount --make-rprivate / && mount -t tmpfs none /sys/fs && mkdir /sys/fs/cgroup \
    && mount -t cgroup2 none /sys/fs/cgroup && mount -t tmpfs none /run && echo ready && read _";

/// Podman.
pub struct Podman {
    directory: tempfile::TempDir,
    /// The name of the network namespace in which its networks are.
    namespace: String,
    world: Child,
    service: Option<Child>,
}

impl Podman {
    /// One whose networks are in the network namespace with this name (of `ip netns`).
    pub fn new(namespace: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", WORLD]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut world = command.spawn().expect("unshare: install util-linux");
        let mut line = String::new();
        BufReader::new(world.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "podman's mounts");
        // podman makes it first of all, and several that start at the same time get in each other's way.
        let podman = Self { directory, namespace: namespace.to_owned(), world, service: None };
        podman.run(&["info"]);
        podman
    }

    /// Where its API is.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("podman.sock")
    }

    fn command(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.namespace));
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.world.id()));
        let at = |name: &str| self.directory.path().join(name);
        command
            .args(["podman", "--root"])
            .arg(at("storage"))
            .arg("--runroot")
            .arg(at("run"))
            .arg("--tmpdir")
            .arg(at("tmp"));
        // Otherwise networks are kept in /etc.
        command.arg("--network-config-dir").arg(at("networks"));
        command.args(["--cgroup-manager", "cgroupfs", "--storage-driver", "vfs", "--log-level", "error"]);
        command
    }

    /// Runs `podman ARGUMENTS` and returns what it prints.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> String {
        // A file, not a pipe: what stays behind a container would hold that open.
        let (out, err) = (self.directory.path().join("out"), self.directory.path().join("err"));
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::null());
        command.stdout(fs::File::create(&out).unwrap()).stderr(fs::File::create(&err).unwrap());
        let status = command.status().expect("nsenter: install util-linux");
        let said = fs::read_to_string(err).unwrap();
        assert!(status.success(), "podman {}: {said}", arguments.join(" "));
        fs::read_to_string(out).unwrap().trim_end().to_owned()
    }

    /// Starts a container that runs `command`. Options are those of `podman run` (`--publish`, `--network`, `--label` …).
    #[track_caller]
    pub fn start(&self, name: &str, options: &[&str], command: &[&str]) {
        let mut arguments = vec!["run", "--detach", "--name", name, "--cgroups=disabled"];
        for limit in ["nofile=1024:1024", "nproc=4096:4096", "memlock=65536:65536"] {
            arguments.extend(["--ulimit", limit]);
        }
        if !options.contains(&"--network") {
            arguments.extend(["--network", "bridge"]);
        }
        arguments.extend(options);
        arguments.extend(["--rootfs", "/:O"]);
        arguments.extend(command);
        self.run(&arguments);
    }

    /// A container's first process, as this computer knows it.
    pub fn pid(&self, name: &str) -> u32 {
        self.run(&["inspect", "--format", "{{.State.Pid}}", name]).parse().unwrap()
    }

    /// A container's address in podman's own network.
    pub fn address(&self, name: &str) -> String {
        self.run(&["inspect", "--format", "{{.NetworkSettings.IPAddress}}", name])
    }

    /// Serves its API until [`Self::kill_service`].
    pub fn serve(&mut self) {
        let mut command = self.command();
        command.args(["system", "service", "--time", "0"]).arg(format!("unix://{}", self.socket().display()));
        self.service = Some(command.spawn().unwrap());
        let end = Instant::now() + PATIENCE;
        while UnixStream::connect(self.socket()).is_err() {
            assert!(Instant::now() < end, "podman system service does not listen");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills the service, not the containers.
    pub fn kill_service(&mut self) {
        if let Some(mut service) = self.service.take() {
            let _ = (service.kill(), service.wait());
        }
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        self.kill_service();
        // Not asserted: the test may have failed already.
        let mut command = self.command();
        command.args(["rm", "--all", "--force", "--time", "0"]);
        _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        let _ = (self.world.kill(), self.world.wait());
    }
}
