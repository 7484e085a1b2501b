//! Whether it is this host's own link that fails, and not what is behind it: all targets behind one
//! interface, or one gateway, fall silent within one window, after all of them were healthy.
//!
//! ```text
//!             all silent, one verdict down, two hosts, one window
//!   answers --------------------------------------------------------> own fault: verdicts stay
//!      ^                                                                  |
//!      +------------------------------------------------------------------+
//!             one target answers as often in a row as its check's `rise` says
//! ```
//!
//! Silent is a target of which no packet came: one that refuses, or answers wrongly, shows that the link
//! works. Values only. What follows for verdicts is `checker`'s, what follows for elections is not known
//! here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use evenkeel_schemas::time::MonoTime;

use crate::state::CheckId;

/// Least targets that show anything: one that falls silent may have failed itself.
const LEAST_TARGETS: usize = 2;
/// Length of the window in intervals of the slowest check: each check is made once in one interval, and has
/// as long again for its time-out.
const WINDOW_INTERVALS: u32 = 2;

/// Link that several targets have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Behind {
    /// An interface, by its index.
    Interface(u32),
    /// A gateway on the link of that interface.
    Gateway(u32, IpAddr),
}

/// Sign of the link in the last probe of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// Something came from the target.
    Answers,
    /// No packet came.
    Silent {
        /// Time of the first probe in a row of which nothing came, where the target was healthy until then.
        healthy_until: Option<MonoTime>,
        /// Whether as many failed as make a verdict.
        down: bool,
    },
}

#[derive(Debug, Clone)]
struct Member {
    target: IpAddr,
    interval: Duration,
    /// The last sign; absent before the first probe.
    sign: Option<Sign>,
}

/// Counts of the checks behind one link.
#[derive(Debug, Clone, Default)]
struct Tally {
    members: usize,
    silent: usize,
    down: usize,
    /// Checks that were healthy until then, with the time.
    fell: BTreeSet<(MonoTime, CheckId)>,
    /// Number of checks of each target that fell silent.
    targets: BTreeMap<IpAddr, usize>,
}

impl Tally {
    fn count(&mut self, id: CheckId, member: &Member, comes: bool) {
        let add = |number: &mut usize| *number = if comes { *number + 1 } else { number.saturating_sub(1) };
        add(&mut self.members);
        let Some(Sign::Silent { healthy_until, down }) = member.sign else { return };
        add(&mut self.silent);
        let Some(since) = healthy_until else { return };
        if down {
            add(&mut self.down);
        }
        let of_target = self.targets.entry(member.target).or_default();
        add(of_target);
        if *of_target == 0 {
            self.targets.remove(&member.target);
        }
        if comes {
            self.fell.insert((since, id));
        } else {
            self.fell.remove(&(since, id));
        }
    }

    fn is_own_fault(&self, window: Duration) -> bool {
        let first_and_last = self.fell.first().zip(self.fell.last());
        self.silent == self.members
            && self.down > 0
            && self.targets.len() >= LEAST_TARGETS
            && first_and_last.is_some_and(|((first, _), (last, _))| last.since(*first) <= window)
    }
}

/// Signs of all checks by link, and the links that are at fault.
#[derive(Debug, Clone, Default)]
pub struct Links {
    members: BTreeMap<CheckId, (Member, Vec<Behind>)>,
    tallies: BTreeMap<Behind, Tally>,
    faults: BTreeSet<Behind>,
}

impl Links {
    /// A check comes, or what its target is behind has changed.
    pub fn place(&mut self, id: CheckId, target: IpAddr, interval: Duration, behind: Vec<Behind>) {
        let sign = self.remove(id).and_then(|member| member.sign);
        let member = Member { target, interval, sign };
        for one in &behind {
            self.tallies.entry(*one).or_default().count(id, &member, true);
        }
        self.members.insert(id, (member, behind));
    }

