//! A client's greeting: who it is, and the session that it comes back to.

use std::{rc::Rc, sync::Arc, time::Duration};

use http::{HeaderValue, Request, header};
use mcp_proto::Error;
use tokio::time::timeout;

use super::{
    ask,
    connection::Talk,
    session::Greeting,
    sessions::{Inheritance, Place},
};
use crate::{
    caller::Caller,
    core::Core,
    gate::{self, Goal},
    security::principal::Principal,
};

/// Longest time that a session may take to hand over what it leaves.
const CLAIM_MAX: Duration = Duration::from_secs(2);

/// Finds out who speaks by these credentials, as for a call.
///
/// # Errors
/// Those of [`gate::pass`].
pub(super) async fn identify(
    core: &Core,
    caller: &Caller,
    authorization: Option<HeaderValue>,
) -> Result<Arc<Principal>, Error> {
    let mut request = Request::new(());
    if let Some(value) = authorization {
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
    let (_, passed) = gate::pass(core, &mut request, caller, (Goal::Known, false)).await;
    passed?;
    Ok(request.extensions().get::<Arc<Principal>>().cloned().unwrap_or_else(|| Arc::new(Principal::anonymous())))
}

/// Answers a greeting.
pub(super) async fn greet(talk: &mut Talk, greeting: Greeting) {
    match settle(talk, &greeting).await {
        Ok(inheritance) => {
            let Some(Inheritance { kept, legacies, subscriptions }) = inheritance else {
                return;
            };
            for frame in kept {
                talk.desk.send(frame);
            }
            talk.inherit(legacies);
            for frame in subscriptions {
                // A right that is gone since, or a wrong credential: its client finds out when it subscribes again.
                talk.try_subscribe(&frame).await.unwrap_or_default();
            }
        }
        Err(error) => {
            let order = talk.desk.session.borrow_mut().not_greeted(&greeting, &error);
            talk.carry_out(order);
        }
    }
}

async fn settle(talk: &mut Talk, greeting: &Greeting) -> Result<Option<Inheritance>, Error> {
    let authorization = greeting.authorization.as_deref().map(ask::credentials).transpose()?;
    let core = Rc::clone(&talk.core);
    if let Some(value) = &authorization {
        identify(&core, talk.desk.caller(), Some(value.clone())).await?;
    }
    let sessions = &core.shared.frames.sessions;
    let inheritance = match sessions.claim(&greeting.resume, authorization.as_ref()) {
        Some(claim) => timeout(CLAIM_MAX, claim).await.ok().and_then(Result::ok),
        None => None,
    };
    let id = inheritance.is_some().then(|| greeting.resume.clone());
    let place: Place = sessions.enter(id, authorization.clone())?;
    talk.desk.set_authorization(authorization);
    let ack = talk.desk.session.borrow_mut().greeted(greeting, &place.id, core.frames.budget.clone());
    talk.desk.send(ack);
    talk.place = Some(place);
    Ok(inheritance)
}
