//! A real PostgreSQL server for tests: its own port and data, stopped, restarted and frozen at will.
//!
//! Calls block, so that they serve tests with and without a runtime. The server does not outlive the test process,
//! however that ends: a shell waits for the end of a pipe that only the test process holds, then kills the server and
//! removes its data.

use std::{
    net::TcpListener,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, User},
};

use crate::process::cpu_time;

/// The text of the panic when the programs are not there.
const MISSING: &str = "PostgreSQL is missing: apt-get install postgresql";
/// Where Debian puts the programs, under a folder for each version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// Who runs the server when the tests run as root, which it refuses.
const UNPRIVILEGED: &str = "postgres";
/// Role of which the server asks a password. It is not there until a test makes it.
pub const GUARDED: &str = "guarded";
/// Whom the server lets in.
const RULES: &str = "host all guarded 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n";
/// How often another port is tried when somebody else took it in between.
const STARTS_MAX: usize = 5;
/// What it is started with: everything durable, room as on a server of its own, and shared memory that goes with the
/// data, also when it is killed.
const OPTIONS: &str = "-c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=200 -c fsync=on \
    -c synchronous_commit=on -c full_page_writes=on -c shared_buffers=512MB -c max_wal_size=4GB \
    -c dynamic_shared_memory_type=mmap";
/// Longest wait for a start or a stop, in seconds.
const WAIT_SECONDS: &str = "60";
/// Waits until the pipe at its standard input is closed, then ends the server and removes the folder.
const WATCHDOG: &str = r#"
cat >/dev/null
if pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null); then
  kill -9 $(cat "/proc/$pid/task/$pid/children") "$pid" 2>/dev/null
fi
rm -rf "$1"
"#;

/// One PostgreSQL server on this machine, with `fsync` on.
///
/// It listens on loopback only and lets everyone in as `postgres`; only [`GUARDED`] needs a password. Its data live as long as this value, so that they
/// outlast [`stop`](Self::stop) and [`restart`](Self::restart).
#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    folder: PathBuf,
    port: u16,
    databases: AtomicU32,
    watchdog: Child,
}

