//! A plan's text taken apart: each virtual server, and the rest. Virtual servers make a large plan large.
//!
//! Only line beginnings are examined: a line that begins with `[` begins a table. That is so unless a string
//! or an array spans lines. A text with such strings is not taken apart; an array that is cut is no TOML, on
//! either side of the cut.

const SERVER: &str = "[[virtual_server]]";
const PARTS_OF_SERVER: [&str; 2] = ["[virtual_server.", "[[virtual_server."];

/// A plan's text in pieces.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pieces<'a> {
    /// Everything but virtual servers, in order.
    pub(super) rest: String,
    /// Each virtual server with its sub-tables.
    pub(super) servers: Vec<&'a str>,
}

/// Takes a text apart; none when that is not possible.
pub(super) fn pieces(body: &str) -> Option<Pieces<'_>> {
    if body.contains("\"\"\"") || body.contains("'''") {
        return None;
    }
    let mut pieces = Pieces { rest: String::new(), servers: Vec::new() };
    let mut take = |from: usize, to: usize, is_server: bool| {
        let piece = body.get(from..to).unwrap_or_default();
        if is_server { pieces.servers.push(piece) } else { pieces.rest.push_str(piece) }
    };
    let (mut from, mut is_server) = (0, false);
    for at in starts_of_tables(body) {
        let line = body.get(at..).unwrap_or_default();
        let begins = line.strip_prefix(SERVER).is_some_and(|after| after.starts_with(['\n', '\r']));
        if !begins && is_server && PARTS_OF_SERVER.iter().any(|part| line.starts_with(part)) {
            continue;
        }
        take(from, at, is_server);
        (from, is_server) = (at, begins);
    }
    take(from, body.len(), is_server);
    // A virtual server written in another way stays in the rest, and its order among the others would be
    // lost.
    (!pieces.rest.contains("virtual_server")).then_some(pieces)
}

/// Positions of lines that begin with `[`.
fn starts_of_tables(body: &str) -> impl Iterator<Item = usize> {
    let first = body.starts_with('[').then_some(0);
    first.into_iter().chain(body.match_indices("\n[").map(|(at, _)| at + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_servers_are_found_with_their_sub_tables() {
        let head = "format = 1\n[policy]\na = 1\n";
        let one = "[[virtual_server]]\nname = \"a\"\n\n[[virtual_server.destination]]\nport = 1\n\n";
        let two = "[[virtual_server]]\nname = \"b\"\n[virtual_server.persistence]\nprefix = 1\n";
        let tail = "[[sysctl]]\nkey = \"[[sysctl]]\"\n";
        let body = [head, one, two, tail].concat();
        let found = pieces(&body).expect("in pieces");
        assert_eq!(found, Pieces { rest: [head, tail].concat(), servers: vec![one, two] });
        assert_eq!(pieces(&format!("{body}x = '''\n[[virtual_server]]\n'''")), None);
        assert_eq!(pieces(&format!("{head}[[ virtual_server ]]\n{one}")), None);
    }
}
