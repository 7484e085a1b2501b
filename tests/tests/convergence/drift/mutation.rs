//! Mutations by independent tools: which there are, and what each command is.

use lab::Host;

use super::world::{ADDRESSES, FOREIGN_SETTING, MACVLAN, ROUTES, SETTINGS, TUNNELS, VIPS, World};
use crate::plan::{Destination, Method, Persistence, SCHEDULERS, VirtualServer};
use crate::random::Random;

pub(crate) struct Mutation {
    pub(crate) name: &'static str,
    /// Programs with their arguments, or `write KEY VALUE` for a setting.
    pub(crate) commands: Vec<Vec<String>>,
    pub(crate) what: What,
}

pub(crate) enum What {
    /// Something of ours, to be put right.
    Ours,
    /// The whole table of IPVS, in which there may be others' services.
    Everything,
    /// Something of others, as looks name it.
    Foreign { object: String },
    /// Something of others in the place of ours.
    InTheWay { object: String, undo: Vec<String> },
}

impl Mutation {
    #[track_caller]
    pub(crate) fn make(&self, host: &Host) {
        for command in &self.commands {
            match command.as_slice() {
                [write, key, value] if write == "write" => host.set_sysctl(&key.replace('/', "."), value),
                _ => drop(host.run(command)),
            }
        }
    }
}

fn words(command: &str) -> Vec<String> {
    command.split_whitespace().map(str::to_owned).collect()
}

fn ours(name: &'static str, commands: &[String]) -> Mutation {
    Mutation { name, commands: commands.iter().map(|command| words(command)).collect(), what: What::Ours }
}

/// Anything; only what the plan's drift mode is about when that is to be shown.
pub(crate) fn choose(random: &mut Random, world: &mut World, reporting: bool) -> Mutation {
    loop {
        let mutation = match random.below(14) {
            0..=4 => Some(service(random, world)),
            5 => Some(ipvs_global(random)),
            6 => Some(address(random)),
            7 => Some(route(random)),
            8 => Some(link(random)),
            9 | 10 => Some(setting(random)),
            11 if !reporting => Some(election(random)),
            12 | 13 if !reporting => Some(foreign(random, world)),
            _ => None,
        };
        let Some(mutation) = mutation else { continue };
        if reporting && !matches!(mutation.what, What::Ours) {
            continue;
        }
        return mutation;
    }
}

