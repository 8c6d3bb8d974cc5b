//! Events of tasks and workflows, as the scheduler tells. One data-plane thread follows it, while anybody wants them.
//!
//! Of tasks there is a stream. Of workflows there is none, so they are listed again when a task has changed, which each step
//! of a workflow is; an idle system is asked nothing.

use std::{collections::HashMap, pin::pin, rc::Rc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Uri};
use http_body_util::BodyExt;
use mcp_proto::{
    Code, Error, MESSAGE_BYTES_MAX,
    frame::BodyCodec,
    scheduler::v1::{
        ListWorkflowsRequest, ListWorkflowsResponse, WatchTasksRequest, WatchTasksResponse, Workflow, WorkflowState,
    },
};
use prost::Message;
use prost_reflect::{DynamicMessage, Value};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tonic::Status;

use super::{
    hub::{Event, Followed, Interest},
    topic::{TASKS, WORKFLOWS},
};
use crate::{
    body::forward::Forward,
    core::Core,
    ending,
    frames::ask,
    trace::Identity,
    transcode::{frames::Frames, json, receive},
    upstream::{Download, Lease, Outgoing, Priority},
};

const TASK_SERVICE: &str = "mcp.scheduler.v1.TaskService";
const WATCH: &str = "/mcp.scheduler.v1.TaskService/WatchTasks";
const WORKFLOW_SERVICE: &str = "mcp.scheduler.v1.WorkflowService";
const LIST: &str = "/mcp.scheduler.v1.WorkflowService/ListWorkflows";

/// First and longest pause before the scheduler is asked again.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How long workflows are not listed again after a change of a task: a burst of changes is looked at once.
const LIST_PAUSE: Duration = Duration::from_millis(500);

/// How often they are listed while one of them goes on by itself: its last step is not the end of it.
const LIST_INTERVAL: Duration = Duration::from_secs(1);

/// Workflows that are looked at: the newest.
const LIST_MAX: i32 = 200;

/// Longest time that listing them may take.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest group of changes or list, in bytes.
const ANSWER_BYTES_MAX: usize = 4 * MESSAGE_BYTES_MAX;

/// How a workflow looks, as far as that is an event.
type Look = (i32, u32);

/// How the workflows looked when they were listed last; `None`: nobody has looked.
type Looks = Option<HashMap<String, Look>>;

