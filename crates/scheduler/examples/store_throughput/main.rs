//! How fast the store takes commits and gives them back, on fjall and on PostgreSQL. Every commit is durable.
//!
//! ```text
//! cargo run --release -p scheduler --example store_throughput [fjall|postgres] [seconds for each line] [waiting tasks]
//! ```
//!
//! - **Commits**: each batch holds as many new tasks as ends of tasks submitted before, over 16 partitions, as the
//!   scheduler's loop would write them. Records count, so a task is two of them. Beside the times of the commits stands
//!   the processor time for each task, ours and the server's, which says more on a machine that does other things too.
//! - **Pace**: 5,000 tasks in each second, one commit each millisecond.
//! - **Loading**: the store is closed and opened again with many waiting tasks of 1 KiB payload in it, and every partition
//!   is loaded, two at a time as the scheduler does.
//!
//! PostgreSQL is the one at `MCP_POSTGRES_URL`, or one that is started for this run.
#![allow(clippy::print_stdout, reason = "a program for a terminal")]

mod load;

use std::{
    error::Error,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use scheduler::store::{EmbeddedStore, Loaded, PostgresSettings, PostgresStore, Store};
use testkit::Postgres;

use self::load::{Load, PARTITIONS};

/// Records of a commit.
const BATCHES: [usize; 4] = [1, 64, 1024, 4096];
/// Records of a commit at the steady pace, and commits in a second.
const PACE: (usize, u32) = (10, 1_000);
/// Seconds for each line when nothing is said.
const SECONDS_DEFAULT: u64 = 5;
/// Block cache of the embedded store.
const CACHE_BYTES: u64 = 64 << 20;
/// Tasks that wait when the loading is measured and nothing is said.
const WAITING_DEFAULT: u64 = 1_000_000;
/// Payload of those tasks, in bytes.
const PAYLOAD_LEN: usize = 1024;
/// Partitions that are loaded at a time.
const LOADS: u32 = 2;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let backend = arguments.next();
    let seconds = arguments.next().map_or(Ok(SECONDS_DEFAULT), |text| text.parse())?;
    let waiting = arguments.next().map_or(Ok(WAITING_DEFAULT), |text| text.parse())?;
    let wants = |name: &str| backend.as_deref().is_none_or(|backend| backend == name);
    let [a, b, c, d, e, f] = ["p50 us", "p99 us", "max us", "cpu us/task", "server us/task", "tasks/s"];
    println!("{:<10}{:>12}{f:>10}{a:>10}{b:>10}{c:>10}{d:>14}{e:>16}", "store", "records");
    if wants("fjall") {
        let folder = tempfile::tempdir()?;
        let open = || Ok(Box::new(EmbeddedStore::new(folder.path(), CACHE_BYTES)) as Box<dyn Store>);
        Bench { name: "fjall", open: &open, server: None }.run(seconds, waiting)?;
    }
    if wants("postgres") {
        let own = std::env::var("MCP_POSTGRES_URL").err().map(|_| Postgres::start());
        let url = own.as_ref().map_or_else(|| std::env::var("MCP_POSTGRES_URL"), |server| Ok(server.database()))?;
        let open = || Ok(Box::new(PostgresStore::connect(PostgresSettings::new(&url))?) as Box<dyn Store>);
        Bench { name: "postgres", open: &open, server: own.as_ref() }.run(seconds, waiting)?;
    }
    Ok(())
}

struct Bench<'a> {
    name: &'static str,
    open: &'a dyn Fn() -> Result<Box<dyn Store>, Box<dyn Error>>,
    /// Whose processor time is to be measured.
    server: Option<&'a Postgres>,
}

impl Bench<'_> {
    fn run(&self, seconds: u64, waiting: u64) -> Result<(), Box<dyn Error>> {
        if seconds > 0 {
            let store = (self.open)()?;
            let mut load = Load::new(&*store, 1, 0)?;
            for batch in BATCHES {
                self.commits(&mut load, batch, None, seconds)?;
            }
            let (batch, per_second) = PACE;
            self.commits(&mut load, batch, Some(Duration::from_secs(1) / per_second), seconds)?;
        }
        if waiting > 0 {
            self.loading(waiting)?;
        }
        Ok(())
    }

    /// Commits batches for some seconds, one after the other or one each `pace`.
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn commits(
        &self,
        load: &mut Load<'_>,
        batch: usize,
        pace: Option<Duration>,
        seconds: u64,
    ) -> Result<(), Box<dyn Error>> {
        let (mut times, mut records) = (Vec::new(), 0);
        let (own, server, begun) = (own_cpu(), self.server_cpu(), Instant::now());
        let mut due = begun;
        while begun.elapsed() < Duration::from_secs(seconds) {
            let parts = load.next(batch);
            let mut commit = Instant::now();
            if let Some(pace) = pace {
                thread::sleep(due.saturating_duration_since(commit));
                // Counted from when it was due, so that a stall counts for all that it held up.
                commit = due;
                due += pace;
            }
            records += load.commit(&parts)?;
            times.push(commit.elapsed().as_micros());
        }
        let tasks = records as f64 / 2.0;
        let each = |time: Duration| time.as_secs_f64() * 1e6 / tasks;
        times.sort_unstable();
        let [p50, p99] = [50, 99].map(|percent| times[times.len() * percent / 100]);
        println!(
            "{:<10}{:>12}{:>10.0}{p50:>10}{p99:>10}{:>10}{:>14.1}{:>16.1}",
            self.name,
            if pace.is_some() { format!("{batch} paced") } else { batch.to_string() },
            tasks / begun.elapsed().as_secs_f64(),
            times.last().unwrap_or(&0),
            each(own_cpu() - own),
            each(self.server_cpu() - server),
        );
        Ok(())
    }

    fn loading(&self, waiting: u64) -> Result<(), Box<dyn Error>> {
        {
            let store = (self.open)()?;
            let mut load = Load::new(&*store, 2, PAYLOAD_LEN)?;
            while load.waiting() < waiting {
                let parts = load.next_submits(1024);
                load.commit(&parts)?;
            }
        }
        let begun = Instant::now();
        let store = (self.open)()?;
        let partitions = (0..PARTITIONS).map(|number| store.open(number, 3)).collect::<Result<Vec<_>, _>>()?;
        let opened = begun.elapsed();
        let (next, loaded) = (AtomicU32::new(0), AtomicU64::new(0));
        let work = || {
            while let Some(partition) = partitions.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                let mut tasks = 0;
                partition.load(0, &mut |found| tasks += u64::from(matches!(found, Loaded::Unfinished(_))))?;
                loaded.fetch_add(tasks, Ordering::Relaxed);
            }
            Ok::<_, scheduler::store::Error>(())
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..LOADS).map(|_| scope.spawn(work)).collect();
            threads.into_iter().try_for_each(|thread| thread.join().expect("it does not panic"))
        })?;
        let loaded = loaded.into_inner();
        println!("{:<10}opened in {opened:?}, with {loaded} waiting tasks loaded in {:?}", self.name, begun.elapsed());
        Ok(())
    }

    fn server_cpu(&self) -> Duration {
        self.server.map(Postgres::cpu_time).unwrap_or_default()
    }
}

/// Processor time that this process has used.
fn own_cpu() -> Duration {
    testkit::process::cpu_time(std::process::id())
}