    fn remove(&mut self, id: CheckId) -> Option<Member> {
        let (member, behind) = self.members.remove(&id)?;
        for one in behind {
            let Some(tally) = self.tallies.get_mut(&one) else { continue };
            tally.count(id, &member, false);
            if tally.members == 0 {
                self.tallies.remove(&one);
            }
        }
        Some(member)
    }

    /// The checks of these targets.
    pub fn of(&self, targets: &BTreeSet<IpAddr>) -> BTreeSet<CheckId> {
        let of_them = self.members.iter().filter(|(_, (member, _))| targets.contains(&member.target));
        of_them.map(|(id, _)| *id).collect()
    }

    /// Forgets all checks but these. Returns the links that are at fault no more, as nobody is behind them.
    pub fn keep(&mut self, is_there: impl Fn(CheckId) -> bool) -> Vec<Behind> {
        let gone: Vec<CheckId> = self.members.keys().copied().filter(|id| !is_there(*id)).collect();
        for id in gone {
            self.remove(id);
        }
        let tallies = &self.tallies;
        self.faults.extract_if(.., |behind| !tallies.contains_key(behind)).collect()
    }

    /// A probe has ended. Returns the links that are found to be at fault.
    pub fn heard(&mut self, id: CheckId, sign: Sign) -> Vec<Behind> {
        let Some((member, behind)) = self.members.get_mut(&id) else { return Vec::new() };
        // Most probes tell what the one before them did.
        if member.sign == Some(sign) {
            return Vec::new();
        }
        let mut found = Vec::new();
        let before = member.clone();
        member.sign = Some(sign);
        let window = member.interval * WINDOW_INTERVALS;
        for one in &*behind {
            let Some(tally) = self.tallies.get_mut(one) else { continue };
            tally.count(id, &before, false);
            tally.count(id, member, true);
            if tally.is_own_fault(window) && self.faults.insert(*one) {
                found.push(*one);
            }
        }
        found
    }

    /// A target has answered often enough. Returns the links that are at fault no more.
    pub fn works(&mut self, id: CheckId) -> Vec<Behind> {
        if self.faults.is_empty() {
            return Vec::new();
        }
        let behind = self.members.get(&id).map(|(_, behind)| behind.as_slice()).unwrap_or_default();
        behind.iter().copied().filter(|one| self.faults.remove(one)).collect()
    }

