//! What went wrong, whether trying again can help, and in whose words.
//!
//! Turning an error number into a sentence about one operation lives with the resource
//! (`address`, `route`, `ipvs`); what is true of every operation lives here.

use std::fmt;
use std::io;
use std::ops::Deref;

use nix::errno::Errno;

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The same request may succeed later: back off and try again.
    Transient,
    /// Permanent: the operation fails until someone changes the plan, the kernel or our rights.
    Permanent,
    /// Something that is not ours is in the way.
    Conflict,
    /// Unsupported: this kernel has no means for the object. It lacks a module, an address family or a
    /// setting, or does not accept the value. The operation fails until someone changes the kernel or the
    /// plan; other objects are not affected.
    Unsupported,
}

impl Class {
    /// Whether waiting alone does not help.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::Permanent | Self::Unsupported => true,
            Self::Transient | Self::Conflict => false,
        }
    }
}

/// Why the kernel could not be read or changed. No larger than a pointer: a large change has a verdict for
/// each of a hundred thousand operations, and most of them are good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelError(Box<Reason>);

/// Parts of a [`KernelError`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Whether trying again can help.
    pub class: Class,
    /// A sentence: what failed, the kernel's words and the likely cause.
    pub message: String,
    /// The kernel's error number (errno(3)), when it gave one.
    pub errno: Option<i32>,
}

/// Why one operation was not carried out.
pub type ApplyError = KernelError;

impl KernelError {
    /// An error without an error number.
    #[must_use]
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        Self::with_errno(class, message, None)
    }

    /// An error with the kernel's number (errno(3)), if it gave one.
    #[must_use]
    pub fn with_errno(class: Class, message: impl Into<String>, errno: Option<i32>) -> Self {
        Self(Box::new(Reason { class, message: message.into(), errno }))
    }

    /// Data from the kernel that cannot be understood.
    pub(crate) fn malformed(what: &str) -> Self {
        Self::new(Class::Permanent, format!("the kernel's answer about {what} cannot be understood"))
    }

    /// An error of a system call that concerns no single object.
    pub(crate) fn system(doing: &str, error: &io::Error) -> Self {
        error.raw_os_error().map_or_else(
            || Self::new(Class::Transient, format!("{doing}: {error}")),
            |errno| Refusal { errno, text: None }.explain(doing),
        )
    }
}

impl Deref for KernelError {
    type Target = Reason;

    fn deref(&self) -> &Reason {
        &self.0
    }
}

impl fmt::Display for KernelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for KernelError {}

/// The kernel's "no" to one netlink message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Positive error number (errno(3)).
    pub(crate) errno: i32,
    /// The kernel's own words (`NLMSGERR_ATTR_MSG`), if any.
    pub(crate) text: Option<String>,
}

impl Refusal {
    /// The error number as a name.
    pub(crate) fn code(&self) -> Errno {
        Errno::from_raw(self.errno)
    }

    /// An error with the cause and class that fit any operation.
    pub(crate) fn explain(&self, doing: &str) -> KernelError {
        let (class, cause) = general_cause(self.code());
        self.because(doing, class, cause)
    }

    /// An error with a class and a cause that the caller knows better.
    pub(crate) fn because(&self, doing: &str, class: Class, cause: &str) -> KernelError {
        let words = self.text.as_deref().unwrap_or_else(|| self.code().desc());
        let mut message = format!("{doing}: {words}");
        if !cause.is_empty() {
            message.push_str(": ");
            message.push_str(cause);
        }
        KernelError::with_errno(class, message, Some(self.errno))
    }
}

/// Class and likely cause of an error number, whatever was asked for.
fn general_cause(code: Errno) -> (Class, &'static str) {
    match code {
        Errno::EPERM | Errno::EACCES => {
            (Class::Permanent, "CAP_NET_ADMIN is needed in this network namespace")
        }
        Errno::ENODEV | Errno::ENXIO => (Class::Transient, "the interface is not there"),
        Errno::ENETDOWN => (Class::Transient, "the interface is down"),
        Errno::EEXIST => (Class::Conflict, "something else made it meanwhile"),
        Errno::EADDRINUSE => (Class::Conflict, "the address is in use"),
        Errno::ENOBUFS | Errno::ENOMEM => (Class::Transient, "the kernel is short of memory"),
        Errno::EAGAIN | Errno::EBUSY | Errno::EINTR | Errno::ETIMEDOUT => (Class::Transient, ""),
        Errno::ESRCH | Errno::ENOENT => (Class::Transient, "it is gone"),
        Errno::EMFILE | Errno::ENFILE => (Class::Transient, "too many open files"),
        _ => (Class::Permanent, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_holds_the_kernels_words_and_the_cause() {
        let refusal = Refusal { errno: libc::EPERM, text: None };
        let error = refusal.explain("add address 10.0.0.1/32 on lo");
        assert_eq!(error.class, Class::Permanent);
        assert_eq!(
            error.to_string(),
            "add address 10.0.0.1/32 on lo: Operation not permitted: \
             CAP_NET_ADMIN is needed in this network namespace"
        );
        let told = Refusal { errno: libc::EINVAL, text: Some("Invalid prefix".to_owned()) };
        assert_eq!(told.explain("add route").to_string(), "add route: Invalid prefix");
    }
}
