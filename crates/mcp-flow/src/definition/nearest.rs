//! Which name was probably meant.

/// Most edits between a name and what was meant by it.
const EDITS_MAX: usize = 2;

/// The name that differs least from `name`, when it differs little.
pub(super) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut best = None;
    for candidate in names {
        let most = best.map_or(EDITS_MAX, |(edits, _): (usize, &str)| edits.saturating_sub(1));
        if let Some(edits) = edits(name.as_bytes(), candidate.as_bytes(), most) {
            best = Some((edits, candidate));
            if edits <= 1 {
                break;
            }
        }
    }
    // A name that would have to be changed half is another name.
    best.filter(|(edits, _)| edits * 2 < name.len()).map(|(_, name)| name)
}

/// How many bytes must be added, removed or changed to make `a` of `b`. None if it is more than `most`.
fn edits(a: &[u8], b: &[u8], most: usize) -> Option<usize> {
    if a.len().abs_diff(b.len()) > most {
        return None;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (at, left) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        let mut least = row[0];
        for (column, right) in b.iter().enumerate() {
            let change = diagonal + usize::from(left != right);
            diagonal = row[column + 1];
            row[column + 1] = change.min(diagonal + 1).min(row[column] + 1);
            least = least.min(row[column + 1]);
        }
        if least > most {
            return None;
        }
    }
    row.last().copied().filter(|edits| *edits <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested_if_it_is_near() {
        let names = ["fetch", "parse", "report", "x"];
        for (name, expected) in [
            ("fech", Some("fetch")),
            ("fetcher", Some("fetch")),
            ("prase", Some("parse")),
            ("repart", Some("report")),
            ("upload", None),
            ("y", None),
        ] {
            assert_eq!(nearest(name, names.into_iter()), expected, "{name}");
        }
    }
}
