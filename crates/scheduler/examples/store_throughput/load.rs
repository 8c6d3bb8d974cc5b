//! What is committed: new tasks, and the ends of earlier ones.

use std::{collections::VecDeque, error::Error, sync::Arc};

use bytes::Bytes;
use mcp_proto::{
    TaskId,
    scheduler::v1::{HandlerWork, TaskSpec, TaskState, task_spec::Work},
};
use prost::Message as _;
use scheduler::store::{Fixed, Moving, Part, PartitionStore, Store, Write};

/// Partitions, as many as a cluster has by default.
pub(super) const PARTITIONS: u32 = 16;
/// Commits between the submit of a task and its end.
const COMMITS_UNDER_WAY: usize = 2;
/// Tasks submitted in each millisecond, by their ids.
const TASKS_PER_MS: u64 = 50;

/// The writes of one commit, by partition.
pub(super) type Parts = Vec<Vec<Write>>;

/// Makes the writes, and commits them.
pub(super) struct Load<'a> {
    store: &'a dyn Store,
    partitions: Vec<Arc<dyn PartitionStore>>,
    /// Milliseconds before the first task's id.
    since: u64,
    submitted: u64,
    /// Tasks of earlier commits, oldest first.
    under_way: VecDeque<Vec<u64>>,
    fixed: Fixed,
    whole: Option<Bytes>,
}

impl<'a> Load<'a> {
    /// Opens all partitions under `epoch`. Tasks have `payload_len` bytes of payload.
    pub(super) fn new(store: &'a dyn Store, epoch: u64, payload_len: usize) -> Result<Self, Box<dyn Error>> {
        let partitions = (0..PARTITIONS).map(|number| store.open(number, epoch)).collect::<Result<_, _>>()?;
        let (fixed, whole) = fixed(payload_len);
        let since = 1_700_000_000_000 + epoch * 10_000_000;
        Ok(Self { store, partitions, since, submitted: 0, under_way: VecDeque::new(), fixed, whole })
    }

    /// New tasks, and the ends of earlier ones.
    pub(super) fn next(&mut self, records: usize) -> Parts {
        let may_end = self.under_way.len() > COMMITS_UNDER_WAY;
        let mut parts = match records {
            1 if may_end => vec![Vec::new(); self.partitions.len()],
            _ => self.next_submits(records.div_ceil(2)),
        };
        if may_end {
            self.end_oldest(&mut parts);
        }
        parts
    }

    /// New tasks only.
    pub(super) fn next_submits(&mut self, tasks: usize) -> Parts {
        let mut parts = vec![Vec::new(); self.partitions.len()];
        let first = self.submitted;
        self.submitted += tasks as u64;
        for number in first..self.submitted {
            let (id, fixed, whole) = (self.id(number), self.fixed.clone(), self.whole.clone());
            let moving = Moving { state: TaskState::Pending.into(), not_before: number, ..Moving::default() };
            part(&mut parts, number).push(Write::Submitted { id, fixed, whole, moving, key: None });
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
                start_ms: self.since + number,
                finish_ms: self.since + number,
                ..Moving::default()
            };
            let (id, fixed) = (self.id(number), self.fixed.clone());
            part(parts, number).push(Write::Finished { id, fixed, moving });
        }
    }

    /// Tasks that have not ended.
    pub(super) fn waiting(&self) -> u64 {
        self.under_way.iter().map(|tasks| tasks.len() as u64).sum()
    }

    /// Commits; returns the number of records.
    pub(super) fn commit(&self, parts: &Parts) -> Result<usize, scheduler::store::Error> {
        let pairs = self.partitions.iter().zip(parts).filter(|(_, writes)| !writes.is_empty());
        let parts_of: Vec<_> = pairs.map(|(partition, writes)| Part { partition: &**partition, writes }).collect();
        self.store.commit(&parts_of)?;
        Ok(parts.iter().map(Vec::len).sum())
    }

    /// Ids as they come: their time grows, and the rest is random.
    fn id(&self, number: u64) -> TaskId {
        let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        TaskId::new(self.since + number / TASKS_PER_MS, 0, 0, random >> 2)
    }
}

fn part(parts: &mut Parts, number: u64) -> &mut Vec<Write> {
    let at = usize::try_from(number % u64::from(PARTITIONS)).expect("a partition's number is small");
    &mut parts[at]
}

fn fixed(payload_len: usize) -> (Fixed, Option<Bytes>) {
    let text = prost_types::value::Kind::StringValue("x".repeat(payload_len));
    let input = (payload_len > 0).then_some(prost_types::Value { kind: Some(text) });
    let work = Work::Handler(HandlerWork { handler: "noop".to_owned(), input });
    let spec = TaskSpec {
        namespace: "default".to_owned(),
        queue: "emails".to_owned(),
        name: "noop".to_owned(),
        work: Some(work),
        ..TaskSpec::default()
    };
    let len = spec.encoded_len();
    Fixed::encode(spec, len, 0, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", None)
}
