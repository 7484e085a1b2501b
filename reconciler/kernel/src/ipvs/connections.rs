//! Where connections come from: a count of `/proc/net/ip_vs_conn_sync`, the only place where the kernel
//! tells.

use std::fs::File;
use std::io::{self, BufRead, BufReader};

/// The table, in the network namespace of the calling thread.
const TABLE: &str = "/proc/thread-self/net/ip_vs_conn_sync";

/// Connections by where they began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Origins {
    /// Connections that this host has scheduled.
    pub own: u64,
    /// Connections that another director has synchronised to this host.
    pub received: u64,
    /// Whether there are more than were counted.
    pub more: bool,
}

/// Counts at most `most` connections; none where IPVS is not loaded.
///
/// # Errors
/// When the table cannot be read.
pub fn connection_origins(most: usize) -> io::Result<Origins> {
    match File::open(TABLE) {
        Ok(file) => count(BufReader::with_capacity(1 << 16, file), most),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Origins::default()),
        Err(error) => Err(error),
    }
}

fn count(table: impl BufRead, most: usize) -> io::Result<Origins> {
    let mut origins = Origins::default();
    // The first line is a heading.
    for (n, line) in table.lines().skip(1).enumerate() {
        let line = line?;
        if n == most {
            origins.more = true;
            break;
        }
        // The last word is the time that is left.
        match line.split_whitespace().nth_back(1) {
            Some("SYNC") => origins.received += 1,
            _ => origins.own += 1,
        }
    }
    Ok(origins)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Origin Expires
TCP C0A8BC01 9C40 C0A8BC78 0050 C0A8BC6B 0050 ESTABLISHED SYNC       892
TCP C0A8BC01 9C42 C0A8BC78 0050 C0A8BC6B 0050 FIN_WAIT    LOCAL       12
UDP 2001:0db8::1 9C42 2001:0db8::2 0050 2001:0db8::3 0050 UDP         SYNC        12
";

    #[test]
    fn origins_are_counted_up_to_a_bound() {
        let counted = |most| count(TEXT.as_bytes(), most).expect("counted");
        assert_eq!(counted(10), Origins { own: 1, received: 2, more: false });
        assert_eq!(counted(3), Origins { own: 1, received: 2, more: false });
        assert_eq!(counted(1), Origins { own: 0, received: 1, more: true });
    }
}