/// Follows the scheduler, for ever.
pub(crate) async fn follow(core: Rc<Core>) {
    let hub = &core.shared.frames.hub;
    let mut interest = hub.interest();
    let (mut pause, mut looks) = (PAUSE_MIN, None);
    loop {
        // The sender is never dropped while the core lives.
        if interest.wait_for(|interest| *interest != Interest::default()).await.is_err() {
            return;
        }
        let mut unwanted = interest.clone();
        let ended = tokio::select! {
            ended = stream(&core, interest.clone(), &mut looks, &mut pause) => ended,
            _ = unwanted.wait_for(|interest| *interest == Interest::default()) => {
                looks = None;
                continue;
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "the scheduler's events are not followed for a moment");
        }
        hub.follow(|followed| *followed = Followed { failed: true, ..Followed::default() });
        sleep(pause.mul_f64(0.5 + rand::random::<f64>() / 2.0)).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Passes on what one stream tells, until it ends.
async fn stream(
    core: &Rc<Core>,
    mut interest: watch::Receiver<Interest>,
    looks: &mut Looks,
    pause: &mut Duration,
) -> Result<(), Error> {
    let request = WatchTasksRequest::default().encode_to_vec();
    let (mut source, lease) = open(core, (TASK_SERVICE, WATCH), &request, None).await?;
    let hub = &core.shared.frames.hub;
    hub.follow(|followed| *followed = Followed::default());
    // What is wanted now is looked at first.
    interest.mark_changed();
    let mut frames = Frames::new(ANSWER_BYTES_MAX);
    let mut list_at = None;
    loop {
        let frame = tokio::select! {
            frame = source.frame() => frame,
            _ = interest.changed() => {
                let wanted = *interest.borrow_and_update();
                hub.follow(|followed| followed.tasks = true);
                if wanted.workflows == 0 {
                    (list_at, *looks) = (None, None);
                } else if !hub.followed().workflows {
                    // Somebody is new, and waits until they are looked at.
                    list_at = Some(Instant::now());
                }
                continue;
            }
            () = sleep_until(list_at.unwrap_or_else(Instant::now)), if list_at.is_some() => {
                let goes_on = workflows(core, looks).await;
                hub.follow(|followed| followed.workflows = true);
                list_at = goes_on.then(|| Instant::now() + LIST_INTERVAL);
                continue;
            }
        };
        let frame = frame.ok_or_else(ending::without_status)?.map_err(|error| ending::failure(&error));
        let data = match frame.inspect_err(|error| lease.failed(error))?.into_data() {
            Ok(data) => data,
            Err(trailers) => {
                return ending::outcome(trailers.into_trailers().unwrap_or_default(), None)
                    .inspect_err(|error| lease.failed(error));
            }
        };
        frames.push(&data);
        while let Some(message) = frames.next().map_err(receive::unreadable)? {
            *pause = PAUSE_MIN;
            tasks(core, message)?;
            if hub.wanted().workflows > 0 {
                list_at = list_at.or_else(|| Some(Instant::now() + LIST_PAUSE));
            }
        }
    }
}

/// Publishes a group of changes of tasks.
fn tasks(core: &Core, message: Bytes) -> Result<(), Error> {
    let group = WatchTasksResponse::decode(message.clone()).map_err(Error::internal)?;
    if group.events.is_empty() || core.shared.frames.hub.wanted().tasks == 0 {
        return Ok(());
    }
    for (event, body) in group.events.iter().zip(bodies(core, WATCH, "events", message)?) {
        let topic = format!("{TASKS}/{}/{}", event.namespace, event.task_id);
        core.shared.frames.publish(Event { topic, codec: BodyCodec::Json, body });
    }
    Ok(())
}

/// Publishes the workflows that look other than when they were listed before; true when one goes on by itself, or when they
/// cannot be listed now.
async fn workflows(core: &Rc<Core>, looks: &mut Looks) -> bool {
    let listed = match list(core).await {
        Ok(listed) => listed,
        Err(error) => {
            tracing::debug!(%error, "workflows cannot be listed now");
            return true;
        }
    };
    let mut seen = HashMap::with_capacity(listed.len());
    for (id, namespace, look, body) in listed {
        // The first look is what changes are told from.
        if looks.as_ref().is_some_and(|looks| looks.get(&id) != Some(&look)) {
            let topic = format!("{WORKFLOWS}/{namespace}/{id}");
            core.shared.frames.publish(Event { topic, codec: BodyCodec::Json, body });
        }
        seen.insert(id, look);
    }
    let goes_on = [WorkflowState::Running, WorkflowState::Ending].map(i32::from);
    looks.insert(seen).values().any(|(state, _)| goes_on.contains(state))
}

/// The newest workflows: id, namespace, look, and JSON.
async fn list(core: &Rc<Core>) -> Result<Vec<(String, String, Look, Bytes)>, Error> {
    let request = ListWorkflowsRequest { page_size: LIST_MAX, ..ListWorkflowsRequest::default() }.encode_to_vec();
    let (source, lease) = open(core, (WORKFLOW_SERVICE, LIST), &request, Some(LIST_TIMEOUT)).await?;
    let answer = pin!(receive::answer(source, ANSWER_BYTES_MAX, None));
    let answer = tokio::time::timeout(LIST_TIMEOUT, answer).await.map_err(|_| crate::deadline::exceeded())?;
    let message = answer.inspect_err(|error| lease.failed(error))?;
    lease.finish(tonic::Code::Ok);
    let listed = ListWorkflowsResponse::decode(message.clone()).map_err(Error::internal)?;
    let bodies = bodies(core, LIST, "workflows", message)?;
    let of = |(workflow, body): (Workflow, Bytes)| {
        let namespace = workflow.spec.unwrap_or_default().namespace;
        (workflow.id, namespace, (workflow.state, workflow.steps_ended), body)
    };
    Ok(listed.workflows.into_iter().zip(bodies).map(of).collect())
}

/// The messages in a repeated field of a method's answer, as JSON.
fn bodies(core: &Core, path: &str, field: &str, message: Bytes) -> Result<Vec<Bytes>, Error> {
    let held = core.descriptors();
    let Some((_, facts)) = held.snapshot.method(path) else {
        return Err(Error::new(Code::ServiceNotFound, format!("the descriptor of `{path}` is not there")));
    };
    let message = DynamicMessage::decode(facts.by_name.rpc.output(), message).map_err(Error::internal)?;
    let Some(Value::List(values)) = message.get_field_by_name(field).map(std::borrow::Cow::into_owned) else {
        return Ok(Vec::new());
    };
    let messages = values.iter().filter_map(Value::as_message);
    messages.map(|message| json::write(&held.snapshot, message, None)).collect()
}

/// Asks the scheduler, in the gateway's own name.
async fn open(
    core: &Rc<Core>,
    (service, path): (&str, &'static str),
    message: &[u8],
    timeout: Option<Duration>,
) -> Result<(Download, Lease), Error> {
    let request = ask::grpc(HeaderMap::new(), Uri::from_static(path), Bytes::new(), timeout);
    let mut request = request.map(|_| Forward::Whole(ask::framed(message).ok()));
    let identity = Identity::quiet(request.headers());
    identity.inject(request.headers_mut());
    let now = Instant::now();
    let outgoing = Outgoing {
        service,
        policy: core.upstreams.policy(),
        priority: Priority::default(),
        safe: true,
        measured: false,
        deadline: timeout.map(|timeout| now + timeout),
        now,
        identity: &identity,
        request,
    };
    let (response, lease) = core.upstreams.call(outgoing).await?;
    let (parts, source) = response.into_parts();
    if parts.status != StatusCode::OK {
        lease.broke();
        return Err(Error::new(Code::UpstreamFailed, format!("the instance answered HTTP {}", parts.status.as_u16())));
    }
    if parts.headers.contains_key(Status::GRPC_STATUS) {
        ending::outcome(parts.headers, None).inspect_err(|error| lease.failed(error))?;
        return Err(ending::without_status());
    }
    Ok((source, lease))
}
