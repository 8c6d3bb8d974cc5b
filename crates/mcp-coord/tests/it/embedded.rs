//! What only the embedded backend promises.

use bytes::Bytes;
use mcp_coord::{Coordinator as _, Embedded, Error};

#[tokio::test]
async fn a_folder_has_one_user_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let first = Embedded::open(folder.path()).unwrap();
    let second = Embedded::open(folder.path());
    assert!(matches!(&second, Err(Error::Unavailable { reason }) if reason.contains("another process")), "{second:?}");
    drop(first);
    Embedded::open(folder.path()).unwrap();
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(Embedded::open(folder.path()).unwrap());
    let file = folder.path().join("coordination.json");
    std::fs::write(&file, "{\"generation\": 1, ").unwrap();
    assert!(matches!(Embedded::open(folder.path()), Err(Error::Unavailable { .. })));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "{\"generation\": 1, ");
}

#[tokio::test]
async fn keys_under_a_lease_do_not_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let coord = Embedded::open(folder.path()).unwrap();
    let lease = coord.grant(std::time::Duration::from_secs(600)).await.unwrap();
    coord.put("/leased", Bytes::from_static(b"x"), None).await.unwrap();
    coord.put("/leased", Bytes::from_static(b"y"), Some(lease)).await.unwrap();
    drop(coord);
    let coord = Embedded::open(folder.path()).unwrap();
    assert_eq!(coord.get("/leased").await.unwrap(), None);
    assert!(matches!(coord.keep_alive(lease).await, Err(Error::LeaseEnded { .. })));
}

#[tokio::test]
async fn a_key_without_a_lease_is_on_disk_when_the_write_answers() {
    let folder = tempfile::tempdir().unwrap();
    let coord = Embedded::open(folder.path()).unwrap();
    let writes = (0..50).map(|n| {
        let coord = coord.clone();
        async move { coord.put(&format!("/k/{n}"), Bytes::from_static(b"x"), None).await.unwrap() }
    });
    futures_util::future::join_all(writes).await;
    let file = std::fs::read_to_string(folder.path().join("coordination.json")).unwrap();
    for n in 0..50 {
        assert!(file.contains(&format!("\"/k/{n}\"")), "{n} is missing in {file}");
    }
}
