//! Asks every data-plane thread what it knows. A thread answers between calls; nothing is shared with it.

use std::sync::{Mutex, PoisonError};

use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot};

use super::view::View;
use crate::connections::ConnectionsView;

/// Questions that wait for a busy thread; more wait at the asker's.
const QUESTIONS_MAX: usize = 8;

/// A question, and where to send the answer.
#[derive(Debug)]
pub(crate) enum Question {
    /// What is known of the instances?
    Upstreams(oneshot::Sender<View>),
    /// Which callers are connected? At most so many after so many, as offset and limit.
    Connections((usize, usize), oneshot::Sender<ConnectionsView>),
}

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

    /// What each thread knows of the instances; those that have ended know nothing.
    pub(crate) async fn views(&self) -> Vec<View> {
        self.ask(Question::Upstreams).await
    }

    /// Each thread's connections, `limit` of them after the first `offset`.
    pub(crate) async fn connections(&self, (offset, limit): (usize, usize)) -> Vec<ConnectionsView> {
        self.ask(|answer| Question::Connections((offset, limit), answer)).await
    }

    async fn ask<T>(&self, question: impl Fn(oneshot::Sender<T>) -> Question) -> Vec<T> {
        let threads = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let asked = threads.into_iter().map(|thread| {
            let (sender, answer) = oneshot::channel();
            let question = question(sender);
            async move {
                thread.send(question).await.ok()?;
                answer.await.ok()
            }
        });
        join_all(asked).await.into_iter().flatten().collect()
    }
}
