//! How fast the store takes commits, on fjall and on PostgreSQL.
//!
//! Each batch holds as many new tasks as ends of tasks submitted before, over 16 partitions, as the scheduler's loop
//! would write them. Records count, so a task is two of them. Every commit is durable.
//!
//! ```text
//! cargo run --release -p scheduler --example store_throughput [fjall|postgres] [seconds for each line]
//! ```
//!
//! PostgreSQL is the one at `MCP_POSTGRES_URL`, or one that is started for this run.
#![allow(clippy::print_stdout, reason = "a program for a terminal")]

use std::{
    collections::VecDeque,
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use mcp_proto::{
    TaskId,
    scheduler::v1::{HandlerWork, TaskSpec, TaskState, task_spec::Work},
};
use prost::Message as _;
use scheduler::store::{EmbeddedStore, Fixed, Loaded, Moving, Part, PartitionStore, PostgresSettings, PostgresStore, Store, Write};

/// Partitions, as many as a cluster has by default.
const PARTITIONS: u32 = 16;
/// Records of a commit.
const BATCHES: [usize; 4] = [1, 64, 1024, 4096];
/// Commits between the submit of a task and its end.
const COMMITS_UNDER_WAY: usize = 2;
/// Seconds for each line when nothing is said.
const SECONDS_DEFAULT: u64 = 5;
/// Block cache of the embedded store.
const CACHE_BYTES: u64 = 64 << 20;
/// Tasks that wait when the loading is measured.
const WAITING: u64 = 200_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let backend = arguments.next();
    let seconds = arguments.next().map_or(Ok(SECONDS_DEFAULT), |text| text.parse())?;
    let wants = |name: &str| backend.as_deref().is_none_or(|backend| backend == name);
    println!("{:<10}{:>8}{:>14}{:>14}{:>12}{:>12}", "store", "batch", "records/s", "tasks/s", "p50 us", "p99 us");
    if wants("fjall") {
        let folder = tempfile::tempdir()?;
        measure("fjall", &EmbeddedStore::new(folder.path(), CACHE_BYTES), seconds)?;
    }
    if wants("postgres") {
        let (_server, url) = match std::env::var("MCP_POSTGRES_URL") {
            Ok(url) => (None, url),
            Err(_) => {
                let server = testkit::Postgres::start();
                let url = server.database();
                (Some(server), url)
            }
        };
        measure("postgres", &PostgresStore::connect(PostgresSettings::new(url))?, seconds)?;
    }
    Ok(())
}

fn measure(name: &str, store: &dyn Store, seconds: u64) -> Result<(), Box<dyn Error>> {
    let open = |epoch| (0..PARTITIONS).map(|number| store.open(number, epoch)).collect::<Result<Vec<_>, _>>();
    let partitions = open(1)?;
    let mut load = Load { partitions, submitted: 0, under_way: VecDeque::new(), fixed: fixed() };
    for batch in BATCHES {
        let mut times = Vec::new();
        let begun = Instant::now();
        let mut records = 0;
        while begun.elapsed() < Duration::from_secs(seconds) {
            let parts = load.next(batch);
            let commit = Instant::now();
            records += load.commit(store, &parts)?;
            times.push(commit.elapsed());
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = records as f64 / begun.elapsed().as_secs_f64();
        times.sort_unstable();
        let [p50, p99] = [50, 99].map(|percent| times[times.len() * percent / 100].as_micros());
        println!("{name:<10}{batch:>8}{rate:>14.0}{:>14.0}{p50:>12}{p99:>12}", rate / 2.0);
    }
    while load.submitted < load.ended() + WAITING {
        let parts = load.next_submits(1024);
        load.commit(store, &parts)?;
    }
    let begun = Instant::now();
    let mut loaded = 0_u64;
    for partition in open(2)? {
        partition.load(0, &mut |found| loaded += u64::from(matches!(found, Loaded::Unfinished(_))))?;
    }
    println!("{name:<10}loaded {loaded} waiting tasks in {:?}", begun.elapsed());
    Ok(())
}

/// The writes of one commit, by partition.
type Parts = Vec<Vec<Write>>;

struct Load {
    partitions: Vec<Arc<dyn PartitionStore>>,
    submitted: u64,
    /// Tasks of earlier commits, oldest first.
    under_way: VecDeque<Vec<u64>>,
    fixed: Fixed,
}

impl Load {
    /// New tasks, and the ends of earlier ones.
    fn next(&mut self, records: usize) -> Parts {
        if records == 1 && self.under_way.len() > COMMITS_UNDER_WAY {
            let mut parts = vec![Vec::new(); self.partitions.len()];
            self.end_oldest(&mut parts);
            return parts;
        }
        let mut parts = self.next_submits(records.div_ceil(2));
        if self.under_way.len() > COMMITS_UNDER_WAY {
            self.end_oldest(&mut parts);
        }
        parts
    }

    fn next_submits(&mut self, tasks: usize) -> Parts {
        let mut parts = vec![Vec::new(); self.partitions.len()];
        let first = self.submitted;
        self.submitted += tasks as u64;
        for number in first..self.submitted {
            let (id, fixed) = (id(number), self.fixed.clone());
            let moving = Moving { state: TaskState::Pending.into(), not_before: number, ..Moving::default() };
            part(&mut parts, number).push(Write::Submitted { id, fixed, whole: None, moving, key: None });
        }
        self.under_way.push_back((first..self.submitted).collect());
        parts
    }

    fn end_oldest(&mut self, parts: &mut Parts) {
        for number in self.under_way.pop_front().into_iter().flatten() {
            let moving = Moving {
                state: TaskState::Succeeded.into(),
                started: 1,
                worker_id: "worker-1".to_owned(),
                start_ms: number,
                finish_ms: number,
                ..Moving::default()
            };
            part(parts, number).push(Write::Finished { id: id(number), fixed: self.fixed.clone(), moving });
        }
    }

    /// Tasks that have ended.
    fn ended(&self) -> u64 {
        self.submitted - self.under_way.iter().map(|tasks| tasks.len() as u64).sum::<u64>()
    }

    fn commit(&self, store: &dyn Store, parts: &Parts) -> Result<usize, Box<dyn Error>> {
        let part = |(partition, writes)| Part { partition: &**partition, writes };
        let all: Vec<_> = self.partitions.iter().zip(parts.iter().map(Vec::as_slice)).map(part).collect();
        store.commit(&all)?;
        Ok(parts.iter().map(Vec::len).sum())
    }
}

fn part(parts: &mut Parts, number: u64) -> &mut Vec<Write> {
    &mut parts[(number % u64::from(PARTITIONS)) as usize]
}

/// Ids as they come: their time grows, and the rest is random.
fn id(number: u64) -> TaskId {
    let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    TaskId::new(1_700_000_000_000 + number / 50, 0, 0, random >> 2)
}

fn fixed() -> Fixed {
    let work = Work::Handler(HandlerWork { handler: "noop".to_owned(), input: None });
    let spec = TaskSpec {
        namespace: "default".to_owned(),
        queue: "emails".to_owned(),
        name: "noop".to_owned(),
        work: Some(work),
        ..TaskSpec::default()
    };
    let len = spec.encoded_len();
    Fixed::encode(spec, len, 0, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", None).0
}
