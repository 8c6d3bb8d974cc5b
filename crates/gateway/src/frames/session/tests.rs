use mcp_proto::frame::Command;

use super::*;

/// A session of a profile, and the moment at which it began.
fn session(profile: Profile, settings: FrameSettings) -> (Session, Instant) {
    let now = Instant::now();
    (Session::new(profile, Rc::new(settings), now), now)
}

fn standard() -> (Session, Instant) {
    session(Profile::Standard, FrameSettings::default())
}

fn at(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

fn sent(order: Option<Order>) -> Option<(Kind, u32)> {
    match order {
        Some(Order::Send(frame)) => Some((frame.kind, frame.sequence)),
        None => None,
        Some(other) => panic!("{other:?}"),
    }
}

fn request(sequence: u32) -> Frame {
    Frame::request(Command::TASK_GET, sequence, "")
}

#[test]
fn silence_is_answered_with_pings_and_then_with_the_end() {
    let (mut session, start) = standard();
    let mut seen = Vec::new();
    while seen.len() < 10 {
        let now = session.next_tick();
        let order = session.tick(now, true);
        seen.push(((now - start).as_secs(), session.state(now), sent(order).is_some()));
        if session.is_closing() {
            break;
        }
    }
    let expected = [(30, State::Idle, true), (60, State::Unresponsive, true), (90, State::Closed, false)];
    assert_eq!(seen, expected, "half-open peers are found in the configured time");
}

#[test]
fn whatever_comes_is_a_sign_of_life() {
    for sign in [
        Frame::new(Kind::Pong, 0),
        Frame::new(Kind::Ping, 1),
        request(1),
        Frame::new(Kind::Response, 0),
        Frame::new(Kind::Error, 0),
    ] {
        let (mut session, start) = standard();
        assert_eq!(sent(session.tick(at(start, 30), true)), Some((Kind::Ping, 0)));
        session.frame(sign.clone(), at(start, 80));
        assert_eq!(session.state(at(start, 80)), State::Active, "{sign:?}");
        assert_eq!(session.next_tick(), at(start, 110));
        assert!(session.tick(at(start, 100), true).is_none() && !session.is_closing());
    }
    let (mut session, start) = standard();
    session.broken(Broken::Crc { sequence: 1 }, at(start, 80));
    assert_eq!(session.state(at(start, 80)), State::Active);
}

#[test]
fn silence_counts_for_nothing_while_nobody_listens() {
    let (mut session, start) = standard();
    assert!(session.tick(at(start, 100), false).is_none() && !session.is_closing());
    assert_eq!(session.state(at(start, 129)), State::Active);
    let settings = FrameSettings { calls_max: 1, ..FrameSettings::default() };
    let (mut session, start) = self::session(Profile::Standard, settings);
    session.begin(false).unwrap();
    assert!(!session.takes_frames());
    assert!(session.tick(at(start, 200), true).is_none() && !session.is_closing());
    session.ended(false);
    assert!(session.takes_frames());
    // A profile without pings waits for our answer.
    let (mut session, start) = self::session(Profile::Compact, FrameSettings::default());
    session.begin(false).unwrap();
    assert!(session.tick(at(start, 90), true).is_none() && !session.is_closing());
    session.ended(false);
    assert!(session.tick(at(start, 180), true).is_none() && session.is_closing());
}

#[test]
fn every_kind_has_its_order() {
    for (kind, expected) in [
        (Kind::Request, "Call"),
        (Kind::Notification, "Call"),
        (Kind::Subscribe, "Subscribe"),
        (Kind::Unsubscribe, "End"),
        (Kind::Ping, "Send"),
        (Kind::Hello, "Greet"),
        (Kind::Response, "Send"),
        (Kind::Event, "Send"),
        (Kind::HelloAck, "Send"),
        (Kind::Pong, "None"),
        (Kind::Error, "None"),
        (Kind::GoAway, "None"),
    ] {
        let (mut session, now) = standard();
        let found = match session.frame(Frame::new(kind, 1), now) {
            Some(Order::Call(_)) => "Call",
            Some(Order::Subscribe(_)) => "Subscribe",
            Some(Order::End(..)) => "End",
            Some(Order::Send(_)) => "Send",
            Some(Order::Greet(_)) => "Greet",
            None => "None",
        };
        assert_eq!(found, expected, "{kind}");
    }
}

#[test]
fn what_is_broken_is_told_where_the_profile_has_errors() {
    for (broken, kind, is_fatal) in [
        (Broken::Crc { sequence: 7 }, Kind::Error, false),
        (Broken::Magic { skipped: 3 }, Kind::Error, false),
        (Broken::Kind { kind: 99, sequence: 7 }, Kind::Error, false),
        (Broken::Codec { codec: 9, sequence: 7 }, Kind::Error, false),
        (Broken::Metadata { sequence: 7 }, Kind::Error, false),
        (Broken::Oversize { length: 1 << 40, sequence: 7 }, Kind::Error, true),
        (Broken::Version { major: 2 }, Kind::GoAway, true),
    ] {
        let (mut standard, now) = standard();
        assert_eq!(sent(standard.broken(broken, now)), Some((kind, broken.sequence())), "{broken:?}");
        assert_eq!((standard.is_closing(), standard.takes_frames()), (is_fatal, !is_fatal), "{broken:?}");
        let (mut compact, now) = session(Profile::Compact, FrameSettings::default());
        assert!(compact.broken(broken, now).is_none(), "{broken:?}");
        assert_eq!(compact.is_closing(), is_fatal);
    }
}

#[test]
fn a_session_that_drains_takes_nothing_new_and_ends_when_nothing_is_left() {
    let (mut session, now) = standard();
    session.begin(false).unwrap();
    session.begin(true).unwrap();
    assert_eq!(sent(session.drain()), Some((Kind::GoAway, 0)));
    assert_eq!(sent(session.frame(request(5), now)), Some((Kind::Error, 5)));
    assert!(session.frame(Frame { kind: Kind::Notification, ..request(5) }, now).is_none());
    assert_eq!(sent(session.frame(Frame::new(Kind::Ping, 6), now)), Some((Kind::Pong, 6)), "it is still there");
    session.ended(false);
    assert!(!session.is_done());
    session.ended(true);
    assert!(session.is_done());
    // A client that goes away is the same, from its side.
    let (mut session, now) = standard();
    session.begin(false).unwrap();
    session.frame(Frame::new(Kind::GoAway, 0), now);
    assert!(!session.is_done());
    session.ended(false);
    assert!(session.is_done());
}

#[test]
fn streams_are_refused_over_their_limit() {
    let settings = FrameSettings { subscriptions_max: 2, calls_max: 1, ..FrameSettings::default() };
    let (mut session, _) = session(Profile::Standard, settings);
    session.begin(true).unwrap();
    session.begin(true).unwrap();
    assert_eq!(session.begin(true).unwrap_err().code(), Code::Overloaded);
    assert!(session.takes_frames(), "calls are another matter");
    session.ended(true);
    session.begin(true).unwrap();
}

/// A session that has greeted.
fn greeted(settings: FrameSettings, budget: &Budget) -> (Session, Instant) {
    let (mut session, now) = session(Profile::Standard, settings);
    let hello = Hello { resume: "before".into(), codecs: vec!["protobuf".into()], ..Hello::default() };
    let Some(Order::Greet(greeting)) = session.frame(hello.to_frame(3), now) else {
        panic!("a hello is a greeting");
    };
    assert_eq!((greeting.resume.as_str(), &greeting.authorization), ("before", &None));
    let ack = session.greeted(&greeting, "id", budget.clone());
    assert_eq!((ack.kind, ack.sequence), (Kind::HelloAck, 3));
    assert_eq!(HelloAck::parse(&ack.body).unwrap().codec, "protobuf");
    (session, now)
}

fn answer(sequence: u32, len: usize) -> Frame {
    Frame { kind: Kind::Response, body: vec![0; len].into(), ..request(sequence) }
}

fn sequences(frames: Vec<Frame>) -> Vec<u32> {
    frames.into_iter().map(|frame| frame.sequence).collect()
}

#[test]
fn the_latest_answers_are_kept_by_number_by_bytes_and_by_age() {
    let budget = Budget::default();
    let limits = FrameSettings { resume_frames_max: 3, resume_bytes_max: 1_000, ..FrameSettings::default() };
    let (mut session, now) = greeted(limits.clone(), &budget);
    for sequence in 1..=5 {
        session.keep(&answer(sequence, 10), None, now);
    }
    session.keep(&answer(0, 10), None, now);
    session.keep(&Frame { kind: Kind::Event, ..answer(9, 1) }, None, now);
    assert_eq!(sequences(session.take_kept(now)), [3, 4, 5]);
    assert_eq!(budget.used(), 0);
    for sequence in 1..=3 {
        session.keep(&answer(sequence, 400), None, now);
    }
    assert_eq!(sequences(session.take_kept(now)), [2, 3]);
    session.keep(&answer(1, 400), None, now);
    session.keep(&answer(2, 5_000), None, now);
    assert!(session.take_kept(now).is_empty(), "one that is too large leaves nothing");
    session.keep(&answer(1, 1), None, now);
    session.keep(&answer(2, 1), None, now + limits.resume_window);
    session.tick(now + limits.resume_window + Duration::from_millis(1), true);
    assert_eq!(sequences(session.take_kept(now + limits.resume_window)), [2]);
    session.keep(&answer(1, 1), None, now);
    drop(session);
    assert_eq!(budget.used(), 0);
}

#[test]
fn all_sessions_of_a_thread_keep_so_much() {
    let budget = Budget::default();
    let limits = FrameSettings { resume_thread_bytes_max: 1_000, ..FrameSettings::default() };
    let (mut one, now) = greeted(limits.clone(), &budget);
    let (mut two, _) = greeted(limits, &budget);
    for sequence in 1..=10 {
        one.keep(&answer(sequence, 100), None, now);
        two.keep(&answer(sequence, 100), None, now);
        assert!(budget.used() <= 1_000);
    }
}

#[test]
fn without_a_greeting_nothing_is_kept() {
    let (mut session, now) = standard();
    session.keep(&answer(1, 10), None, now);
    assert!(session.take_kept(now).is_empty());
}
