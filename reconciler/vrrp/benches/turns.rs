//! What the election of 255 routers costs: a minute of virtual time at one advertisement a second, with a
//! turn of the loop for each deadline and each packet.
//!
//! `cargo bench -p evenkeel-vrrp --bench turns`
#![allow(clippy::disallowed_methods, reason = "a measurement reads the clock; what is measured does not")]

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use evenkeel_schemas::scalars::{AdvertInterval, InterfaceName, Priority, Vrid};
use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{
    Advert, Auth, Checksum, Config, Delivery, Election, GROUP_V4, Input, Member, Received, RouterKey, TTL,
    Version, WireInterval, encode,
};

const ROUTERS: u8 = 255;
const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

fn member(number: u8, grouped: bool) -> Member {
    let config = Config {
        version: Version::V3,
        vrid: Vrid::new(number).expect("VRID"),
        priority: Priority::new(100).expect("priority"),
        interval: AdvertInterval::ONE_SECOND,
        preempt: true,
        preempt_delay: Duration::ZERO,
        unready: false,
        auth: None,
        source: Ipv4Addr::new(10, 9, 0, 1).into(),
        delivery: Delivery::Multicast,
        vips: vec![Ipv4Addr::new(10, 9, 1, number).into()],
        garp_repeat: 5,
        garp_delay: Duration::from_secs(5),
        garp_refresh: None,
        directors: None,
        checksum: Checksum::WithPseudoHeader,
        hmac: None,
    };
    let interface: InterfaceName = "eth0".parse().expect("interface");
    let group = grouped.then(|| "group".parse().expect("name"));
    Member {
        key: RouterKey::new(interface, &config),
        name: format!("r{number}").parse().expect("name"),
        group,
        config,
    }
}

fn packet(number: u8, src: IpAddr) -> Vec<u8> {
    let advert = Advert {
        version: Version::V3,
        vrid: Vrid::new(number).expect("VRID"),
        priority: 200,
        interval: WireInterval::from(AdvertInterval::ONE_SECOND),
        auth: Auth::None,
        addresses: vec![Ipv4Addr::new(10, 9, 1, number).into()],
    };
    let mut out = Vec::new();
    encode(&advert, src, GROUP_V4.into(), Checksum::WithPseudoHeader, &mut out);
    out
}

fn run(name: &str, masters: bool, grouped: bool) {
    let start = MonoTime::from_millis(10_000);
    let step = SECOND / u32::from(ROUTERS);
    let mut election = Election::new();
    let members: Vec<Member> = (1..=ROUTERS).map(|number| member(number, grouped)).collect();
    let keys: Vec<RouterKey> = members.iter().map(|member| member.key.clone()).collect();
    election.configure(members, start);
    for (index, key) in keys.iter().enumerate() {
        let input = if masters { Input::Adopt } else { Input::Startup };
        election.handle(key, input, start + step * index as u32);
        while election.poll_output().is_some() {}
    }
    let src: IpAddr = Ipv4Addr::new(10, 9, 0, 2).into();
    let interface: InterfaceName = "eth0".parse().expect("interface");
    let packets: Vec<Vec<u8>> = (1..=ROUTERS).map(|number| packet(number, src)).collect();
    let (mut now, end) = (start + SECOND, start + SECOND + MINUTE);
    let (mut turns, mut outputs, mut next) = (0_u32, 0_u32, 0);
    let mut arrival = now;
    let before = Instant::now();
    while now < end {
        let timer = election.poll_timeout().map_or(end, |(at, _)| at);
        now = if masters { timer } else { timer.min(arrival) };
        election.handle_timers(now);
        if !masters && now >= arrival {
            let received = Received { payload: &packets[next], src, dst: GROUP_V4.into(), ttl: TTL };
            election.handle_packet(&interface, received, now);
            next = (next + 1) % packets.len();
            arrival = arrival + step;
        }
        while election.poll_output().is_some() {
            outputs += 1;
        }
        turns += 1;
    }
    let spent = before.elapsed();
    let share = spent.as_secs_f64() / MINUTE.as_secs_f64() * 100.0;
    println!(
        "{name:24} {turns} turns, {outputs} outputs, {:?} a turn, {share:.3} % of a core",
        spent / turns
    );
}

fn main() {
    run("255 Masters", true, false);
    run("255 Backups", false, false);
    run("a group of 255 Masters", true, true);
    run("a group of 255 Backups", false, true);
}