fn service(random: &mut Random, world: &World) -> Mutation {
    let server = &world.servers[random.below(world.servers.len())];
    let front = server.front.ipvsadm();
    let edited = |change: &dyn Fn(&mut VirtualServer)| {
        let mut other = server.clone();
        change(&mut other);
        format!("ipvsadm -E {}", other.ipvsadm())
    };
    if server.destinations.is_empty() || random.once_in(2) {
        return match random.below(5) {
            0 => ours("service deleted", &[format!("ipvsadm -D {front}")]),
            1 => {
                let others: Vec<&str> =
                    SCHEDULERS.iter().copied().filter(|other| *other != server.scheduler).collect();
                let scheduler = random.of(&others);
                ours(
                    "scheduler changed",
                    &[edited(&|other| {
                        other.scheduler = scheduler;
                        (other.fallback, other.hash_port) = (false, false);
                    })],
                )
            }
            2 => {
                let seconds = random.within(1..5000);
                ours(
                    "persistence changed",
                    &[edited(&|other| {
                        other.persistence = match &server.persistence {
                            Some(_) => None,
                            None => {
                                let prefix = if server.front.is_v6() { 64 } else { 24 };
                                Some(Persistence { seconds, prefix, sip: false })
                            }
                        };
                    })],
                )
            }
            3 => ours(
                "scheduler and its flags changed",
                &[edited(&|other| {
                    other.scheduler = if server.scheduler == "sh" { "mh" } else { "sh" };
                    (other.fallback, other.hash_port) = (!server.fallback, !server.hash_port);
                })],
            ),
            _ => {
                let stranger = match server.front.is_v6() {
                    true => "[2001:db8:2::ffff]",
                    false => "10.50.2.250",
                };
                let port = server.destinations.first().map_or(80, |destination| destination.port);
                ours("destination added", &[format!("ipvsadm -a {front} -r {stranger}:{port} -m -w 3")])
            }
        };
    }
    let destination = &server.destinations[random.below(server.destinations.len())];
    let edited = |other: &Destination| format!("ipvsadm -e {front} -r {} {}", other.at(), other.ipvsadm());
    match random.below(4) {
        0 => ours("destination deleted", &[format!("ipvsadm -d {front} -r {}", destination.at())]),
        1 => ours(
            "weight changed",
            &[edited(&Destination {
                weight: if destination.weight == 0 { random.within(1..100) } else { destination.weight - 1 },
                ..destination.clone()
            })],
        ),
        2 => ours(
            "thresholds changed",
            &[edited(&Destination {
                thresholds: (destination.thresholds.0 + 10, destination.thresholds.1),
                ..destination.clone()
            })],
        ),
        _ => {
            // Only what keeps its port, by which it is known, can become what takes no other port.
            let method = match destination.method {
                Method::Masquerade => {
                    return ours(
                        "weight changed",
                        &[edited(&Destination { weight: destination.weight ^ 1, ..destination.clone() })],
                    );
                }
                Method::Gue { port, .. } => Method::Gue { port: port ^ 1, checksum: "remote" },
                Method::Gre { checksum } => Method::Gre { checksum: !checksum },
                Method::Direct | Method::Ipip => random.of(&[
                    Method::Masquerade,
                    Method::Gre { checksum: false },
                    Method::Gue { port: 99, checksum: "none" },
                ]),
            };
            ours("method changed", &[edited(&Destination { method, ..destination.clone() })])
        }
    }
}

fn ipvs_global(random: &mut Random) -> Mutation {
    let role = random.of(&["master", "backup"]);
    match random.below(4) {
        0 => Mutation { what: What::Everything, ..ours("table cleared", &["ipvsadm -C".to_owned()]) },
        1 => ours("time-outs changed", &[format!("ipvsadm --set {} 61 101", random.within(601..900))]),
        2 => ours("synchronisation stopped", &[format!("ipvsadm --stop-daemon {role}")]),
        _ => ours(
            "synchronisation with another id",
            &[
                format!("ipvsadm --stop-daemon {role}"),
                format!(
                    "ipvsadm --start-daemon {role} --mcast-interface eth0 --syncid {}",
                    random.within(6..255)
                ),
            ],
        ),
    }
}

fn address(random: &mut Random) -> Mutation {
    let (address, label, scope) = random.of(&ADDRESSES);
    let v6 = address.contains("::");
    let delete = format!("ip address del {address} dev lo");
    match random.below(3) {
        1 if !v6 => ours(
            "label changed",
            &[delete, format!("ip address add {address} dev lo label lo:9 scope {scope}")],
        ),
        2 if !v6 => {
            let other = if scope == "host" { "link" } else { "host" };
            ours(
                "scope changed",
                &[delete, format!("ip address add {address} dev lo label {label} scope {other}")],
            )
        }
        2 => ours("address made preferred", &[delete, format!("ip address add {address} dev lo")]),
        _ => ours("address deleted", &[delete]),
    }
}

fn route(random: &mut Random) -> Mutation {
    let route = random.of(&ROUTES);
    match random.below(2) {
        0 if route.contains("via") => {
            let other =
                route.replace("192.168.188.1 ", "192.168.188.3 ").replace("192.168.188.2 ", "192.168.188.4 ");
            ours("route changed", &[format!("ip route replace {other}")])
        }
        _ => ours("route deleted", &[format!("ip route del {route}")]),
    }
}

