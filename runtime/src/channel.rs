//! The line between the launcher and the container's first process: a pair of sequenced-packet sockets.
//!
//! End of file means that the other side is gone: to the child, that the launcher died (it then ends itself); to the
//! launcher, that execve succeeded, because the child's end is close-on-exec, or that the child died.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, recvmsg,
    sendmsg, socketpair,
};

use crate::error::{During, Result, RuntimeError};
use crate::sys;

/// Longest message: an error with two paths of PATH_MAX in it.
const MESSAGE_MAX: usize = 16 * 1024;

/// What is said over the line.
#[derive(Debug)]
pub(crate) enum Message {
    /// Launcher: the id maps of your user namespace are written.
    Mapped,
    /// Child: this is the pid of the container's first process (sent by the helper that joined namespaces).
    Pid(i32),
    /// Child: this is the master side of the container's terminal.
    Terminal(OwnedFd),
    /// Child: everything is made, the command can be started.
    Ready,
    /// Launcher: start the command.
    Start,
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
            Message::Pid(pid) => {
                bytes.push(b'p');
                bytes.extend_from_slice(&pid.to_le_bytes());
            }
            Message::Terminal(fd) => {
                bytes.push(b't');
                descriptors.push(fd.as_raw_fd());
            }
            Message::Ready => bytes.push(b'r'),
            Message::Start => bytes.push(b's'),
            Message::Failed(error) => {
                bytes.push(b'e');
                bytes.extend_from_slice(&error.to_wire());
                bytes.truncate(MESSAGE_MAX);
            }
            Message::Closed => return Ok(()),
        }
        let rights = [ControlMessage::ScmRights(&descriptors)];
        let control = if descriptors.is_empty() { &[][..] } else { &rights[..] };
        let iov = [IoSlice::new(&bytes)];
        loop {
            match sendmsg::<UnixAddr>(self.0.as_raw_fd(), &iov, control, MsgFlags::MSG_NOSIGNAL, None) {
                Err(Errno::EINTR) => {}
                other => return other.map(drop).during(|| "send a message between launcher and container"),
            }
        }
    }

    pub(crate) fn receive(&self) -> Result<Message> {
        let doing = || "receive a message between launcher and container";
        let mut buffer = vec![0; MESSAGE_MAX];
        let mut control = nix::cmsg_space!([std::os::fd::RawFd; 1]);
        let (length, descriptor) = loop {
            let mut iov = [IoSliceMut::new(&mut buffer)];
            match recvmsg::<UnixAddr>(
                self.0.as_raw_fd(),
                &mut iov,
                Some(&mut control),
                MsgFlags::MSG_CMSG_CLOEXEC,
            ) {
                Err(Errno::EINTR) => {}
                Err(Errno::ECONNRESET) => return Ok(Message::Closed),
                other => {
                    let received = other.during(doing)?;
                    let mut descriptor = None;
                    for part in received.cmsgs().during(doing)? {
                        if let ControlMessageOwned::ScmRights(fds) = part {
                            descriptor = fds.into_iter().map(sys::own).next();
                        }
                    }
                    break (received.bytes, descriptor);
                }
            }
        };
        let message = &buffer[..length];
        Ok(match (message.first(), descriptor) {
            (None, _) => Message::Closed,
            (Some(b'm'), None) => Message::Mapped,
            (Some(b'p'), None) if message.len() == 5 => {
                Message::Pid(i32::from_le_bytes([message[1], message[2], message[3], message[4]]))
            }
            (Some(b't'), Some(fd)) => Message::Terminal(fd),
            (Some(b'r'), None) => Message::Ready,
            (Some(b's'), None) => Message::Start,
            (Some(b'e'), None) => {
                Message::Failed(RuntimeError::from_wire(&message[1..]).unwrap_or_else(|| {
                    RuntimeError::refused("start the container", "malformed error report")
                }))
            }
            _ => return Err(RuntimeError::refused(doing(), "malformed message")),
        })
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