impl Postgres {
    /// The server that all tests of a process share, for those that do not stop it. Started at the first call.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<Postgres> = LazyLock::new(Postgres::start);
        &SHARED
    }

    /// Starts an empty one on a free port and waits until it answers.
    ///
    /// # Panics
    /// When the programs are missing, or it does not start; the text shows its output.
    pub fn start() -> Self {
        let programs = programs();
        let folder = tempfile::tempdir().expect("a temporary folder can be made").keep();
        if let Some(user) = unprivileged() {
            std::os::unix::fs::chown(&folder, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
                .expect("root may give a folder away");
        }
        let watchdog = Command::new("/bin/sh")
            .args(["-c", WATCHDOG, "watchdog"])
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0) // an interrupt from the keyboard is not for it
            .spawn()
            .expect("there is a shell");
        let mut server = Self { programs, folder, port: 0, databases: AtomicU32::new(0), watchdog };
        let data = server.data();
        // Its own start-up files need no sync; everything later does.
        server.must(
            "initdb",
            &["--no-sync", "--auth=trust", "--username=postgres", "--locale=C", "--encoding=UTF8", "-D", &data],
        );
        std::fs::write(server.folder.join("data/pg_hba.conf"), RULES).expect("its rules can be replaced");
        for _ in 0..STARTS_MAX {
            server.port = free_port();
            if server.launch() {
                return server;
            }
        }
        panic!("PostgreSQL does not start:\n{}", server.log());
    }

    /// Makes an empty database and returns the URL to connect to it.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.must(
            "createdb",
            &["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "postgres", "-T", "template0", &name],
        );
        self.url(&name)
    }

    /// The URL of a database. It stays the same over a restart.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Ends it without warning, as a crash would: nothing is written out that was not already. Nothing happens when it
    /// is stopped already.
    ///
    /// # Panics
    /// When it does not end.
    pub fn stop(&self) {
        if Path::new(&self.data()).join("postmaster.pid").exists() {
            self.resume();
            self.must("pg_ctl", &["stop", "-m", "immediate", "-w", "-t", WAIT_SECONDS, "-D", &self.data()]);
        }
    }

    /// Starts it again on the same port and data, and waits until it answers. A running one is stopped first.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&self) {
        self.stop();
        assert!(self.launch(), "PostgreSQL does not start again:\n{}", self.log());
    }

    /// Freezes it with all its sessions (SIGSTOP): connections stay open, nothing answers.
    ///
    /// # Panics
    /// When it is stopped.
    pub fn pause(&self) {
        // The server first, so that it starts no more sessions.
        for pid in self.processes() {
            kill(pid, Signal::SIGSTOP).ok();
        }
    }

    /// Ends a [`pause`](Self::pause).
    ///
    /// # Panics
    /// When it is stopped.
    pub fn resume(&self) {
        for pid in self.processes() {
            kill(pid, Signal::SIGCONT).ok();
        }
    }

    /// What it wrote so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Processor time that it has used so far, with all its sessions and workers, those that ended included.
    ///
    /// # Panics
    /// When it is stopped.
    pub fn cpu_time(&self) -> Duration {
        // That of processes that ended counts as the server's.
        self.processes().into_iter().map(|pid| cpu_time(pid.as_raw().unsigned_abs())).sum()
    }

    fn data(&self) -> String {
        self.folder.join("data").display().to_string()
    }

    /// The server, then its sessions.
    fn processes(&self) -> Vec<Pid> {
        let file = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).expect("PostgreSQL runs");
        let server = file.lines().next().unwrap_or_default().to_owned();
        let sessions = std::fs::read_to_string(format!("/proc/{server}/task/{server}/children")).unwrap_or_default();
        let pid = |text: &str| text.trim().parse().ok().map(Pid::from_raw);
        std::iter::once(server.as_str()).chain(sessions.split_whitespace()).filter_map(pid).collect()
    }

    /// Starts the server; `false` when it ended again, for instance because the port was taken.
    fn launch(&self) -> bool {
        let options = format!("-c port={} {OPTIONS}", self.port);
        let log = self.folder.join("log").display().to_string();
        let data = self.data();
        let mut command = self.program("pg_ctl");
        command.args(["start", "-w", "-t", WAIT_SECONDS, "-D", &data, "-l", &log, "-o", &options]);
        // The server inherits them, so they must not be pipes that are read to their end.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().expect(MISSING).success()
    }

    /// Runs a program of PostgreSQL's to its end.
    fn must(&self, name: &str, arguments: &[&str]) {
        let output = self.program(name).args(arguments).stdin(Stdio::null()).output().expect(MISSING);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name} {arguments:?} failed: {text}\n{}", self.log());
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        for (variable, _) in std::env::vars().filter(|(variable, _)| variable.starts_with("PG")) {
            command.env_remove(variable);
        }
        command.current_dir(&self.folder);
        if let Some(user) = unprivileged() {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        // It fails only when it is gone already.
        self.watchdog.wait().ok();
    }
}

/// The folder of the newest version's programs.
fn programs() -> PathBuf {
    let version = |folder: &PathBuf| folder.file_name()?.to_str()?.parse::<u32>().ok();
    let debian = std::fs::read_dir(DEBIAN).into_iter().flatten().flatten().map(|entry| entry.path());
    let newest = debian.filter(|folder| folder.join("bin/initdb").is_file()).max_by_key(version);
    let path = std::env::var_os("PATH").unwrap_or_default();
    newest
        .map(|folder| folder.join("bin"))
        .or_else(|| std::env::split_paths(&path).find(|folder| folder.join("initdb").is_file()))
        .unwrap_or_else(|| panic!("{MISSING}"))
}

/// The user to run as, when we are root.
fn unprivileged() -> Option<User> {
    nix::unistd::geteuid().is_root().then(|| {
        let user = User::from_name(UNPRIVILEGED).ok().flatten();
        user.unwrap_or_else(|| panic!("there is no user {UNPRIVILEGED}; {MISSING}"))
    })
}

/// A port that is free now.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

#[cfg(test)]
mod tests {
    use std::{net::TcpStream, path::Path};

    use super::Postgres;

    #[test]
    fn it_starts_stops_comes_back_and_leaves_nothing() {
        let server = Postgres::start();
        let address = ("127.0.0.1", server.port);
        let first = server.database();
        server.cpu_time();
        server.stop();
        assert!(TcpStream::connect(address).is_err());
        server.stop();
        server.restart();
        server.pause();
        server.resume();
        assert_ne!(server.database(), first);
        let folder = server.folder.clone();
        server.pause();
        drop(server);
        assert!(TcpStream::connect(address).is_err());
        assert!(!Path::new(&folder).exists());
    }
}
