//! A plan read from a text in the compiler's own layout, straight into its types: what every plan is that
//! nobody has touched.
//!
//! A text is taken only when it is in that layout and right; of any other one nothing is said here: a TOML
//! library and a schema tell what is wrong with it. So there are two promises, which tests of the agent and
//! the fuzz target `plan` hold this to: what is taken here is TOML and follows the schema, and it means the
//! same there. `layout` knows the text; here is what the schema says beyond what the types check by
//! themselves.
//!
//! Why it is: a tree of a large plan takes twenty times its text, and another process with a TOML library and
//! a schema takes longer to start than the kernel takes to be filled.

mod layout;

use serde::Deserialize;

use crate::plan::{self, Hook, Plan, Router, VirtualServer, Watch};
use layout::{Layout, Table};

/// The plan that a text without its seal says, if it is in the compiler's layout and right.
#[must_use]
pub fn plan(body: &str) -> Option<Plan> {
    let mut layout = Layout::new(body);
    let plan = Plan::deserialize(Table::root(&mut layout)).ok()?;
    (layout.is_done() && follows_schema(&plan)).then_some(plan)
}

/// The virtual server that a part of such a text says, from its header on, if that is all that it says.
#[must_use]
pub fn virtual_server(text: &str) -> Option<VirtualServer> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Alone {
        virtual_server: Vec<VirtualServer>,
    }
    let mut layout = Layout::new(text);
    let Alone { virtual_server: mut servers } = Alone::deserialize(Table::root(&mut layout)).ok()?;
    let server = servers.pop()?;
    (servers.is_empty() && layout.is_done() && server_follows_schema(&server)).then_some(server)
}

/// Whether the numbers, texts and lists are as the schema says of them where their types allow more.
fn follows_schema(plan: &Plan) -> bool {
    plan.format == plan::FORMAT
        && plan.routers.iter().all(router)
        && plan.sync_groups.iter().all(|group| hooks(&group.hooks))
        && plan.trackers.iter().all(|tracker| watch(&tracker.watch))
        && plan.virtual_servers.iter().all(server_follows_schema)
        && plan.connection_sync.as_ref().is_none_or(|sync| {
            sync.ttl >= 1 && sync.max_length.is_none_or(|length| (1..=65_507).contains(&length))
        })
        && plan.addresses.iter().all(|address| address.label.as_deref().is_none_or(label))
        && plan.routes.iter().all(|route| route.table >= 1)
        && plan.sysctls.iter().all(|sysctl| key(&sysctl.key) && value(&sysctl.value))
}

fn server_follows_schema(server: &VirtualServer) -> bool {
    let mut hooks = server.hooks.iter().flat_map(|hooks| hooks.all());
    server.persistence.as_ref().is_none_or(|persistence| (1..=128).contains(&persistence.prefix))
        && server.quorum.as_ref().is_none_or(|quorum| quorum.weight >= 1)
        && hooks.all(|hook| !hook.command.is_empty())
}

fn router(router: &Router) -> bool {
    (2..=3).contains(&router.version)
        && (1..=100).contains(&router.garp_repeat)
        && router.rules.iter().all(|rule| (1..=32_765).contains(&rule.preference))
        && router.unicast.as_ref().is_none_or(|unicast| unicast.ttl >= 1 && unicast.min_ttl >= 1)
        && hooks(&router.hooks)
        && router.auth.as_ref().is_none_or(auth)
}

fn auth(auth: &plan::Auth) -> bool {
    match auth {
        plan::Auth::Pass { .. } => true,
        plan::Auth::Hmac { keys, active, window, .. } => {
            !keys.is_empty()
                && keys.iter().all(|key| key.id >= 1)
                && *active >= 1
                && (1..=300).contains(window)
        }
    }
}

fn hooks(hooks: &plan::RouterHooks) -> bool {
    let all = [&hooks.master, &hooks.backup, &hooks.fault, &hooks.stop, &hooks.any];
    all.into_iter().flatten().all(|hook: &Hook| !hook.command.is_empty())
}

fn watch(watch: &Watch) -> bool {
    match watch {
        Watch::Script { command, .. } => !command.is_empty(),
        Watch::Process { quorum, .. } | Watch::Service { quorum, .. } => (1..=65_535).contains(quorum),
        Watch::Interface { .. } | Watch::File { .. } => true,
    }
}

/// `^[!-~]{1,15}$`
fn label(text: &str) -> bool {
    (1..=15).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// `^net(/[A-Za-z0-9_][A-Za-z0-9_.@-]*)+$`
fn key(text: &str) -> bool {
    let part = |part: &str| {
        let starts = part.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_');
        starts && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.@-".contains(&byte))
    };
    text.strip_prefix("net/").is_some_and(|rest| rest.split('/').all(part))
}

/// `^[!-~]([ -~]{0,254}[!-~])?$`
fn value(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_graphic);
    bytes.len() <= 256
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|byte| matches!(byte, b' '..=b'~'))
}
