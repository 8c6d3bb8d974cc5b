//! A session driven by any bytes, for fuzzing and for the tests: what it does is checked against rules of its own.
//!
//! The bytes are steps: time passes, bytes come and are decoded, calls begin and end, answers are kept, the gateway stops. The
//! driver is the shell of a session without its connection: it keeps what the session asks it to keep.

use std::{rc::Rc, time::Duration};

use bytes::BytesMut;
use mcp_proto::frame::{Decoded, Frame, FrameCodec, Kind, Profile, Side};
use tokio::time::Instant;
use tokio_util::codec::Decoder;

use super::{Budget, Order, Session, State};
use crate::frames::settings::FrameSettings;

/// Bytes of one frame: small, so that the limit is met.
const FRAME_BYTES_MAX: usize = 300;

/// Settings whose limits are met soon.
fn tiny() -> FrameSettings {
    FrameSettings {
        frame_bytes_max: FRAME_BYTES_MAX,
        calls_max: 3,
        subscriptions_max: 2,
        resume_frames_max: 4,
        resume_bytes_max: 600,
        resume_thread_bytes_max: 500,
        ..FrameSettings::default()
    }
}

/// What the driver knows by itself.
struct Seen {
    calls: usize,
    streams: usize,
    now: Instant,
    heard: Instant,
    is_greeted: bool,
    is_draining: bool,
}

/// Drives a session by these bytes.
///
/// # Panics
/// The session broke one of its rules.
pub(crate) fn drive(data: &[u8]) {
    let [profile, data @ ..] = data else { return };
    let profile = Profile::ALL[usize::from(*profile) % Profile::ALL.len()];
    let (settings, budget, now) = (Rc::new(tiny()), Budget::default(), Instant::now());
    let mut session = Session::new(profile, Rc::clone(&settings), now);
    let mut codec = FrameCodec::new(profile, FRAME_BYTES_MAX, Side::Server);
    let mut seen = Seen { calls: 0, streams: 0, now, heard: now, is_greeted: false, is_draining: false };
    let (mut input, mut left) = (BytesMut::new(), data);
    while let [step, argument, rest @ ..] = left {
        left = rest;
        match step % 8 {
            0 => seen.now += Duration::from_secs(u64::from(*argument)),
            1 | 2 => {
                let (bytes, rest) = left.split_at(left.len().min(usize::from(*argument)));
                left = rest;
                input.extend_from_slice(bytes);
                take(&mut session, &mut codec, &mut input, &mut seen, &budget);
            }
            3 => tick(&mut session, &mut seen, &settings, *argument % 4 != 0),
            4 if seen.calls > 0 => {
                session.ended(false);
                seen.calls -= 1;
            }
            4 | 5 if seen.streams > 0 => {
                session.ended(true);
                seen.streams -= 1;
            }
            6 => {
                let body = vec![0; usize::from(*argument) * 3];
                let frame = Frame { kind: Kind::Response, body: body.into(), ..Frame::new(Kind::Response, 1) };
                session.keep(&frame, Some(u64::from(*argument)), seen.now);
                assert!(budget.used() <= settings.resume_thread_bytes_max);
                assert!(seen.is_greeted || budget.used() == 0);
            }
            7 if *argument == 7 => {
                session.drain();
                seen.is_draining = true;
            }
            7 => {
                let kept = session.take_kept(seen.now);
                assert!(kept.len() <= settings.resume_frames_max && budget.used() == 0);
            }
            _ => {}
        }
        check(&session, &seen, &settings);
    }
    drop(session);
    assert_eq!(budget.used(), 0, "what was kept is given back");
}

/// Time has passed.
fn tick(session: &mut Session, seen: &mut Seen, settings: &FrameSettings, is_read: bool) {
    let was_closing = session.is_closing();
    let is_judged = is_read && session.takes_frames() && (session.profile() == Profile::Standard || seen.calls == 0);
    let silent = seen.now.saturating_duration_since(seen.heard);
    let order = session.tick(seen.now, is_read);
    if is_judged {
        assert_eq!(session.is_closing(), was_closing || silent >= settings.idle_timeout, "silent for {silent:?}");
        let is_ping = matches!(&order, Some(Order::Send(frame)) if frame.kind == Kind::Ping);
        assert!(order.is_none() || (is_ping && silent >= settings.ping_interval && !session.is_closing()));
    } else {
        assert!(order.is_none() && session.is_closing() == was_closing);
        seen.heard = seen.now;
    }
}

