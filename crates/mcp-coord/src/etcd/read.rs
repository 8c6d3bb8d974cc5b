//! Reading ranges, and turning etcd's types into ours.

use etcd_client::{GetOptions, ResponseHeader, SortOrder, SortTarget};

use super::link::{Failure, Link};
use crate::model::{KeyValue, LeaseId, Revision, Snapshot};

/// How many keys are read at once. With [`limits::VALUE_BYTES_MAX`](crate::limits::VALUE_BYTES_MAX) it keeps an answer
/// under [`ANSWER_BYTES_MAX`].
const PAGE_LEN: i64 = 200;
/// Largest answer that is taken, in bytes.
pub(super) const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How often a range starts again because its revision was compacted between two pages.
const STARTS_MAX: usize = 3;

/// What a prefix looks like now, without reading its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Summary {
    /// Revision of the whole store.
    pub(super) revision: i64,
    /// How many keys there are.
    pub(super) count: i64,
    /// The latest write among the keys that are there; 0 when there are none.
    pub(super) modified: i64,
}

/// All keys that start with `prefix`, sorted, at one revision.
pub(super) async fn range(link: &Link, prefix: &str) -> Result<Snapshot, Failure> {
    for _ in 0..STARTS_MAX {
        match range_once(link, prefix).await {
            Err(Failure::Compacted) => {}
            other => return other,
        }
    }
    Err(Failure::Unavailable(format!("the keys under `{prefix}` were compacted {STARTS_MAX} times while being read")))
}

async fn range_once(link: &Link, prefix: &str) -> Result<Snapshot, Failure> {
    let mut entries: Vec<KeyValue> = Vec::new();
    let mut at = None;
    loop {
        let (start, end) = (page_start(prefix, entries.last()), range_end(prefix));
        let options = GetOptions::new().with_range(end).with_limit(PAGE_LEN).with_revision(at.unwrap_or(0));
        let mut answer = link
            .call(|client| async move {
                client.kv_client().max_decoding_message_size(ANSWER_BYTES_MAX).get(start, Some(options)).await
            })
            .await?;
        let revision = *at.get_or_insert_with(|| revision(answer.header()).0);
        entries.extend(answer.take_kvs().into_iter().map(key_value));
        if !answer.more() {
            return Ok(Snapshot { entries, revision: Revision(revision) });
        }
    }
}

/// Reads the summary of a prefix; linearizable, so it is as fresh as etcd itself.
pub(super) async fn summary(link: &Link, prefix: &str) -> Result<Summary, Failure> {
    let (start, end) = (page_start(prefix, None), range_end(prefix));
    let options =
        GetOptions::new().with_range(end).with_limit(1).with_keys_only().with_sort(SortTarget::Mod, SortOrder::Descend);
    let answer = link.call(|mut client| async move { client.get(start, Some(options)).await }).await?;
    Ok(Summary {
        revision: revision(answer.header()).0,
        count: answer.count(),
        modified: answer.kvs().first().map_or(0, etcd_client::KeyValue::mod_revision),
    })
}

/// The first key of the next page: the one right after `last`.
fn page_start(prefix: &str, last: Option<&KeyValue>) -> Vec<u8> {
    match last {
        Some(last) => [last.key.as_bytes(), &[0]].concat(),
        None if prefix.is_empty() => vec![0],
        None => prefix.as_bytes().to_vec(),
    }
}

/// The first key after all that start with `prefix`.
pub(super) fn range_end(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![0] // etcd's sign for "to the end"
}

pub(super) fn revision(header: Option<&ResponseHeader>) -> Revision {
    Revision(header.map_or(0, ResponseHeader::revision))
}

/// Our keys are text; in a foreign one, what is not text is replaced.
pub(super) fn key_value(found: etcd_client::KeyValue) -> KeyValue {
    let (created, modified) = (Revision(found.create_revision()), Revision(found.mod_revision()));
    let lease = (found.lease() != 0).then(|| LeaseId(found.lease()));
    let (key, value) = found.into_key_value();
    KeyValue { key: String::from_utf8_lossy(&key).into_owned(), value: value.into(), created, modified, lease }
}

#[cfg(test)]
mod tests {
    use super::range_end;

    #[test]
    fn a_range_ends_after_its_last_key() {
        assert_eq!(range_end("/a/"), b"/a0");
        assert_eq!(range_end(""), [0]);
        assert_eq!(range_end("a\u{7f}"), b"a\x80");
    }
}