    /// The checks whose targets are behind something that is at fault, by that.
    pub fn at_fault(&self) -> BTreeMap<Behind, BTreeSet<CheckId>> {
        let mut found: BTreeMap<Behind, BTreeSet<CheckId>> = BTreeMap::new();
        if self.faults.is_empty() {
            return found;
        }
        for (id, (_, behind)) in &self.members {
            for one in behind.iter().filter(|one| self.faults.contains(one)) {
                found.entry(*one).or_default().insert(*id);
            }
        }
        // Targets behind a gateway are behind its interface as well: one fault is told.
        let whole: BTreeSet<u32> = found
            .keys()
            .filter_map(|one| if let Behind::Interface(index) = one { Some(*index) } else { None })
            .collect();
        found.retain(|one, _| !matches!(one, Behind::Gateway(index, _) if whole.contains(index)));
        found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ETH0: Behind = Behind::Interface(2);
    const SECOND: Duration = Duration::from_secs(1);

    fn ip(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn at(seconds: u64) -> MonoTime {
        MonoTime::from_millis(seconds * 1000)
    }

    fn silent(since: u64, down: bool) -> Sign {
        Sign::Silent { healthy_until: Some(at(since)), down }
    }

    fn links(targets: &[u8]) -> Links {
        let mut links = Links::default();
        for (id, last) in (0..).zip(targets) {
            links.place(CheckId(id), ip(*last), SECOND * 5, vec![ETH0]);
            links.heard(CheckId(id), Sign::Answers);
        }
        links
    }

    #[test]
    fn all_that_were_healthy_must_fall_silent_within_the_window_on_two_hosts() {
        let one = CheckId(0);
        let mut two = links(&[1, 2]);
        assert_eq!(two.heard(one, silent(100, true)), [], "the other answers");
        assert_eq!(two.heard(CheckId(1), silent(104, false)), [ETH0], "tried again still");
        assert_eq!(two.at_fault()[&ETH0].len(), 2);
        assert_eq!(two.heard(one, silent(100, false)), [], "once");
        assert_eq!((two.works(one), two.works(one)), (vec![ETH0], vec![]));

        let mut late = links(&[1, 2]);
        late.heard(one, silent(100, true));
        assert_eq!(late.heard(CheckId(1), silent(111, true)), [], "more than two intervals later");
        let mut tried_again = links(&[1, 2]);
        tried_again.heard(one, silent(100, false));
        assert_eq!(tried_again.heard(CheckId(1), silent(101, false)), [], "no verdict yet");
        assert_eq!(tried_again.heard(one, silent(100, true)), [ETH0]);
        let mut same_host = links(&[1, 1]);
        same_host.heard(one, silent(100, true));
        assert_eq!(same_host.heard(CheckId(1), silent(100, true)), [], "it may have failed itself");
    }

    #[test]
    fn who_was_silent_before_does_not_matter_and_who_is_unknown_or_answers_does() {
        let dead = Sign::Silent { healthy_until: None, down: true };
        let mut links = links(&[1, 2, 3, 4]);
        links.heard(CheckId(3), dead);
        links.heard(CheckId(0), silent(100, true));
        links.heard(CheckId(1), silent(100, true));
        assert_eq!(links.heard(CheckId(3), dead), [], "the third answers");
        assert_eq!(links.heard(CheckId(2), silent(101, false)), [ETH0]);
        links.works(CheckId(2));
        links.place(CheckId(9), ip(9), SECOND, vec![ETH0]);
        assert_eq!(links.heard(CheckId(0), silent(102, true)), [], "one that was never heard may answer");
    }

    #[test]
    fn a_gateway_is_at_fault_alone_and_an_interface_with_all_that_is_behind_it() {
        let gateway = Behind::Gateway(2, ip(254));
        let mut links = links(&[1]);
        for id in [5, 6] {
            links.place(CheckId(id), ip(200 + u8::try_from(id).expect("small")), SECOND, vec![ETH0, gateway]);
        }
        links.heard(CheckId(5), silent(10, true));
        assert_eq!(links.heard(CheckId(6), silent(10, true)), [gateway]);
        assert_eq!(links.at_fault().into_keys().collect::<Vec<_>>(), [gateway]);
        assert_eq!(links.heard(CheckId(0), silent(11, false)), [ETH0]);
        assert_eq!(links.at_fault().into_keys().collect::<Vec<_>>(), [ETH0], "one fault is told");
        links.place(CheckId(5), ip(205), SECOND, vec![]);
        links.place(CheckId(6), ip(206), SECOND, vec![]);
        assert_eq!(links.keep(|id| id != CheckId(0)), [ETH0, gateway], "nobody is behind them");
    }

    proptest! {
        /// The tallies are what a count of all members would be.
        #[test]
        fn a_tally_is_the_count_of_its_members(
            steps in prop::collection::vec((0_u32..5, 0_u8..3, 0_u64..30, 0_u8..5), 0..80),
        ) {
            let mut links = Links::default();
            for (id, target, time, what) in steps {
                let id = CheckId(id);
                match what {
                    0 => links.place(id, ip(target), SECOND, vec![ETH0]),
                    1 => drop(links.keep(|other| other != id)),
                    2 => drop(links.heard(id, Sign::Answers)),
                    3 => drop(links.heard(id, silent(time, time % 2 == 0))),
                    _ => drop(links.works(id)),
                }
                let mut fresh = Tally::default();
                for (id, (member, _)) in &links.members {
                    fresh.count(*id, member, true);
                }
                let tally = links.tallies.get(&ETH0).cloned().unwrap_or_default();
                prop_assert_eq!(
                    (tally.members, tally.silent, tally.down, tally.fell, tally.targets),
                    (fresh.members, fresh.silent, fresh.down, fresh.fell, fresh.targets)
                );
            }
        }
    }
}