fn link(random: &mut Random) -> Mutation {
    let (name, mode, local) = random.of(&TUNNELS);
    match random.below(6) {
        0 | 1 => ours("tunnel deleted", &[format!("ip link del {name}")]),
        2 => ours("tunnel set down", &[format!("ip link set {name} down")]),
        3 => ours(
            "tunnel replaced by one with another end",
            &[
                format!("ip link del {name}"),
                format!("ip link add {name} type {mode} local {local} remote 192.168.188.77"),
            ],
        ),
        4 => {
            let what =
                What::InTheWay { object: name.to_owned(), undo: words(&format!("ip link del {name}")) };
            Mutation {
                what,
                ..ours(
                    "something else in a tunnel's place",
                    &[
                        "ip link add stranger type dummy".to_owned(),
                        format!("ip link del {name}"),
                        format!("ip link set stranger name {name}"),
                    ],
                )
            }
        }
        _ => ours("macvlan set down", &[format!("ip link set {MACVLAN} down")]),
    }
}

fn setting(random: &mut Random) -> Mutation {
    let (key, _, other) = random.of(&SETTINGS);
    ours("setting changed", &[format!("write {key} {other}")])
}

/// Objects that the election puts back, whatever the plan says of drift.
fn election(random: &mut Random) -> Mutation {
    match random.below(6) {
        0 => ours("VIP deleted", &[format!("ip address del {}/32 dev eth0", VIPS[0])]),
        1 => ours("VIP on a macvlan deleted", &[format!("ip address del {}/32 dev {MACVLAN}", VIPS[1])]),
        2 => ours(
            "VIP given a label",
            &[
                format!("ip address del {}/32 dev eth0", VIPS[0]),
                format!("ip address replace {}/32 dev eth0 label eth0:7", VIPS[0]),
            ],
        ),
        3 => ours("route of a VIP deleted", &["ip route del 10.90.0.0/16 table 90 metric 7".to_owned()]),
        4 => ours("rule of a VIP deleted", &["ip rule del preference 900".to_owned()]),
        _ => ours("macvlan deleted", &[format!("ip link del {MACVLAN}")]),
    }
}

/// Adds something that is not ours, or removes what was added before.
fn foreign(random: &mut Random, world: &mut World) -> Mutation {
    if !world.foreign.is_empty() && random.once_in(3) {
        let (object, undo) = world.foreign.remove(random.below(world.foreign.len()));
        world.foreign_services.retain(|service| *service != object);
        return Mutation {
            name: "foreign object removed",
            commands: vec![undo],
            what: What::Foreign { object },
        };
    }
    let number = 1 + random.below(200);
    let (object, add, undo) = match random.below(6) {
        0 => {
            let to = format!("10.99.0.{number}:80");
            let add =
                vec![format!("ipvsadm -A -t {to} -s rr"), format!("ipvsadm -a -t {to} -r 10.99.1.1:80 -g")];
            (to.clone(), add, format!("ipvsadm -D -t {to}"))
        }
        1 => {
            let address = format!("10.98.0.{number}/32");
            let place = format!("{address} dev eth0");
            (address, vec![format!("ip address add {place}")], format!("ip address del {place}"))
        }
        2 => {
            let network = format!("10.97.{number}.0/24");
            let route = format!("{network} dev eth0");
            (network, vec![format!("ip route add {route}")], format!("ip route del {route}"))
        }
        3 => {
            let network = format!("10.96.{number}.0");
            let rule = format!("preference {} from {network}/24 lookup 96", 1000 + number);
            (network, vec![format!("ip rule add {rule}")], format!("ip rule del {rule}"))
        }
        4 => {
            let name = format!("dummy{number}");
            let (add, undo) = (format!("ip link add {name} type dummy"), format!("ip link del {name}"));
            (name, vec![add], undo)
        }
        _ => {
            let write = |value| format!("write {FOREIGN_SETTING} {value}");
            (FOREIGN_SETTING.to_owned(), vec![write(1)], write(0))
        }
    };
    if world.foreign.iter().any(|(other, _)| *other == object) {
        return setting(random);
    }
    world.foreign.push((object.clone(), words(&undo)));
    if undo.starts_with("ipvsadm") {
        world.foreign_services.push(object.clone());
    }
    Mutation { what: What::Foreign { object }, ..ours("foreign object added", &add) }
}
