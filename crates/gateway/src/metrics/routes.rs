//! What is counted of a route, as one data-plane thread holds it.

use std::{
    cell::{OnceCell, RefCell},
    sync::Arc,
    time::Duration,
};

use super::{
    histogram::{Count, Mark},
    labels::{Answered, Packed},
    sheet::{RouteCells, Sheet},
};

/// The cells of a route, found on its first request.
#[derive(Debug)]
pub(crate) struct RouteTally {
    id: Box<str>,
    cells: OnceCell<Arc<RouteCells>>,
    /// Those of the answers that there were; as few as there are kinds of answers, so that looking through them is quick.
    answers: RefCell<Vec<(Packed, Arc<Count>)>>,
}

impl RouteTally {
    /// Nothing is found yet.
    pub(crate) fn new(id: &str) -> Self {
        Self { id: id.into(), cells: OnceCell::new(), answers: RefCell::default() }
    }

    /// The route's name.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Counts a request.
    pub(crate) fn record(&self, sheet: &Sheet, answered: Answered, duration: Duration, mark: Mark) {
        let cells = self.cells.get_or_init(|| sheet.route(&self.id));
        cells.durations[answered.protocol as usize].get_or_init(Box::default).record(duration, mark);
        let packed = answered.packed();
        let mut answers = self.answers.borrow_mut();
        if let Some((_, count)) = answers.iter().find(|(known, _)| *known == packed) {
            count.add(1);
        } else {
            let count = cells.answer(answered);
            count.add(1);
            answers.push((packed, count));
        }
    }
}
