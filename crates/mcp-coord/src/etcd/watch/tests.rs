use bytes::Bytes;
use testkit::etcd::EtcdProcess;
use tokio::time::timeout;

use super::*;
use crate::{Coordinator as _, Etcd};

/// Longest wait for a stale stream to be noticed: three checks a second apart, on a busy machine.
const NOTICED_WITHIN: Duration = Duration::from_secs(30);

#[test]
fn a_check_tells_fresh_from_behind_and_from_lost_history() {
    let at = |revision, count, modified| Summary { revision, count, modified };
    for (summary, seen, keys, expected) in [
        (at(9, 2, 5), 5, 2, Verdict::Fresh),
        (at(9, 0, 0), 9, 0, Verdict::Fresh),
        (at(9, 2, 6), 5, 2, Verdict::Behind),
        (at(9, 1, 4), 5, 2, Verdict::Behind),
        (at(9, 3, 9), 9, 2, Verdict::Behind),
        (at(4, 2, 4), 5, 2, Verdict::WentBack),
    ] {
        assert_eq!(verdict(summary, seen, keys), expected, "{summary:?} seen {seen} keys {keys}");
    }
}

#[tokio::test]
async fn a_silent_stream_is_noticed_and_its_changes_are_told() {
    let server = EtcdProcess::start().await;
    let etcd = Etcd::connect(&[server.endpoint()]).await.unwrap();
    let mut watcher = Watcher::new(Arc::clone(&etcd.link), "/mine/".to_owned());
    assert!(matches!(watcher.next().await, Change::Snapshot(_)));
    // A stream that is alive but tells nothing of our prefix.
    watcher.prefix = "/other/".to_owned();
    watcher.phase = watcher.subscribe().await;
    watcher.prefix = "/mine/".to_owned();

    etcd.put("/mine/key", Bytes::from_static(b"1"), None).await.unwrap();
    let change = timeout(NOTICED_WITHIN, watcher.next()).await.expect("the silence is noticed");
    assert!(matches!(&change, Change::Snapshot(snapshot) if snapshot.entries.len() == 1), "{change:?}");
    etcd.delete("/mine/key").await.unwrap();
    let change = timeout(NOTICED_WITHIN, watcher.next()).await.expect("the new stream tells changes");
    assert!(matches!(&change, Change::Delete { .. }), "{change:?}");
}