/// Takes the frames that are there, as the shell does.
fn take(session: &mut Session, codec: &mut FrameCodec, input: &mut BytesMut, seen: &mut Seen, budget: &Budget) {
    while session.takes_frames() {
        let order = match codec.decode(input) {
            Ok(Some(Decoded::Frame(frame))) => {
                seen.heard = seen.now;
                let (kind, wants_answer) = (frame.kind, session.wants_answer(&frame));
                if kind == Kind::GoAway {
                    seen.is_draining = true;
                }
                let order = session.frame(frame, seen.now);
                let must = matches!(kind, Kind::Request | Kind::Subscribe) && wants_answer;
                assert!(!must || order.is_some() || session.profile() != Profile::Standard, "{kind} has no order");
                order
            }
            Ok(Some(Decoded::Broken(broken))) => {
                seen.heard = seen.now;
                let order = session.broken(broken, seen.now);
                assert_eq!(order.is_some(), session.profile() == Profile::Standard);
                assert!(!broken.is_fatal() || session.is_closing());
                order
            }
            Ok(None) => return,
            Err(_) => {
                session.close(&super::going_away());
                return;
            }
        };
        carry_out(session, order, seen, budget);
        check(session, seen, &tiny());
    }
}

fn carry_out(session: &mut Session, order: Option<Order>, seen: &mut Seen, budget: &Budget) {
    match order {
        Some(Order::Call(frame)) => {
            assert!(!seen.is_draining, "nothing new begins");
            let is_stream = frame.command.0 & 1 == 1;
            if session.begin(is_stream).is_ok() {
                *(if is_stream { &mut seen.streams } else { &mut seen.calls }) += 1;
            }
        }
        Some(Order::Subscribe(_)) => {
            assert!(!seen.is_draining, "nothing new begins");
            if session.begin(true).is_ok() {
                seen.streams += 1;
            }
        }
        Some(Order::Greet(greeting)) => {
            assert!(!seen.is_greeted, "there is one hello");
            let ack = session.greeted(&greeting, "id", budget.clone());
            assert_eq!(ack.kind, Kind::HelloAck);
            seen.is_greeted = true;
        }
        Some(Order::Send(_) | Order::End(..)) | None => {}
    }
}

/// What always holds.
fn check(session: &Session, seen: &Seen, settings: &FrameSettings) {
    assert!(seen.streams <= settings.subscriptions_max && seen.calls <= settings.calls_max);
    assert_eq!(session.takes_frames(), seen.calls < settings.calls_max && !session.is_closing());
    let is_over = session.is_closing() || (seen.is_draining && seen.calls + seen.streams == 0);
    assert_eq!(session.is_done(), is_over);
    assert!(session.next_tick() <= seen.heard + settings.idle_timeout, "its end is not missed");
    assert!(!session.is_closing() || session.state(seen.now) == State::Closed);
}

#[cfg(test)]
mod tests {
    use mcp_proto::frame::{Command, hello::Hello};
    use proptest::prelude::*;
    use tokio_util::codec::Encoder;

    use super::*;

    /// Frames in the form of steps.
    fn steps(frames: &[Frame]) -> Vec<u8> {
        let mut data = Vec::new();
        for frame in frames {
            let mut bytes = BytesMut::new();
            FrameCodec::new(Profile::Standard, 1 << 20, Side::Client).encode(frame, &mut bytes).unwrap();
            for part in bytes.chunks(100) {
                data.extend_from_slice(&[1, u8::try_from(part.len()).unwrap()]);
                data.extend_from_slice(part);
            }
        }
        data
    }

    proptest! {
        #[test]
        fn any_bytes_leave_a_session_within_its_rules(data in prop::collection::vec(any::<u8>(), 0..600)) {
            drive(&data);
        }

        #[test]
        fn any_frames_leave_a_session_within_its_rules(
            kinds in prop::collection::vec((0_u8..12, any::<u16>(), any::<u32>(), 0_usize..400), 0..20),
            between in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut data = vec![0];
            data.extend(steps(&[Hello::default().to_frame(1)]));
            for (kind, command, sequence, len) in kinds {
                let kind = Kind::from_u8(kind).unwrap();
                let frame = Frame { kind, body: vec![b' '; len].into(), ..Frame::request(Command(command), sequence, "") };
                data.extend(steps(&[frame]));
                data.extend(between.iter().take(6));
            }
            drive(&data);
        }
    }
}
