//! Asks every data-plane thread what it knows. A thread answers between calls; nothing is shared with it.

use std::sync::{Mutex, PoisonError};

use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot};

use super::view::View;

/// Questions that wait for a busy thread; more wait at the asker's.
const QUESTIONS_MAX: usize = 8;

/// A question: where to send the answer.
pub(crate) type Question = oneshot::Sender<View>;

/// The threads that can be asked.
#[derive(Debug, Default)]
pub(crate) struct Inspector(Mutex<Vec<mpsc::Sender<Question>>>);

impl Inspector {
    /// One more thread can be asked: these are the questions that it has to answer.
    pub(crate) fn join(&self) -> mpsc::Receiver<Question> {
        let (sender, questions) = mpsc::channel(QUESTIONS_MAX);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        questions
    }

    /// What each thread knows; those that have ended know nothing.
    pub(crate) async fn views(&self) -> Vec<View> {
        let threads = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let asked = threads.into_iter().map(|thread| async move {
            let (question, answer) = oneshot::channel();
            thread.send(question).await.ok()?;
            answer.await.ok()
        });
        join_all(asked).await.into_iter().flatten().collect()
    }
}
