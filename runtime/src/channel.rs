//! The line between the launcher and the container's first process: a pair of sequenced-packet sockets.
//!
//! End of file means that the other side is gone: to the child, that the launcher died (it then ends itself); to the
//! launcher, that execve succeeded, because the child's end is close-on-exec, or that the child died.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, recv,
    recvmsg, sendmsg, socketpair,
};

use crate::credentials::Filter;
use crate::error::{During, Result, RuntimeError};
use crate::sys;

/// Longest error: two paths of PATH_MAX in it and some words. Filters (at most 32 KiB) are longer.
const ERROR_MAX: usize = 16 * 1024;

/// Most descriptors in one message: v1 had 14 controllers at most, and named hierarchies are few.
const DESCRIPTORS_MAX: usize = 64;

/// What is said over the line.
#[derive(Debug)]
pub(crate) enum Message {
    /// Launcher: the id maps of your user namespace are written.
    Mapped,
    /// Launcher: your cgroups are there; write `0` to each of these to join the v1 hierarchies.
    Placed(Vec<OwnedFd>),
    /// Child: this is the pid of the container's first process (sent by the helper that joined namespaces).
    Pid(i32),
    /// Child: these are your ends of the container's streams: the master side of its terminal, or that of each pipe made.
    Streams(Vec<OwnedFd>),
    /// Child: everything is made, the command can be started.
    Ready,
    /// Launcher: install this filter and start the command.
    Start(Option<Filter>),
    /// Child: it went wrong.
    Failed(RuntimeError),
    /// The other side is gone.
    Closed,
}

/// One end of the line.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

impl Channel {
    /// Both ends, close-on-exec.
    pub(crate) fn pair() -> Result<(Channel, Channel)> {
        let (a, b) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
            .during(|| "make the socket pair between launcher and container")?;
        Ok((Channel(a), Channel(b)))
    }

    pub(crate) fn send(&self, message: &Message) -> Result<()> {
        let mut bytes = Vec::new();
        let mut descriptors = Vec::new();
        match message {
            Message::Mapped => bytes.push(b'm'),
            Message::Placed(files) => {
                bytes.push(b'c');
                descriptors.extend(files.iter().map(AsRawFd::as_raw_fd));
            }
            Message::Pid(pid) => {
                bytes.push(b'p');
                bytes.extend_from_slice(&pid.to_le_bytes());
            }
            Message::Streams(files) => {
                bytes.push(b't');
                descriptors.extend(files.iter().map(AsRawFd::as_raw_fd));
            }
            Message::Ready => bytes.push(b'r'),
            Message::Start(filter) => {
                bytes.push(b's');
                if let Some(filter) = filter {
                    bytes.extend_from_slice(&filter.to_wire());
                }
            }
            Message::Failed(error) => {
                bytes.push(b'e');
                bytes.extend_from_slice(&error.to_wire());
                bytes.truncate(ERROR_MAX);
            }
            Message::Closed => return Ok(()),
        }
        let rights = [ControlMessage::ScmRights(&descriptors)];
        let control = if descriptors.is_empty() { &[][..] } else { &rights[..] };
        let iov = [IoSlice::new(&bytes)];
        let doing = || "send a message between launcher and container";
        loop {
            match sendmsg::<UnixAddr>(self.0.as_raw_fd(), &iov, control, MsgFlags::MSG_NOSIGNAL, None) {
                Err(Errno::EINTR) => {}
                // The other side is gone, and had not read all that was sent before.
                Err(Errno::ECONNRESET) => return Err(Errno::EPIPE).during(doing),
                other => return other.map(drop).during(doing),
            }
        }
    }

    pub(crate) fn receive(&self) -> Result<Message> {
        let doing = || "receive a message between launcher and container";
        let length = self.next_length().during(doing)?;
        let mut buffer = vec![0; length.max(1)];
        let mut control = nix::cmsg_space!([std::os::fd::RawFd; DESCRIPTORS_MAX]);
        let (length, descriptors) = loop {
            let mut iov = [IoSliceMut::new(&mut buffer)];
            match recvmsg::<UnixAddr>(
                self.0.as_raw_fd(),
                &mut iov,
                Some(&mut control),
                MsgFlags::MSG_CMSG_CLOEXEC,
            ) {
                Err(Errno::EINTR | Errno::ECONNRESET) => {}
                other => {
                    let received = other.during(doing)?;
                    let mut descriptors = Vec::new();
                    for part in received.cmsgs().during(doing)? {
                        if let ControlMessageOwned::ScmRights(fds) = part {
                            descriptors.extend(fds.into_iter().map(sys::own));
                        }
                    }
                    break (received.bytes, descriptors);
                }
            }
        };
        let message = &buffer[..length];
        Ok(match (message.first(), descriptors.len()) {
            (None, _) => Message::Closed,
            (Some(b'm'), 0) => Message::Mapped,
            (Some(b'c'), _) => Message::Placed(descriptors),
            (Some(b'p'), 0) if message.len() == 5 => {
                Message::Pid(i32::from_le_bytes([message[1], message[2], message[3], message[4]]))
            }
            (Some(b't'), _) => Message::Streams(descriptors),
            (Some(b'r'), 0) => Message::Ready,
            (Some(b's'), 0) if message.len() == 1 => Message::Start(None),
            (Some(b's'), 0) => match Filter::from_wire(&message[1..]) {
                Some(filter) => Message::Start(Some(filter)),
                None => return Err(RuntimeError::refused(doing(), "malformed filter")),
            },
            (Some(b'e'), 0) => {
                Message::Failed(RuntimeError::from_wire(&message[1..]).unwrap_or_else(|| {
                    RuntimeError::refused("start the container", "malformed error report")
                }))
            }
            _ => return Err(RuntimeError::refused(doing(), "malformed message")),
        })
    }
}

impl Channel {
    /// Waits for a message and says how long it is. 0: the other side is gone.
    fn next_length(&self) -> nix::Result<usize> {
        let mut byte = [0];
        loop {
            match recv(self.0.as_raw_fd(), &mut byte, MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC) {
                // ECONNRESET, told once: the other side ended without reading all that we sent. What it said before
                // that is still in the queue.
                Err(Errno::EINTR | Errno::ECONNRESET) => {}
                other => return other,
            }
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_of_one_that_left_messages_unread_are_heard() {
        for unread in 0..3 {
            let (ours, theirs) = Channel::pair().unwrap();
            for _ in 0..unread {
                ours.send(&Message::Mapped).unwrap();
            }
            theirs.send(&Message::Failed(RuntimeError::refused("start", "it would not"))).unwrap();
            drop(theirs);
            let sent = ours.send(&Message::Start(None));
            assert!(
                matches!(sent, Err(RuntimeError::System { errno: libc::EPIPE, .. })),
                "{unread}: {sent:?}"
            );
            let said = ours.receive().unwrap();
            assert!(matches!(&said, Message::Failed(error) if error.to_string().contains("it would not")));
            assert!(matches!(ours.receive().unwrap(), Message::Closed));
        }
    }
}
