//! What a session is subscribed to: how that begins and ends, and its events on their way out.

use std::{
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use mcp_proto::{
    Code, Error,
    frame::{Frame, Metadata},
};

use tokio::time::timeout;

use super::{
    ask,
    connection::Talk,
    desk::Part,
    hello,
    topics::{
        hub::{Mail, Mailbox, Subscribed, Wanted},
        topic::Sees,
    },
};

/// Longest time that the answer to a subscription waits for the scheduler.
const HOLDS_MAX: Duration = Duration::from_secs(2);

impl Talk {
    /// Ends the subscriptions to the topic that a frame names, or what goes on under its number.
    pub(super) fn end(&mut self, asked: &Frame, answer: Frame) {
        let topic = serde_json::from_slice::<Wanted>(&asked.body).ok().map(|wanted| wanted.topic);
        let has_ended = match &topic {
            Some(topic) => self.unsubscribe(|subscribed| subscribed.topic() == topic),
            None => {
                let number = asked.sequence;
                self.unsubscribe(|subscribed| subscribed.sequence() == number)
                    || self.desk.end_stream(number)
                    || self.end_inherited(number)
            }
        };
        if has_ended {
            if self.desk.session.borrow().wants_answer(asked) {
                self.desk.send(answer);
            }
            return;
        }
        let what = topic.map_or_else(|| format!("the number {}", asked.sequence), |topic| format!("`{topic}`"));
        self.desk.refuse(asked, &Error::new(Code::NotFound, format!("nothing goes on under {what}")));
    }

    /// Begins a subscription. It holds when its answer comes: what happens after that is told.
    pub(super) async fn subscribe(&mut self, frame: Frame) {
        if let Err(error) = self.try_subscribe(&frame).await {
            return self.desk.refuse(&frame, &error);
        }
        let desk = Rc::clone(&self.desk);
        match self.subscriptions.last().and_then(|(subscribed, _)| subscribed.holds()) {
            Some(holds) => self.begin_answer(async move {
                // Whoever waits for too long hears of what happens later.
                timeout(HOLDS_MAX, holds).await.unwrap_or_default();
                desk.answer(&frame, Bytes::new(), Part::ONLY).await;
            }),
            None => self.begin_answer(async move { desk.answer(&frame, Bytes::new(), Part::ONLY).await }),
        }
    }

    /// The same without an answer.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`, `PERMISSION_DENIED`, `OVERLOADED`, and those of whoever calls.
    pub(super) async fn try_subscribe(&mut self, frame: &Frame) -> Result<(), Error> {
        let wanted: Wanted = serde_json::from_slice(&frame.body)
            .map_err(|error| Error::new(Code::MalformedBody, format!("the subscription is not readable: {error}")))?;
        let authorization = match frame.metadata()?.get(Metadata::AUTHORIZATION) {
            Some(text) => Some(ask::credentials(text)?),
            None => self.desk.authorization(),
        };
        let principal = hello::identify(&self.core, self.desk.caller(), authorization).await?;
        let events_max = self.core.frames.settings.events_max;
        let mailbox = self.mailbox.get_or_insert_with(|| Mailbox::new(events_max));
        self.desk.session.borrow_mut().begin(true)?;
        let hub = &self.core.shared.frames.hub;
        match hub.subscribe(frame.sequence, &wanted, mailbox, |pattern| Sees::of(&principal.grants, pattern)) {
            Ok(subscribed) => {
                self.subscriptions.push((subscribed, frame.clone()));
                Ok(())
            }
            Err(error) => {
                self.desk.session.borrow_mut().ended(true);
                Err(error)
            }
        }
    }

    /// Ends subscriptions; `false` when there is none of these.
    pub(super) fn unsubscribe(&mut self, is_meant: impl Fn(&Subscribed) -> bool) -> bool {
        let before = self.subscriptions.len();
        self.subscriptions.retain(|(subscribed, _)| !is_meant(subscribed));
        let ended = before - self.subscriptions.len();
        (0..ended).for_each(|_| self.desk.session.borrow_mut().ended(true));
        if self.subscriptions.is_empty() {
            self.subscriptions = Vec::new();
            self.mailbox = None;
        }
        ended > 0
    }

    /// Passes on the events that wait, as far as there is room; true when they are too many for their subscriber.
    pub(super) fn poll_events(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(mailbox) = &self.mailbox else {
            return false;
        };
        while self.desk.has_room() {
            match mailbox.poll(cx) {
                Poll::Ready(Mail::Event(frame)) => self.desk.send(frame),
                Poll::Ready(Mail::TooSlow) => return true,
                Poll::Pending => break,
            }
        }
        false
    }
}
