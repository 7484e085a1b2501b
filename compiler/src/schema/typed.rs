//! A tree -> the cluster. Services are nearly all of a large one, so they are read on all processors.

use evenkeel_schemas::cluster::{Cluster, Service};
use evenkeel_schemas::scalars::Name;
use serde::Deserialize;
use serde::de::Error as _;
use serde_json::Error;

use crate::parallel::{both, in_parallel};
use crate::parse::read::without;
use crate::parse::tree::{Entry, TreeNode};

/// How many services a processor reads before it takes the next ones. A cluster with no more is read at once.
const AT_ONCE: usize = 128;

/// Reads the tree of a cluster file.
pub(super) fn cluster(root: &TreeNode<'_>) -> Result<Cluster, Error> {
    let TreeNode::Table(table) = root else { return Cluster::deserialize(root) };
    let Some(TreeNode::Table(services)) = table.get("services").map(|entry| &entry.item.node) else {
        return Cluster::deserialize(root);
    };
    let chunks: Vec<&[Entry<'_>]> = services.entries().chunks(AT_ONCE).collect();
    if chunks.len() <= 1 {
        return Cluster::deserialize(root);
    }
    let (rest, services) = both(
        || Cluster::deserialize(without(table, "services")),
        || in_parallel(&chunks, |entries| entries.iter().map(service).collect::<Result<Vec<_>, Error>>()),
    );
    let services = services.into_iter().collect::<Result<Vec<_>, Error>>()?;
    Ok(Cluster { services: services.into_iter().flatten().collect(), ..rest? })
}

fn service(entry: &Entry<'_>) -> Result<(Name, Service), Error> {
    Ok((entry.key.parse().map_err(Error::custom)?, Service::deserialize(&entry.item.node)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;
    use crate::schema::choice;
    use crate::source::SourceFile;

    #[test]
    fn a_large_cluster_is_read_as_it_is_at_once() {
        let mut text = "version = 1\nname = \"c\"\nsegments = {}\nhosts = {}\n".to_owned();
        for n in 0..3 * AT_ONCE {
            text += &format!("[services.s{n}]\nrouter = \"r\"\nport = {}\nreal_servers = []\n", n + 1);
        }
        let read = |text: &str| {
            let source = SourceFile::new("c", text);
            let document = parse::parse(&source, choice).expect("a document");
            (cluster(document.node()).ok(), Cluster::deserialize(document.node()).ok())
        };
        let (ours, whole) = read(&text);
        assert!(ours.is_some() && ours == whole);
        let (ours, whole) = read(&text.replace("port = 300", "port = 300000"));
        assert!(ours.is_none() && whole.is_none(), "a port that is none");
    }
}
