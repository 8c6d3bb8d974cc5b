//! Clauses of logs.

use super::{
    Make,
    samples::{id, logs},
};
use crate::store::LogEnd;

pub fn logs_come_back_in_order_from_any_line(mut make: impl Make) {
    let partition = make().open(0, 1).unwrap();
    let (id, other) = (id(1, 1), id(1, 2));
    partition.commit(&[logs(id, 1, &["a", "b"]), logs(other, 1, &["x"])]).unwrap();
    partition.commit(&[logs(id, 3, &["c"]), logs(id, 4, &["d", "e", "f"])]).unwrap();
    let all = ["a", "b", "c", "d", "e", "f"];
    for after in 0..=7 {
        let lines = partition.logs(id, after, 100).unwrap();
        let texts: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
        let skipped = usize::try_from(after).unwrap().min(all.len());
        assert_eq!(texts, &all[skipped..], "after {after}");
        assert!(lines.iter().zip(after + 1..).all(|(line, seq)| line.seq == seq), "numbers after {after}");
    }
    assert_eq!(partition.log_end(id).unwrap().seq, 6);
    assert_eq!(partition.log_end(self::id(3, 3)).unwrap(), LogEnd::default());
}

pub fn a_log_read_is_bounded(mut make: impl Make) {
    let partition = make().open(0, 1).unwrap();
    let id = id(1, 1);
    let long = "x".repeat(16 * 1024);
    for first in 0..20 {
        partition.commit(&[logs(id, first * 10 + 1, &[long.as_str(); 10])]).unwrap();
    }
    assert_eq!(partition.logs(id, 5, 3).unwrap().iter().map(|line| line.seq).collect::<Vec<_>>(), [6, 7, 8]);
    let read = partition.logs(id, 0, usize::MAX).unwrap().len();
    assert!((60..=70).contains(&read), "{read} lines of 16 KiB in one read");
}
