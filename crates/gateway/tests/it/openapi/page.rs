//! The page at `/docs`.

use bytes::Bytes;
use http::Method;

use crate::support::Cluster;

#[tokio::test]
async fn the_page_and_all_that_it_names_are_there_under_its_policy() {
    let cluster = Cluster::with(&[]).await;
    let page = cluster.get("/docs").await;
    assert_eq!(
        (page.status.as_u16(), &page.headers["content-type"]),
        (200, &"text/html; charset=utf-8".parse().unwrap())
    );
    let named = |text: &str| {
        let parts = text.split(['"', '\'']).skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        parts.into_iter().filter(|name| name.ends_with(".js") || name.ends_with(".css") || name.ends_with(".json"))
    };
    let mut files: Vec<String> = named(page.text()).map(|name| format!("/{name}")).collect();
    files.dedup();
    assert_eq!(files, ["/docs/docs.css", "/docs/docs.js", "/openapi.json"]);
    let script = cluster.get("/docs/docs.js").await;
    let imported = script.text().lines().filter(|line| line.starts_with("import "));
    files.extend(imported.flat_map(named).map(|name| name.replacen("./", "/docs/", 1)));
    assert!(files.contains(&"/docs/schemas.js".to_owned()) && files.contains(&"/docs/try.js".to_owned()), "{files:?}");
    for path in &files {
        let answer = cluster.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{path}");
        let etag = answer.headers["etag"].to_str().unwrap();
        let again = cluster.send(Method::GET, path, &[("if-none-match", etag)], Bytes::new()).await;
        assert_eq!((again.status.as_u16(), again.body.len()), (304, 0), "{path}");
    }
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"), "{policy}");
    let folder = cluster.get("/docs/").await;
    assert_eq!((folder.status.as_u16(), folder.headers["location"].as_bytes()), (308, &b"../docs"[..]));
    assert_eq!(cluster.get("/docs/other.js").await.error(), "404 PATH_NOT_FOUND");
}

#[tokio::test]
async fn the_document_is_packed_for_those_who_can_unpack_it() {
    use std::io::Read;
    let cluster = Cluster::with(&[]).await;
    let plain = cluster.get("/openapi.json").await;
    let packed = cluster.send(Method::GET, "/openapi.json", &[("accept-encoding", "gzip")], Bytes::new()).await;
    assert_eq!(packed.headers["content-encoding"], "gzip");
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(packed.body.as_ref()).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.body);
    assert!(packed.body.len() < plain.body.len());
    let head = cluster.send(Method::HEAD, "/openapi.json", &[], Bytes::new()).await;
    assert_eq!((head.status.as_u16(), head.body.len(), &head.headers["etag"]), (200, 0, &plain.headers["etag"]));
}
