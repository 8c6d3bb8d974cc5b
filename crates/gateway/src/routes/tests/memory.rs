//! What thousands of routes take of memory, counted by the allocator.

use std::sync::Arc;

use allocation_counter::measure;
use bytes::Bytes;
use http::Request;
use mcp_coord::{Change, KeyValue, Revision};

use super::{CompiledRoute, Head, many::nth};
use crate::routes::{known::Known, table::RouteTable};

const COUNT: usize = 5_000;
/// Most that a route may take, in bytes: its key, its compiled form, and its part of one table.
const ROUTE_BYTES_MAX: i64 = 1_000;
/// Most that a table adds to its routes, in bytes for each of them; there are two of it while one follows the other.
const TABLE_BYTES_MAX: i64 = 160;
/// Most pieces of memory that making a table of thousands takes.
const PIECES_MAX: u64 = 300;

/// What is known after so many routes were written one by one.
fn known(count: usize) -> Known {
    let mut known = Known::new("/r/".into(), "/p/".into(), Arc::new(CompiledRoute::default_route()));
    for number in 0..count {
        let json = nth(number);
        let (key, value) = (format!("/r/{}", json["id"].as_str().unwrap()), Bytes::from(json.to_string()));
        let entry = KeyValue { key, value, created: Revision(1), modified: Revision(1), lease: None };
        assert!(known.apply_route(Change::Put(entry)));
    }
    known
}

#[test]
fn thousands_of_routes_take_little_memory() {
    // What is made once, such as descriptors, is there before.
    let few = known(5).table();
    let (mut all, mut table) = (None, RouteTable::default());
    let kept = measure(|| all = Some(known(COUNT)));
    let all = all.unwrap();
    let built = measure(|| table = all.table());
    let count = i64::try_from(COUNT).unwrap();
    let (route, part) = ((kept.bytes_current + built.bytes_current) / count, built.bytes_current / count);
    println!("{route} bytes for each route, {part} of them in the table of {} pieces", built.count_total);
    assert!(route <= ROUTE_BYTES_MAX, "{route} bytes for each route");
    assert!(part <= TABLE_BYTES_MAX, "{part} bytes for each route in a table");
    assert!(built.count_total <= PIECES_MAX, "{} pieces of memory for a table", built.count_total);

    let request =
        Request::builder().uri("/tenants").header("x-t", "3").header("host", "h0.example.com").body(()).unwrap();
    let find =
        |table: &RouteTable| measure(|| assert_eq!(&*table.find(Head::from(&request), || None).route.facts.id, "r3"));
    assert_eq!(find(&table).count_total, find(&few).count_total, "a request costs the same with many as with few");
}
