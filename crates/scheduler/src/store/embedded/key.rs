//! The keys of the keyspaces. Each begins with its partition, so that a partition is one range of every keyspace.

use std::ops::RangeInclusive;

use mcp_proto::TaskId;

use crate::store::{Error, Table, error::corrupt};

/// Bytes of the partition.
const PARTITION_LEN: usize = 4;
/// Bytes of a task id.
const ID_LEN: usize = 16;
/// Bytes of a time.
const MS_LEN: usize = 8;

/// What is stored apart from a task's record.
#[derive(Debug, Clone, Copy)]
pub(super) enum Blob {
    Spec = 0,
    Output = 1,
}

/// Key of a task: partition, id.
pub(super) type TaskKey = [u8; PARTITION_LEN + ID_LEN];

pub(super) fn task(partition: u32, id: TaskId) -> TaskKey {
    joined([&partition.to_be_bytes(), &id.as_u128().to_be_bytes()])
}

/// The keys of all tasks of a partition.
pub(super) fn tasks(partition: u32) -> RangeInclusive<TaskKey> {
    task(partition, TaskId::from_u128(0))..=task(partition, TaskId::from_u128(u128::MAX))
}

/// The id in a task's key.
pub(super) fn task_of(key: &[u8]) -> Result<TaskId, Error> {
    id_at(key, PARTITION_LEN)
}

/// Key of a blob: partition, task id, kind.
pub(super) fn blob(partition: u32, id: TaskId, blob: Blob) -> [u8; PARTITION_LEN + ID_LEN + 1] {
    joined([&partition.to_be_bytes(), &id.as_u128().to_be_bytes(), &[blob as u8]])
}

/// Key of a chunk of a log: partition, task id, number of the first line.
pub(super) fn log(partition: u32, id: TaskId, first_seq: u64) -> [u8; PARTITION_LEN + ID_LEN + 8] {
    joined([&partition.to_be_bytes(), &id.as_u128().to_be_bytes(), &first_seq.to_be_bytes()])
}

/// Key of an idempotency key: partition, forget-at, task id.
pub(super) type ForgetKey = [u8; PARTITION_LEN + MS_LEN + ID_LEN];

pub(super) fn forget(partition: u32, forget_at: u64, id: TaskId) -> ForgetKey {
    joined([&partition.to_be_bytes(), &forget_at.to_be_bytes(), &id.as_u128().to_be_bytes()])
}

/// The idempotency keys of a partition that are forgotten between two times, both included.
pub(super) fn forgets(partition: u32, times: RangeInclusive<u64>) -> RangeInclusive<ForgetKey> {
    forget(partition, *times.start(), TaskId::from_u128(0))
        ..=forget(partition, *times.end(), TaskId::from_u128(u128::MAX))
}

/// The time and the task in an idempotency key's key.
pub(super) fn forget_of(key: &[u8]) -> Result<(u64, TaskId), Error> {
    Ok((ms_at(key, PARTITION_LEN)?, id_at(key, PARTITION_LEN + MS_LEN)?))
}

/// Key of an entry: partition, table, its own key.
pub(super) fn entry(partition: u32, table: Table, key: &[u8]) -> Vec<u8> {
    [&partition.to_be_bytes()[..], &[table as u8], key].concat()
}

/// The own key of an entry.
pub(super) fn entry_of(key: &[u8]) -> Result<&[u8], Error> {
    key.get(PARTITION_LEN + 1..).ok_or_else(|| short(key))
}

/// Key of an entry's expiry: partition, time, table, its own key.
pub(super) fn expiry(partition: u32, expires_ms: u64, table: u8, key: &[u8]) -> Vec<u8> {
    [&partition.to_be_bytes()[..], &expires_ms.to_be_bytes(), &[table], key].concat()
}

/// The time and the entry's key, with its partition and table, in an expiry's key.
pub(super) fn expiry_of(key: &[u8]) -> Result<(u64, Vec<u8>), Error> {
    let expires_ms = ms_at(key, PARTITION_LEN)?;
    let rest = key.get(PARTITION_LEN + MS_LEN..).ok_or_else(|| short(key))?;
    Ok((expires_ms, [&key[..PARTITION_LEN], rest].concat()))
}

/// Key of a partition's epoch among the store's own records.
pub(super) fn epoch(partition: u32) -> String {
    format!("epoch-{partition}")
}

fn joined<const LEN: usize, const PARTS: usize>(parts: [&[u8]; PARTS]) -> [u8; LEN] {
    let mut key = [0; LEN];
    let mut at = 0;
    for part in parts {
        key[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    key
}

fn id_at(key: &[u8], at: usize) -> Result<TaskId, Error> {
    let bytes = key.get(at..at + ID_LEN).and_then(|bytes| <[u8; ID_LEN]>::try_from(bytes).ok());
    bytes.map(|bytes| TaskId::from_u128(u128::from_be_bytes(bytes))).ok_or_else(|| short(key))
}

fn ms_at(key: &[u8], at: usize) -> Result<u64, Error> {
    let bytes = key.get(at..at + MS_LEN).and_then(|bytes| <[u8; MS_LEN]>::try_from(bytes).ok());
    bytes.map(u64::from_be_bytes).ok_or_else(|| short(key))
}

fn short(key: &[u8]) -> Error {
    corrupt(&format!("{key:02x?}"), &"its key is too short")
}
