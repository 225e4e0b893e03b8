//! Both ends in one process.

use super::{Channel, Message, Part, SocketKind, WindowSize};
use std::os::fd::AsFd as _;

fn all() -> Vec<Message> {
    let size = WindowSize { rows: 24, columns: 80 };
    let mut messages: Vec<Message> =
        Part::ALL.iter().map(|part| Message::StepFailed { index: 17, part: *part, errno: 1 }).collect();
    messages.extend([
        Message::Go,
        Message::Start { program: 3, terminal: None },
        Message::Start { program: 3, terminal: Some(size) },
        Message::Signal { program: -1, signal: 15 },
        Message::Stop,
        Message::Checkpoint { step: 3 },
        Message::Workspace,
        Message::FileSystem { number: 2 },
        Message::NoMoreProcesses,
        Message::Socket { kind: SocketKind::Streams },
        Message::Socket { kind: SocketKind::Datagrams },
        Message::Socket { kind: SocketKind::Raw },
        Message::Serve,
        Message::Connect { port: 65_535 },
        Message::Connected { errno: 111 },
        Message::Ready,
        Message::Listener,
        Message::ForkFailed { program: 1, errno: 11 },
        Message::RequestFailed { program: 1, errno: 7 },
        Message::TerminalFailed { program: 1, errno: 12 },
        Message::DirectoryFailed { program: 1, errno: 2 },
        Message::ExecFailed { program: 1, errno: 13 },
        Message::Terminal { program: 2 },
        Message::Ended { program: 2, status: 0x8b },
    ]);
    messages
}

#[test]
fn every_record_arrives_as_it_was_sent() {
    let (one, other) = Channel::pair().expect("a pair");
    for message in all() {
        one.send(message, &[]).expect("sent");
        assert_eq!(other.receive().expect("received").message, message);
    }
    drop(one);
    assert!(other.receive().is_none(), "the end is seen");
}

#[test]
fn last_words_arrive_although_the_other_side_has_not_read() {
    let (one, other) = Channel::pair().expect("a pair");
    one.send(Message::Go, &[]).expect("sent");
    other.send(Message::Stop, &[]).expect("sent");
    drop(other);
    assert_eq!(one.receive().expect("received").message, Message::Stop);
    assert!(one.receive().is_none());
}

#[test]
fn descriptors_come_along() {
    let (one, other) = Channel::pair().expect("a pair");
    let (a, b) = Channel::pair().expect("a pair");
    one.send(Message::Terminal { program: 1 }, &[a.as_fd(), b.as_fd()]).expect("sent");
    let received = other.receive().expect("received");
    assert_eq!(received.descriptors.iter().flatten().count(), 2);
    drop(a);
    let copy = Channel::of(received.descriptors.into_iter().flatten().next().expect("one"));
    copy.send(Message::Go, &[]).expect("sent through the copy");
    assert_eq!(b.receive().expect("received").message, Message::Go);
}
